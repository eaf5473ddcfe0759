"""What a training will cost: operations, memory, and time here or on a named GPU.

Operations and memory are counted from shapes alone. Time is operations by a rate: here that of a few real steps, on
another GPU an assumed share of its vendor's peak rate.
"""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from timeit import timeit

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import l1_loss
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.weak import WeakIdKeyDictionary
from tqdm import tqdm

from hsisr_core.data import Dataset
from hsisr_core.errors import HsisrError
from hsisr_core.fast import Trainer, bytes_needed, runner
from hsisr_core.models import SuperResolver, count_parameters, multiply_adds
from hsisr_core.runs import PlannedRun, RunConfig
from hsisr_core.training.devices import make_accelerator
from hsisr_core.training.evaluate import GIGABYTES, TEST_SIDE
from hsisr_core.training.loop import build_network, train_step
from hsisr_core.training.losses import LOSSES
from hsisr_core.training.patches import MEMORY_BYTES

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
# seconds to spend, about, on timing one kind of step
_BUDGET = 4.0
# of Python and PyTorch
_PROCESS_BYTES = 500 * 10**6
# of a job: what two cores sustain (0.03 was measured with the demo preset), and a factor, for a job that is stopped at
# its limit loses the steps since its last checkpoint
_START_MINUTES = 10
_CPU_TFLOPS = 0.02
_MARGIN = 2.0


def gpu_rate(name: str) -> tuple[str, float]:
    """Name and peak FP32 rate (TFLOP/s) of the GPU in `GPUS` that `name` means; HsisrError when not one fits."""
    wanted = name.lower().replace(" ", "").replace("-", "")
    found = [gpu for gpu in GPUS if wanted in gpu.lower().replace(" ", "")]
    if len(found) != 1:
        raise HsisrError(f"--gpu {name}: choose one of {', '.join(GPUS)}.")
    return found[0], GPUS[found[0]][0]


def training_flop(config: RunConfig, bands: int, images: int) -> float:
    """Floating-point operations of a whole training on `images` images, without scoring (book/04-training)."""
    per_patch = _multiply_adds(_same_cost(config), bands, config.patch, config.patch)
    # a step costs about three forward passes: one forward, two backward
    return 2 * 3 * per_patch * config.batch * config.total_steps(images)


def _run_flop(config: RunConfig, dataset: Dataset) -> float:
    """Floating-point operations of a run: of its training, and of every scoring, without the borders of tiles."""
    images, every, same = len(dataset.train), config.evaluate_every, _same_cost(config)
    scorings = 1 + (config.total_steps(images) // every if every else 0)
    scoring = 2 * sum(_multiply_adds(same, dataset.bands, *size) for size in _lr_sizes(config, dataset))
    return training_flop(config, dataset.bands, images) + scorings * scoring


@lru_cache(maxsize=256)
def _multiply_adds(config: RunConfig, bands: int, height: int, width: int) -> int:
    return multiply_adds(build_network(config, bands), bands, height, width)


def _same_cost(config: RunConfig) -> RunConfig:
    """`config` with one value for all that does not change what a step costs."""
    data = {"preset": "any", "data": "", "split": None, "seed": 0}
    schedule = {"steps": 1, "learning_rate": 1.0, "schedule": "constant", "halve_every": 1}
    return config.changed(**data, **schedule, checkpoint_every=1, evaluate_every=None)


def _lr_sizes(config: RunConfig, dataset: Dataset) -> list[tuple[int, int]]:
    """Height and width of the LR cube of each test image."""
    sizes = map(dataset.size, dataset.test)
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


def _run_bytes(config: RunConfig, dataset: Dataset, gpu: bool = False) -> int:
    """Most bytes that a run needs at once, about: the process, its images and, unless `gpu` has them, its tensors."""
    bands = dataset.bands
    sizes = sum(size**2 for size in config.image_sizes)
    pixels = sum(math.prod(dataset.size(name)) for name in dataset.train) * sizes
    images = min(int(4 * bands * pixels * (1 + 1 / config.scale**2)), MEMORY_BYTES)
    if gpu:
        return _PROCESS_BYTES + images
    network = build_network(config, bands)
    scoring = max(bytes_needed(network, bands, *size) for size in _lr_sizes(config, dataset))
    tensors = max(_training_bytes(_same_cost(config), bands), min(scoring, int(GIGABYTES * 1e9)))
    return _PROCESS_BYTES + images + tensors


def needs(run: PlannedRun, gpu: str | None = None) -> dict[str, int]:
    """What to ask a cluster for: `gpu` (0 or 1), `mem_mb` of the host, `runtime` in minutes, with a margin.

    Nothing is measured: every job asks again on its own node and must get the same answer.
    """
    rate = PEAK_SHARE * gpu_rate(gpu)[1] if gpu else _CPU_TFLOPS
    minutes = _run_flop(run.config, run.dataset) / (rate * 1e12) / 60
    return {
        "gpu": int(gpu is not None),
        "mem_mb": math.ceil(_MARGIN * _run_bytes(run.config, run.dataset, gpu is not None) / 1e6),
        "runtime": _START_MINUTES + math.ceil(_MARGIN * minutes),
    }


@dataclass(frozen=True)
class Estimate:
    """What one run is expected to cost: operations with scoring, peak bytes, seconds here and how these were timed."""

    parameters: int
    flop: float
    bytes: int
    seconds: float
    method: str
    gpu_seconds: float | None


def estimate_runs(runs: Sequence[PlannedRun], gpu: str | None = None) -> list[Estimate]:
    """Estimate each run; those that differ only in seed, steps and the like are timed once."""
    gpu_flops = PEAK_SHARE * gpu_rate(gpu)[1] * 1e12 if gpu else None
    measure_rate = lru_cache(None)(_measure_rate)
    estimates = []
    for run in tqdm(runs, desc="Timing", unit="run", leave=False):
        config, dataset = run.config, run.dataset
        rate, method = measure_rate(_same_cost(config), dataset.bands)
        flop = _run_flop(config, dataset)
        parameters = count_parameters(build_network(config, dataset.bands))
        on_gpu = flop / gpu_flops if gpu_flops else None
        estimates.append(Estimate(parameters, flop, _run_bytes(config, dataset), flop / rate, method, on_gpu))
    return estimates


def _measure_rate(config: RunConfig, bands: int) -> tuple[float, str]:
    """Time real training steps on random patches, fewer where they are slow: operations a second, and how."""
    if not torch.cuda.is_available():
        # a plan for a GPU is estimated where there is none, too
        config = config.changed(device="cpu", precision="no" if config.precision == "no" else "bf16")
    accelerator = make_accelerator(config)
    network = build_network(config, bands)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate, fused=True)
    model, optimizer = accelerator.prepare(Trainer(network), optimizer)
    lr = torch.rand(config.batch, bands, config.patch, config.patch, device=accelerator.device)
    high = config.scale * config.patch
    hr = network.kept(torch.rand(config.batch, bands, high, high, device=lr.device))

    def time_step(batch: int) -> float:
        started = time.perf_counter()
        train_step(accelerator, model, optimizer, LOSSES[config.loss], lr[:batch], hr[:batch], config.clip)
        return time.perf_counter() - started

    # the first step of a size warms up and is not counted, but for one patch that is already too slow
    time_step(1)
    times = [time_step(1)]
    batch = min(config.batch, max(1, int(_BUDGET / 2 / times[0])))
    if batch > 1:
        time_step(batch)
        times = []
    while sum(times) < _BUDGET:
        times.append(time_step(batch))
    # not the median: what slows some steps here slows some of the run
    step_flop = training_flop(config.changed(steps=1, batch=batch), bands, 1)
    return step_flop / statistics.fmean(times), f"{len(times)} x {batch} patches"


def measure_costs(
    models: Mapping[str, SuperResolver], bands: int, side: int, scene: int | None = None
) -> pd.DataFrame:
    """Parameters, work, and the measured time and memory of networks on one LR patch (1, bands, side, side).

    Inference is that of a `scene` of so many LR pixels a side (None: of the patch). Training steps, with L1 and Adam,
    change the weights. Times are medians of five turns in which every network comes once. Memory is the most that
    tensors made in one more pass take at once.
    """
    draw = partial(torch.rand, generator=torch.Generator().manual_seed(0))
    lr, whole = draw(1, bands, side, side), draw(1, bands, scene or side, scene or side)
    accelerator = make_accelerator(RunConfig(device="cpu"))
    tasks: dict[tuple[str, str], Callable[[], object]] = {}
    rows: dict[str, dict[str, float]] = {}
    for name, network in models.items():
        run = runner(network)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
        step = (accelerator, Trainer(network), optimizer, l1_loss, lr, torch.zeros_like(run(lr)))
        tasks[name, "training step"] = partial(train_step, *step)
        tasks[name, "inference"] = partial(run, whole)
        work = multiply_adds(network, bands, side, side) / 1e9
        rows[name] = {"parameters": count_parameters(network), "multiply-adds (G)": work}
    times: dict[tuple[str, str], list[float]] = {key: [] for key in tasks}
    for _ in range(6):
        for key, call in tasks.items():
            times[key].append(timeit(call, number=1))
    for (name, task), seconds in times.items():
        rows[name][f"{task} (ms)"] = 1e3 * statistics.median(seconds[1:])
    for (name, task), call in tasks.items():
        with LiveBytes() as live:
            call()
        rows[name][f"{task} (MB)"] = live.peak / 1e6
    return pd.DataFrame.from_dict(rows, orient="index")
