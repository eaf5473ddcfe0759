"""The pieces of work that are measured: each function prepares one and returns (do it, warm up on something small).

The code is "ours", "plain" or, for an inference, an engine. Weights and input are random but the same for all.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.engines import make_engine
from benchmarks.plain import plain_imresize, plain_score, plain_step
from hsisr_core.degrade import imresize
from hsisr_core.fast import Trainer, super_resolve
from hsisr_core.metrics import score
from hsisr_core.models import SSRNet, build_model
from hsisr_core.runs import RunConfig
from hsisr_core.training import LOSSES, PatchSampler, make_accelerator, tile_for, train_step

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


def inference(
    code: str, scale: int, features: int, height: int, width: int, tiles: bool = False, onnx: str = ""
) -> Work:
    """One LR cube of height x width enlarged; with `tiles`, ours in those that `evaluate` would choose."""
    model = network(scale, features).eval()
    lr, small = picture(height, width), picture(8, 8)
    ours, _, bf16 = code.partition(", ")
    if ours == "ours":
        options: dict[str, Any] = {"tile": tile_for(model, lr) if tiles else None}
        options |= {"precision": bf16} if bf16 else {}
        return lambda: super_resolve(model, lr, **options), lambda: super_resolve(model, small, **options)
    run = make_engine(code, model, onnx)
    return lambda: run(lr), lambda: run(small)


def corner(code: str, scale: int, features: int, height: int, width: int, part: int) -> Work:
    """The top left `part` LR pixels of what `inference` enlarges."""
    run = make_engine(code, network(scale, features).eval(), "")
    lr = picture(height, width)[:, :part, :part].copy()
    return lambda: run(lr), lambda: None


def training(
    code: str, scale: int, features: int, batch: int, patch: int, loss: str = "l1", clip: float | None = None
) -> Work:
    """One step of the training: forward, loss, backward, Adam. Returns the loss."""
    model = network(scale, features)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    generator = torch.Generator().manual_seed(0)
    lr = torch.rand(batch, BANDS, patch, patch, generator=generator)
    hr = torch.rand(batch, BANDS, scale * patch, scale * patch, generator=generator)
    step = partial(plain_step, model)
    if code == "ours":
        step = partial(train_step, make_accelerator(RunConfig(device="cpu")), Trainer(model))
    step = partial(step, optimizer, LOSSES[loss], lr, hr, clip)
    # the first step makes Adam's moments
    return step, step


def scoring(code: str, side: int) -> Work:
    """All scores of a pair of cubes of side x side."""
    hr = picture(side, side)
    sr = hr + 0.02 * picture(side, side, seed=1) - 0.01

    def run() -> list[float]:
        values = score(sr, hr) if code == "ours" else plain_score(sr, hr)
        return [values[name] for name in METRICS]

    return run, run


def resizing(code: str, side: int, scale: float) -> Work:
    """One cube of side x side resized."""
    cube = picture(side, side)
    function = imresize if code == "ours" else plain_imresize
    return lambda: function(cube, scale), lambda: function(cube[:, :32, :32], scale)


def loading(code: str, scale: int, batch: int, patch: int, lr_side: str, side: int) -> Work:
    """One batch of patches from a scene of side x side."""
    assert code == "ours"
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
