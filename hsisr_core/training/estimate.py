"""What a run will cost: parameters, floating-point operations, memory, and time here or on a named GPU.

Operations and the memory of tensors are counted exactly, on PyTorch's "meta" device, which has shapes and no
values. The time here comes from a calibration of a few seconds, and so does the memory of everything else: the
process, the convolution library. The time on another GPU is from its vendor's peak rate and an assumed share of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.weak import WeakIdKeyDictionary

from hsisr_core.data import Dataset, Region
from hsisr_core.errors import HsisrError
from hsisr_core.fast import Trainer, runner
from hsisr_core.models import SuperResolver, build_model, count_parameters, multiply_adds
from hsisr_core.runs.config import EXECUTION_FIELDS, RunConfig
from hsisr_core.runs.plan import PlannedRun
from hsisr_core.training.calibrate import Speed, calibrate
from hsisr_core.training.evaluate import TEST_SIDE, tile_for
from hsisr_core.training.losses import LOSSES
from hsisr_core.training.patches import MEMORY_BYTES

__all__ = [
    "GPUS",
    "PEAK_SHARE",
    "Estimate",
    "cube_multiply_adds",
    "estimate_runs",
    "gpu_rate",
    "patch_multiply_adds",
    "scoring_bytes",
    "train_bytes",
]

PEAK_SHARE = 0.35  # of the peak rate: an assumption, about what 3-D convolutions reach
GPUS = {  # vendor's peak FP32 rate (TFLOP/s, dense, without tensor cores), and where the vendor prints it
    "GTX 1080": (8.9, "GeForce GTX 1080 whitepaper, 2016"),
    "V100 SXM2": (15.7, "Tesla V100 datasheet, 2018"),
    "A100": (19.5, "A100 Tensor Core GPU datasheet, 2021"),
    "RTX 3090": (35.6, "Ampere GA102 GPU architecture whitepaper, 2020"),
    "RTX 4090": (82.6, "Ada GPU architecture whitepaper, 2022"),
    "L40S": (91.6, "L40S datasheet, 2023"),
    "H100 SXM": (67.0, "H100 Tensor Core GPU datasheet, 2023"),
    "H200 SXM": (67.0, "H200 Tensor Core GPU datasheet, 2024"),
}
PASSES = 3  # a step costs about three forward passes: one forward, two backward
SAMPLE_FIELDS = (
    "preset",
    "data",
    "split",
    "seed",
    "learning_rate",
    "schedule",
    "halve_every",
    "epochs",
    "steps",
)


@dataclass(frozen=True)
class Estimate:
    """What one run is expected to cost."""

    parameters: int
    flop: float  # of training, and of scoring on the test images
    bytes: int  # peak memory; resident memory of the process on a CPU, tensors on a GPU
    seconds: float  # on this machine
    method: str  # how the time was measured
    gpu_seconds: float | None  # on the named GPU


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors made inside the block that are still alive; `peak` is the most at once."""

    def __init__(self) -> None:
        super().__init__()
        self.storages = WeakIdKeyDictionary()
        self.peak = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]  # PyTorch has no types for it
        result = function(*args, **(kwargs or {}))
        tree_map_only(Tensor, self.track, result)
        return result

    def track(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage not in self.storages:
            self.storages[storage] = storage.nbytes()
            self.peak = max(self.peak, sum(self.storages.values()))
        return tensor


def gpu_rate(name: str) -> tuple[str, float]:
    """Name and peak FP32 rate (TFLOP/s) of the GPU in `GPUS` that `name` means; case and spaces do not matter.

    Raises
    ------
    HsisrError
        None or several fit.
    """
    wanted = name.lower().replace(" ", "").replace("-", "")
    short = {gpu: gpu.lower().replace(" ", "") for gpu in GPUS}
    found = [gpu for gpu in GPUS if wanted and short[gpu].startswith(wanted)] or [
        gpu for gpu in GPUS if wanted and wanted in short[gpu]
    ]
    if len(found) != 1:
        raise HsisrError(f"--gpu {name}: choose one of {', '.join(GPUS)}.")
    return found[0], GPUS[found[0]][0]


def estimate_runs(runs: Sequence[PlannedRun], gpu: str | None = None, budget: float = 4.0) -> list[Estimate]:
    """Estimate each run. Runs that differ only in seed, steps and the like are calibrated once.

    Parameters
    ----------
    runs : sequence of PlannedRun
    gpu : str, optional
        A name in `GPUS`.
    budget : float
        Seconds to spend, about, on timing one kind of step.

    Raises
    ------
    HsisrError
        An unknown GPU, or a run that cannot be trained: a patch larger than the scene, for example.
    """
    rate = gpu_rate(gpu)[1] if gpu else None
    ignored = {*SAMPLE_FIELDS, *EXECUTION_FIELDS} - {"device"}
    names = [name for name in RunConfig.model_fields if name not in ignored]
    speeds: dict[tuple[object, ...], Speed] = {}
    estimates = []
    for run in runs:
        config, dataset = run.config, run.dataset
        key = (dataset.fingerprint, *(getattr(config, name) for name in names))
        patch_cost = patch_multiply_adds(config, dataset.bands)
        scoring_cost = scoring_multiply_adds(config, dataset)
        step_bytes = train_bytes(config, dataset.bands)
        if key not in speeds:
            speeds[key] = calibrate(config, dataset, patch_cost, scoring_cost, step_bytes, budget)
        speed = speeds[key]
        scorings = 1 + (run.steps // config.evaluate_every if config.evaluate_every else 0)
        flop = 2 * (run.steps * PASSES * config.batch * patch_cost + scorings * scoring_cost)
        estimates.append(
            Estimate(
                parameters=count_parameters(network(config, dataset.bands)),
                flop=flop,
                bytes=peak(config, dataset, speed),
                seconds=run.steps * speed.step + scorings * speed.scoring,
                method=speed.method,
                gpu_seconds=flop / (PEAK_SHARE * rate * 1e12) if rate else None,
            )
        )
    return estimates


def peak(config: RunConfig, dataset: Dataset, speed: Speed) -> int:
    """Peak bytes of a run: those of the calibration, and what its tensors need more than the calibration's."""
    bands = dataset.bands
    training = speed.step_peak + train_bytes(config, bands) - train_bytes(config, bands, speed.batch)
    largest = max(lr_sizes(config, dataset), key=math.prod)
    scoring = (
        speed.scoring_peak
        + scoring_bytes(config, bands, largest)
        - scoring_bytes(config, bands, speed.scored)
    )
    on_cpu = not (torch.cuda.is_available() and config.device != "cpu")
    return max(training, scoring) + (data_bytes(config, dataset) if on_cpu else 0)


def network(config: RunConfig, bands: int) -> SuperResolver:
    """The network of `config` with its starting weights; the caller's random numbers are left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return build_model(config.method, config.scale, bands, **config.model_options())


def patch_multiply_adds(config: RunConfig, bands: int) -> int:
    """Multiply-adds of one forward pass on one patch."""
    return cube_multiply_adds(config.changed(seed=0, loss="l1"), bands, config.patch, config.patch)


@lru_cache(maxsize=256)
def cube_multiply_adds(config: RunConfig, bands: int, height: int, width: int) -> int:
    """Multiply-adds of one forward pass on an LR cube, layer by layer as the paper draws the network."""
    model = network(config, bands).to("meta")
    with torch.device("meta"):
        return multiply_adds(model, bands, height, width)


def scoring_multiply_adds(config: RunConfig, dataset: Dataset) -> int:
    """Multiply-adds of one scoring of all test images, without what tiles compute twice at their borders."""
    sizes = lr_sizes(config, dataset)
    return sum(cube_multiply_adds(config.changed(seed=0, loss="l1"), dataset.bands, *size) for size in sizes)


def lr_sizes(config: RunConfig, dataset: Dataset) -> list[tuple[int, int]]:
    """Height and width of the LR cube of each test image."""
    sizes = []
    for region in dataset.split.test:
        height, width = (min(TEST_SIDE, side) // config.scale for side in region_size(dataset, region))
        sizes.append((height, width))
    return sizes


def region_size(dataset: Dataset, region: Region) -> tuple[int, int]:
    """Height and width of a region, in HR pixels."""
    (top, bottom), (left, right) = region.bounds(*dataset.store.shape(region.scene)[1:])
    return bottom - top, right - left


def train_bytes(config: RunConfig, bands: int, batch: int | None = None) -> int:
    """Most bytes that the tensors of one training step need at once: weights, gradients, moments, activations."""
    return _train_bytes(config.changed(seed=0), bands, batch or config.batch)


@lru_cache(maxsize=256)  # counting takes a second, and the runs of a plan differ mostly in their seed
def _train_bytes(config: RunConfig, bands: int, batch: int) -> int:
    model = network(config, bands)
    with LiveBytes() as live:
        trainer = Trainer(model.to("meta"))
        optimizer = torch.optim.Adam(model.parameters(), foreach=False)
        for _ in range(2):  # the moments exist from the second step on
            lr = torch.zeros(batch, bands, config.patch, config.patch, device="meta")
            sr = trainer(lr)
            LOSSES[config.loss](sr, torch.zeros_like(sr)).backward()
            optimizer.step()
            optimizer.zero_grad()
    return live.peak


def scoring_bytes(config: RunConfig, bands: int, size: tuple[int, int]) -> int:
    """Most bytes that the network needs at once for an LR cube of `size` (height, width), in its tiles."""
    return _scoring_bytes(config.changed(seed=0, loss="l1"), bands, size)


@lru_cache(maxsize=256)
def _scoring_bytes(config: RunConfig, bands: int, size: tuple[int, int]) -> int:
    model = network(config, bands)
    height, width = size
    tile = tile_for(model, np.broadcast_to(np.float32(0), (bands, height, width)))
    if tile is not None:
        height, width = (min(side, tile + 2 * model.halo) for side in size)
    model = model.to("meta")
    with LiveBytes() as live, torch.inference_mode():
        runner(model)(torch.zeros(1, bands, height, width, device="meta"))
    return live.peak


def data_bytes(config: RunConfig, dataset: Dataset) -> int:
    """Bytes of the images that a training keeps in memory: HR at every size, LR where it is cut from, test pairs.

    Training images beyond `MEMORY_BYTES` are mapped files, which the system drops from memory when it needs room.
    """
    low = 1 / config.scale**2
    sizes = sum(size**2 for size in config.image_sizes) * (1 + (low if config.lr_side == "scene" else 0))
    train = sizes * sum(math.prod(region_size(dataset, region)) for region in dataset.split.train)
    test = sum(height * width for height, width in lr_sizes(config, dataset)) * (1 + config.scale**2)
    return int(min(4 * dataset.bands * train, MEMORY_BYTES) + 4 * dataset.bands * test)
