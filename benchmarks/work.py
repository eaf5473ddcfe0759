"""The pieces of work that are measured: each function prepares one and returns (do it, warm up on something small).

The way is "ours" or "plain". Weights and input are random but the same for both ways.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.plain import fold, plain_imresize, plain_score
from hsisr_core.degrade import imresize
from hsisr_core.fast import Trainer, super_resolve
from hsisr_core.metrics import score
from hsisr_core.models import SSRNet, build_model
from hsisr_core.runs import RunConfig
from hsisr_core.training import PatchSampler, make_accelerator, tile_for, train_step

__all__ = ["BANDS", "WORK", "network"]

BANDS = 31
METRICS = ("psnr", "mpsnr", "ssim", "sam")
Work = tuple[Callable[[], Any], Callable[[], Any]]


def network(scale: int, features: int) -> SSRNet:
    """SSRNet as the paper has it, random but the same every time."""
    torch.manual_seed(0)
    model = build_model("ssrnet", scale, BANDS, features=features)
    assert isinstance(model, SSRNet)
    model.set_mean(torch.full((BANDS,), 0.3))
    return model


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A cube (BANDS, height, width) in [0, 1]: smooth, with noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    band = np.arange(BANDS)[:, None, None] / BANDS
    wave = np.sin(x / 9 * (1 + band)) * np.cos(y / 7 + band)
    noise = rng.standard_normal((BANDS, height, width), np.float32)
    return np.clip(0.5 + 0.3 * wave + 0.02 * noise, 0, 1).astype(np.float32)


def inference(way: str, scale: int, features: int, height: int, width: int, tiles: bool = False) -> Work:
    """One LR cube of height x width enlarged; with `tiles`, in those that `evaluate` would choose."""
    model = network(scale, features).eval()
    lr, small = picture(height, width), picture(8, 8)
    if way == "ours":
        tile = tile_for(model, lr) if tiles else None
        return lambda: super_resolve(model, lr, tile=tile), lambda: super_resolve(model, small)
    plain = fold(model)

    def run(cube: np.ndarray) -> Tensor:
        with torch.inference_mode():
            return plain(torch.from_numpy(cube)[None])[0]

    return lambda: run(lr), lambda: run(small)


def corner(way: str, scale: int, features: int, height: int, width: int, part: int, tiles: bool) -> Work:
    """The top left `part` LR pixels of what `inference` enlarges, plain and without tiles."""
    assert way == "plain"
    assert tiles
    plain = fold(network(scale, features).eval())
    lr = torch.from_numpy(picture(height, width)[:, :part, :part].copy())

    def run() -> Tensor:
        with torch.inference_mode():
            return plain(lr[None])[0]

    return run, lambda: None


def training(way: str, scale: int, features: int, batch: int, patch: int) -> Work:
    """One step of the training: forward, L1 loss, backward, Adam. Returns the loss."""
    model: nn.Module = network(scale, features)
    if way == "ours":
        model = Trainer(network(scale, features))
    accelerator = make_accelerator(RunConfig(device="cpu"))
    accelerator = make_accelerator(RunConfig(device="cpu"))
    accelerator = make_accelerator(RunConfig(device="cpu"))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    generator = torch.Generator().manual_seed(0)
    lr = torch.rand(batch, BANDS, patch, patch, generator=generator)
    hr = torch.rand(batch, BANDS, scale * patch, scale * patch, generator=generator)

    def step() -> float:
        return train_step(accelerator, model, optimizer, nn.functional.l1_loss, lr, hr)

    # the first step makes Adam's moments
    return step, step


def scoring(way: str, side: int) -> Work:
    """All scores of a pair of cubes of side x side."""
    hr = picture(side, side)
    sr = hr + 0.02 * picture(side, side, seed=1) - 0.01

    def run() -> list[float]:
        values = score(sr, hr) if way == "ours" else plain_score(sr, hr)
        return [values[name] for name in METRICS]

    return run, run


def resizing(way: str, side: int, scale: float) -> Work:
    """One cube of side x side resized."""
    cube = picture(side, side)
    function = imresize if way == "ours" else plain_imresize
    return lambda: function(cube, scale), lambda: function(cube[:, :32, :32], scale)


def loading(way: str, scale: int, batch: int, patch: int, lr_side: str, side: int) -> Work:
    """One batch of patches from a scene of side x side."""
    assert way == "ours"
    sampler = PatchSampler([picture(side, side)], scale, patch, batch, 1, lr_side, None, augment="dihedral")
    steps = iter(range(10**9))
    return lambda: sampler.batch(next(steps))[0], lambda: sampler.batch(0)


WORK: dict[str, Callable[..., Work]] = {
    "inference": inference,
    "corner": corner,
    "training": training,
    "scoring": scoring,
    "resizing": resizing,
    "loading": loading,
}
