"""What a training will cost: operations, memory, and time here or on a named GPU.

Operations and the memory of tensors are counted from shapes alone. Time is operations by a rate: here that of a few
real steps, which also tell the memory of all else, on another GPU an assumed share of its vendor's peak rate.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import l1_loss
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.weak import WeakIdKeyDictionary

from hsisr_core.data import Dataset
from hsisr_core.errors import HsisrError
from hsisr_core.fast import Trainer, bytes_needed, runner, super_resolve
from hsisr_core.models import SuperResolver, build_model, count_parameters, multiply_adds
from hsisr_core.runs import PlannedRun, RunConfig, peak_bytes, reset_peak
from hsisr_core.training.devices import make_accelerator, to_device
from hsisr_core.training.evaluate import GIGABYTES, TEST_SIDE, tile_for
from hsisr_core.training.loop import build_network, train_step
from hsisr_core.training.losses import LOSSES
from hsisr_core.training.patches import MEMORY_BYTES, PatchSampler

__all__ = [
    "GPUS",
    "PEAK_SHARE",
    "START_MINUTES",
    "Estimate",
    "LiveBytes",
    "estimate_runs",
    "gpu_days",
    "gpu_rate",
    "measure_costs",
    "needs",
    "run_flop",
    "scene_cost",
    "training_flop",
]

# of the peak rate: an assumption, about what 3-D convolutions reach
PEAK_SHARE = 0.35
# vendor's peak FP32 rate (TFLOP/s, dense, without tensor cores), and where the vendor prints it
GPUS = {
    "GTX 1080": (8.9, "GeForce GTX 1080 whitepaper, 2016"),
    "V100 SXM2": (15.7, "Tesla V100 datasheet, 2018"),
    "A100": (19.5, "A100 Tensor Core GPU datasheet, 2021"),
    "RTX 3090": (35.6, "Ampere GA102 GPU architecture whitepaper, 2020"),
    "RTX 4090": (82.6, "Ada GPU architecture whitepaper, 2022"),
    "L40S": (91.6, "L40S datasheet, 2023"),
    "H100 SXM": (67.0, "H100 Tensor Core GPU datasheet, 2023"),
    "H200 SXM": (67.0, "H200 Tensor Core GPU datasheet, 2024"),
}
# a step costs about three forward passes: one forward, two backward
_PASSES = 3
# timed at least, after one step that warms up
_STEPS = 3
# LR pixels a side of the piece of a scene that is timed
_PIECE = 32
# of a job: what two cores sustain (0.03 was measured with the demo preset), Python and PyTorch, and a factor, for a
# job that is stopped at its limit loses the steps since its last checkpoint
START_MINUTES = 10
_CPU_TFLOPS = 0.02
_PROCESS_MB = 1500
_MARGIN = 2.0


def gpu_rate(name: str) -> tuple[str, float]:
    """Name and peak FP32 rate (TFLOP/s) of the GPU in `GPUS` that `name` means; case and spaces do not matter.

    Raises
    ------
    HsisrError
        None or several fit.
    """
    wanted = name.lower().replace(" ", "").replace("-", "")
    short = {gpu: gpu.lower().replace(" ", "") for gpu in GPUS}
    found = [gpu for gpu in GPUS if short[gpu].startswith(wanted)]
    found = found or [gpu for gpu in GPUS if wanted in short[gpu]]
    if len(found) != 1:
        raise HsisrError(f"--gpu {name}: choose one of {', '.join(GPUS)}.")
    return found[0], GPUS[found[0]][0]


def _gpu_seconds(flop: float, rate: float) -> float:
    """Seconds on a GPU of the peak rate `rate` (TFLOP/s)."""
    return flop / (PEAK_SHARE * rate * 1e12)


def training_flop(config: RunConfig, bands: int, images: int) -> float:
    """Floating-point operations of a whole training on `images` images, without scoring (book/04-training)."""
    per_patch = _multiply_adds(_same_cost(config), bands, config.patch, config.patch)
    return 2 * _PASSES * per_patch * config.batch * config.total_steps(images)


def run_flop(config: RunConfig, dataset: Dataset) -> float:
    """Floating-point operations of a run: of its training, and of every scoring, without the borders of tiles."""
    same, bands = _same_cost(config), dataset.bands
    scoring = 2 * sum(_multiply_adds(same, bands, *size) for size in _lr_sizes(config, dataset))
    training = training_flop(config, bands, len(dataset.train))
    return training + _count_scorings(config, dataset) * scoring


def _count_scorings(config: RunConfig, dataset: Dataset) -> int:
    steps = config.total_steps(len(dataset.train))
    return 1 + (steps // config.evaluate_every if config.evaluate_every else 0)


@lru_cache(maxsize=256)
def _multiply_adds(config: RunConfig, bands: int, height: int, width: int) -> int:
    return multiply_adds(build_network(config, bands), bands, height, width)


def _same_cost(config: RunConfig) -> RunConfig:
    """`config` with one value for all that does not change what a step costs."""
    data = {"preset": "", "data": "", "split": None, "seed": 0}
    schedule = {"steps": 1, "learning_rate": 1.0, "schedule": "constant", "halve_every": 1}
    return config.changed(**data, **schedule, checkpoint_every=1, evaluate_every=None)


def _hr_sizes(dataset: Dataset, names: Sequence[str]) -> list[tuple[int, int]]:
    """Height and width of training or test images, without reading them."""
    regions = {region.name: region for region in dataset.split.regions}
    bounds = [regions[name].bounds(*dataset.store.shape(regions[name].scene)[1:]) for name in names]
    return [(bottom - top, right - left) for (top, bottom), (left, right) in bounds]


def _lr_sizes(config: RunConfig, dataset: Dataset) -> list[tuple[int, int]]:
    """Height and width of the LR cube of each test image."""
    sizes = _hr_sizes(dataset, dataset.test)
    return [(min(TEST_SIDE, h) // config.scale, min(TEST_SIDE, w) // config.scale) for h, w in sizes]


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors made inside the block that are still alive; `peak` is the most at once."""

    def __init__(self) -> None:
        super().__init__()
        self.storages = WeakIdKeyDictionary()
        self.peak = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]  # PyTorch has no types for it
        result = function(*args, **(kwargs or {}))
        tree_map_only(Tensor, self._track, result)
        return result

    def _track(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage not in self.storages:
            self.storages[storage] = storage.nbytes()
            self.peak = max(self.peak, sum(self.storages.values()))
        return tensor


def _tensor_bytes(config: RunConfig, dataset: Dataset) -> int:
    """Most bytes that tensors need at once, in a training step or in scoring."""
    network, bands = build_network(config, dataset.bands), dataset.bands
    scoring = max(bytes_needed(network, bands, *size) for size in _lr_sizes(config, dataset))
    return max(_training_bytes(_same_cost(config), bands), min(scoring, int(GIGABYTES * 1e9)))


@lru_cache(maxsize=256)
def _training_bytes(config: RunConfig, bands: int) -> int:
    """Most bytes of weights, gradients, moments and activations at once, on a device without values."""
    network = build_network(config, bands)
    with LiveBytes() as live:
        model = Trainer(network.to("meta"))
        optimizer = torch.optim.Adam(model.parameters(), foreach=False)
        # not `train_step`, which reads the value of the loss; the moments exist from the second step on
        for _ in range(2):
            sr = model(torch.zeros(config.batch, bands, config.patch, config.patch, device="meta"))
            LOSSES[config.loss](sr, torch.zeros_like(sr)).backward()
            optimizer.step()
            optimizer.zero_grad()
    return live.peak


def _data_bytes(config: RunConfig, dataset: Dataset) -> int:
    """Bytes of the images that a training keeps in memory: HR at every size, LR where it is cut from, test pairs."""
    low = 1 / config.scale**2 if config.lr_side == "scene" else 0
    pixels = sum(height * width for height, width in _hr_sizes(dataset, dataset.train))
    train = pixels * (1 + low) * sum(size**2 for size in config.image_sizes)
    test = sum(height * width for height, width in _lr_sizes(config, dataset)) * (1 + config.scale**2)
    return int(min(4 * dataset.bands * train, MEMORY_BYTES) + 4 * dataset.bands * test)


def needs(run: PlannedRun, gpu: str | None = None) -> dict[str, int]:
    """What to ask a cluster for: `gpu` (0 or 1), `mem_mb` of the host, `runtime` in minutes, with a margin.

    Nothing is measured, because every job asks again on its own node and must get the same answer.

    Raises
    ------
    HsisrError
        `gpu` is not a name in `GPUS`.
    """
    config, dataset = run.config, run.dataset
    rate = PEAK_SHARE * gpu_rate(gpu)[1] if gpu else _CPU_TFLOPS
    tensors = 0 if gpu else _tensor_bytes(config, dataset)
    minutes = run_flop(config, dataset) / (rate * 1e12) / 60
    return {
        "gpu": int(gpu is not None),
        "mem_mb": _PROCESS_MB + math.ceil(_MARGIN * (tensors + _data_bytes(config, dataset)) / 1e6),
        "runtime": START_MINUTES + math.ceil(_MARGIN * minutes),
    }


@dataclass(frozen=True)
class Estimate:
    """What one run is expected to cost."""

    parameters: int
    # of training, and of scoring on the test images
    flop: float
    # peak memory; resident memory of the process on a CPU, tensors on a GPU
    bytes: int
    # on this machine, and how that was measured
    seconds: float
    method: str
    # on the named GPU
    gpu_seconds: float | None


def estimate_runs(runs: Sequence[PlannedRun], gpu: str | None = None, budget: float = 4.0) -> list[Estimate]:
    """Estimate each run. Runs that differ only in seed, steps and the like are timed once.

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
    gpu_peak = gpu_rate(gpu)[1] if gpu else None
    timed: dict[tuple[str, RunConfig], tuple[float, int, str]] = {}
    estimates = []
    for run in runs:
        config, dataset = run.config, run.dataset
        kind = (dataset.fingerprint, _same_cost(config))
        if kind not in timed:
            timed[kind] = _measure_rate(config, dataset, budget)
        rate, other_bytes, method = timed[kind]
        flop = run_flop(config, dataset)
        on_gpu = torch.cuda.is_available() and config.device != "cpu"
        estimates.append(
            Estimate(
                count_parameters(build_network(config, dataset.bands)),
                flop,
                other_bytes
                + _tensor_bytes(config, dataset)
                + (0 if on_gpu else _data_bytes(config, dataset)),
                flop / rate,
                method,
                _gpu_seconds(flop, gpu_peak) if gpu_peak else None,
            )
        )
    return estimates


def _measure_rate(config: RunConfig, dataset: Dataset, budget: float) -> tuple[float, int, str]:
    """Take real training steps on the first training image.

    Returns operations a second, bytes of all but the tensors (the process, the convolution library), and how many
    steps were timed. The batch is the true one where a few steps of it fit into the budget (seconds), else a
    smaller one.
    """
    if not torch.cuda.is_available():
        # a plan for a GPU is estimated where there is none, too
        config = config.changed(device="cpu", precision="no" if config.precision == "no" else "bf16")
    reset_peak()
    cube = dataset.scene(dataset.train[0]).cube
    accelerator = make_accelerator(config)
    network = build_network(config, dataset.bands)
    network.set_mean(torch.from_numpy(cube.mean(axis=(1, 2))))
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate, fused=True)
    model, optimizer = accelerator.prepare(Trainer(network), optimizer)

    def time_steps(batch: int, seconds: float) -> list[float]:
        """Seconds of each step with `batch` patches, after one that warms up; together about `seconds`."""
        # one image alone may have too few places for a batch
        count = config.patches_per_image and max(config.patches_per_image, batch)
        options = (config.lr_side, count, config.image_sizes, config.augment)
        sampler = PatchSampler([cube], config.scale, config.patch, batch, config.seed, *options)
        times: list[float] = []
        while len(times) <= _STEPS or sum(times) < seconds:
            started = time.perf_counter()
            lr, hr = (to_device(side, accelerator.device) for side in sampler.batch(len(times)))
            loss = LOSSES[config.loss]
            train_step(accelerator, model, optimizer, loss, lr, network.kept(hr), config.clip)
            times.append(time.perf_counter() - started)
            # far slower than expected: two must do
            if sum(times) > 10 * seconds and len(times) > 1:
                break
        return times[1:]

    batch, times = 1, time_steps(1, budget / 10)
    affordable = int(2 * budget / (statistics.fmean(times) * (_STEPS + 1)))
    if affordable:
        batch = min(config.batch, affordable)
        times = time_steps(batch, budget)
    other_bytes = max(
        0, peak_bytes() - _training_bytes(_same_cost(config).changed(batch=batch), dataset.bands)
    )
    method = f"{len(times)} step{'s' if len(times) > 1 else ''}"
    if batch < config.batch:
        method += f" with batch {batch} of {config.batch}, scaled"
    # not the median: what slows some steps here slows some of the run
    step_flop = training_flop(config.changed(steps=1, batch=batch), dataset.bands, 1)
    return step_flop / statistics.fmean(times), other_bytes, method


def measure_costs(
    models: Mapping[str, SuperResolver], bands: int = 31, side: int = 8, repeats: int = 5
) -> pd.DataFrame:
    """Parameters, work, and the measured time and memory of networks on one LR patch.

    A training step is `train_step` with the L1 loss against zero and Adam. Inference is a forward pass without
    gradients. Times are the medians of `repeats` turns in which every network comes once, after a turn that is
    not counted. Memory is that of the tensors made in one more pass, the most that are alive at once: weights,
    moments and what the convolution library takes for itself are not in it.

    Parameters
    ----------
    models : mapping of name to SuperResolver
        On the CPU; their weights are changed.
    bands, side : int
        The patch has the shape (1, bands, side, side).
    repeats : int

    Returns
    -------
    pandas.DataFrame
        A row per network; ``parameters``, ``multiply-adds (G)`` of one forward pass, ``training step (ms)``,
        ``inference (ms)``, ``training step (MB)``, ``inference (MB)``.
    """
    lr = torch.rand(1, bands, side, side, generator=torch.Generator().manual_seed(0))
    work = {name: _prepare_work(model, lr) for name, model in models.items()}
    tasks = [(name, task) for name in work for task in work[name]]
    times: dict[tuple[str, str], list[float]] = {key: [] for key in tasks}
    for _ in range(repeats + 1):
        for name, task in tasks:
            started = time.perf_counter()
            work[name][task]()
            times[name, task].append(time.perf_counter() - started)
    table: dict[str, dict[str, float]] = {}
    for name, model in models.items():
        work_of_one = multiply_adds(model, bands, side, side) / 1e9
        table[name] = {"parameters": count_parameters(model), "multiply-adds (G)": work_of_one}
    for name, task in tasks:
        table[name][f"{task} (ms)"] = 1e3 * statistics.median(times[name, task][1:])
    for name, task in tasks:
        with LiveBytes() as live:
            work[name][task]()
        table[name][f"{task} (MB)"] = live.peak / 1e6
    return pd.DataFrame(table).T


def _prepare_work(network: SuperResolver, lr: Tensor) -> dict[str, Callable[[], object]]:
    """A training step and an inference of `network` on `lr`, ready to be called."""
    accelerator = make_accelerator(RunConfig(device="cpu"))
    trainer, run = Trainer(network), runner(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    zero = torch.zeros_like(run(lr))

    def infer() -> None:
        network.eval()
        run(lr)

    return {
        "training step": lambda: train_step(accelerator, trainer, optimizer, l1_loss, lr, zero),
        "inference": infer,
    }


def gpu_days(images: int, bands: int = 31, scales: Sequence[int] = (2, 3, 4)) -> pd.DataFrame:
    """Days of one training with the settings of the preset `paper` on `images` scenes, for each GPU and scale.

    An estimate: operations divided by `PEAK_SHARE` of the vendor's single-precision peak rate.
    """
    rates = {gpu: rate for gpu, (rate, _) in GPUS.items()}
    table = {"peak FP32 (TFLOP/s)": rates}
    for scale in scales:
        flop = training_flop(RunConfig.from_preset("paper", scale=scale), bands, images)
        days = {gpu: _gpu_seconds(flop, rate) / 86400 for gpu, rate in rates.items()}
        table[f"days at x{scale}"] = days
    return pd.DataFrame(table)


def scene_cost(bands: int, height: int, width: int, scale: int, features: int = 64) -> pd.Series:
    """What super-resolving one LR cube of bands x height x width will take on this machine.

    A piece of it is super-resolved now, and its time per pixel is taken for all; tiles compute their borders
    twice, which is counted. Memory is that of the network on one tile and of the cubes in and out; the process
    itself (some 300 MB) comes on top.

    Raises
    ------
    HsisrError
        A value that the network refuses, or a side below 1.
    """
    if min(height, width) < 1:
        raise HsisrError(f"The scene is {height} by {width} pixels; expected at least 1 by 1.")
    model = build_model("ssrnet", scale, bands, features=features).eval()
    piece = np.full((bands, _PIECE, _PIECE), 0.5, np.float32)
    super_resolve(model, piece[:, :8, :8])
    started = time.perf_counter()
    super_resolve(model, piece)
    seconds = time.perf_counter() - started
    tile = tile_for(model, np.broadcast_to(np.float32(0), (bands, height, width)))
    computed = height * width
    if tile is not None:
        rows, columns = (_add_halos(side, tile, model.halo) for side in (height, width))
        computed = rows * columns
    cubes = 4 * bands * height * width * (1 + scale**2)
    network = min(bytes_needed(model, bands, height, width), GIGABYTES * 1e9)
    values = {
        "SR pixels": f"{scale * height} x {scale * width}, {bands} bands",
        "multiply-adds (10^12)": multiply_adds(model, bands, height, width) / 1e12,
        "tile (LR pixels)": tile or "none: all at once",
        "seconds": seconds * computed / _PIECE**2,
        "memory (GB)": (network + cubes) / 1e9,
    }
    return pd.Series(values, name=f"x{scale}, {features} filters")


def _add_halos(side: int, tile: int, halo: int) -> int:
    """Pixels along an axis that all tiles compute together, their halos included."""
    return sum(min(side, start + tile + halo) - max(0, start - halo) for start in range(0, side, tile))
