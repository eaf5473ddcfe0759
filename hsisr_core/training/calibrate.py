"""Time a few real training steps and one real scoring of a configuration on this machine."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from hsisr_core.data import Dataset
from hsisr_core.degrade import make_pair
from hsisr_core.fast import Trainer
from hsisr_core.models import SuperResolver, build_model
from hsisr_core.runs.config import RunConfig
from hsisr_core.runs.folder import peak_bytes, reset_peak
from hsisr_core.training.evaluate import TEST_SIDE, evaluate
from hsisr_core.training.losses import LOSSES
from hsisr_core.training.patches import PatchSampler

__all__ = ["Speed", "calibrate"]

STEPS = 3  # timed at least, after one that warms up
SMALLEST = 16  # LR pixels a side of a scene that is scored for its time


@dataclass(frozen=True)
class Speed:
    """Times and memory on this machine, and how they were found."""

    step: float  # seconds for one training step
    scoring: float  # seconds for one scoring of all test images
    method: str
    batch: int  # of the timed steps
    step_peak: int  # bytes, the peak of this process in these steps (of tensors, on a GPU)
    scored: tuple[int, int]  # LR height and width of the scored scene
    scoring_peak: int  # bytes, the peak of this process in scoring


def calibrate(
    config: RunConfig,
    dataset: Dataset,
    patch_cost: int,
    scoring_cost: int,
    step_bytes: int,
    budget: float = 4.0,
) -> Speed:
    """Time the training step and the scoring of `config` on its own data, and note the memory they take.

    The batch is the true one where a few steps of it fit into the budget and the memory, else a
    smaller one whose time is scaled up. The scored scene is the first test image or its top left part.

    Parameters
    ----------
    config : RunConfig
    dataset : Dataset
    patch_cost, scoring_cost : int
        Multiply-adds of one patch, and of one scoring of all test images.
    step_bytes : int
        Memory that a step with the true batch needs.
    budget : float
        Seconds for the training steps and for the scoring, each, about.

    Raises
    ------
    HsisrError
        No patch fits into the first training image.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = build_model(config.method, config.scale, dataset.bands, **config.model_options())
    device = "cuda" if torch.cuda.is_available() and config.device != "cpu" else "cpu"
    model.set_mean(torch.from_numpy(dataset.scene(dataset.train[0]).cube.mean(axis=(1, 2))))
    steps = Steps(model.to(device), config, dataset)
    reset_peak()
    single = steps.time(batch=1, seconds=budget / 10)
    batch = config.batch
    if single * batch * (STEPS + 1) > 2 * budget or step_bytes > free_bytes() / 2:
        affordable = min(2 * budget / (single * (STEPS + 1)), free_bytes() / 2 * batch / step_bytes)
        batch = min(batch, max(1, int(affordable)))
    seconds = single if single > budget and batch == 1 else steps.time(batch, budget)
    step_peak = peak_bytes()
    method = f"{steps.count} step{'s' if steps.count > 1 else ''}"
    if batch < config.batch:
        method += f" with batch {batch} of {config.batch}, scaled"
    step = seconds * config.batch / batch
    per_multiply_add = step / (3 * patch_cost * config.batch)
    share = budget / (per_multiply_add * scoring_cost)
    steps.forget()
    reset_peak()
    scoring, scored, part = time_scoring(model, config, dataset, share)
    return Speed(step, scoring, method + part, batch, step_peak, scored, peak_bytes())


class Steps:
    """Training steps that can be timed with any batch, on the first training image."""

    def __init__(self, model: SuperResolver, config: RunConfig, dataset: Dataset) -> None:
        self.model, self.config, self.dataset = model, config, dataset
        self.trainer = Trainer(model)
        self.device = next(model.parameters()).device
        self.optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
        self.count = 0

    def time(self, batch: int, seconds: float) -> float:
        """Mean seconds of a step with `batch` patches, from as many as take `seconds`, after one that warms up."""
        config, count = self.config, self.config.patches_per_image
        sampler = PatchSampler(
            [self.dataset.scene(self.dataset.train[0]).cube],
            config.scale,
            config.patch,
            batch,
            config.seed,
            config.lr_side,
            max(count, batch) if count else None,  # one image alone may have too few for a batch
            config.image_sizes,
            config.augment,
        )
        self.model.train()
        times: list[float] = []
        while len(times) <= STEPS or sum(times) < seconds:
            started = time.perf_counter()
            self.step(*sampler.batch(len(times)))
            times.append(time.perf_counter() - started)
            if sum(times) > 10 * seconds and len(times) > 1:  # far slower than thought: two must do
                break
        self.count = len(times) - 1
        return statistics.fmean(times[1:])  # not the median: what slows some steps here slows some of the run

    def forget(self) -> None:
        """Free the gradients and moments."""
        self.optimizer.zero_grad()
        self.optimizer.state.clear()

    def step(self, lr: torch.Tensor, hr: torch.Tensor) -> None:
        kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.config.precision)
        with torch.autocast(self.device.type, dtype=kind, enabled=kind is not None):
            sr = self.trainer(lr.to(self.device)).float()
        LOSSES[self.config.loss](sr, self.model.kept(hr).to(self.device)).backward()
        if self.config.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def time_scoring(
    model: SuperResolver, config: RunConfig, dataset: Dataset, share: float
) -> tuple[float, tuple[int, int], str]:
    """Seconds for one scoring of all test images, the LR size that was scored, and that in words.

    The scene is cut to about `share` of the pixels of all test images, which the budget allows.
    """
    cubes = [dataset.scene(name).cube[:, :TEST_SIDE, :TEST_SIDE] for name in dataset.test]
    pixels = [cube.shape[1] * cube.shape[2] for cube in cubes]
    side = max(SMALLEST * config.scale, int((share * sum(pixels)) ** 0.5))
    part = cubes[0][:, :side, :side]
    lr, hr = make_pair(part, config.scale)
    model.eval()
    started = time.perf_counter()
    evaluate(model, {"": (lr, hr)}, config.method, bicubic=False)
    seconds = time.perf_counter() - started
    whole = part.shape == cubes[0].shape and len(cubes) == 1
    name = "" if whole else f", scoring from {part.shape[1]}x{part.shape[2]} pixels"
    return seconds * sum(pixels) / (part.shape[1] * part.shape[2]), (lr.shape[1], lr.shape[2]), name


def free_bytes() -> int:
    """Memory that can be had now, of the GPU where there is one."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])
    except (OSError, StopIteration):  # macOS does not say
        return 4 << 30
