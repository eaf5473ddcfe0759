"""Calibration: which steps are timed, and how they are scaled. No real times: the clock is replaced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_plan import small_plan

import hsisr_core.training.calibrate as calibrating
from hsisr_core.errors import HsisrError
from hsisr_core.runs.plan import PlannedRun
from hsisr_core.training.calibrate import calibrate


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """`clock(seconds)`: from now on a patch in a training step takes so long, and a scoring 7 s."""
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def per_patch(seconds: float) -> None:
        def step(self: calibrating.Steps, lr: torch.Tensor, hr: torch.Tensor) -> None:
            now[0] += seconds * len(lr)

        def evaluate(*_: object, **__: object) -> None:
            now[0] += 7.0

        monkeypatch.setattr(calibrating.Steps, "step", step)
        monkeypatch.setattr(calibrating, "evaluate", evaluate)

    return per_patch


def time_it(run: PlannedRun, step_bytes: int = 1000) -> calibrating.Speed:
    return calibrate(run.config, run.dataset, 10**6, 10**6, step_bytes)


@pytest.fixture
def run(tmp_path: Path) -> PlannedRun:
    return small_plan(tmp_path, "[{seed: 1}]", batch=8)[0]


def test_a_quick_step_is_timed_as_it_is(run: PlannedRun, clock: Callable[[float], None]) -> None:
    clock(0.01)
    speed = time_it(run)
    assert speed.step == pytest.approx(0.08)
    assert "batch" not in speed.method


def test_a_slow_step_is_scaled_from_a_smaller_batch(run: PlannedRun, clock: Callable[[float], None]) -> None:
    clock(0.5)
    speed = time_it(run)
    assert speed.step == pytest.approx(8 * 0.5)
    assert "with batch 4 of 8, scaled" in speed.method
    clock(1000.0)
    speed = time_it(run)
    assert speed.step == pytest.approx(8 * 1000.0)
    assert "1 step with batch 1 of 8, scaled" in speed.method


def test_a_step_that_does_not_fit_into_memory_is_scaled(
    run: PlannedRun, clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock(0.001)
    monkeypatch.setattr(calibrating, "free_bytes", lambda: 1000)
    assert "with batch 4 of 8, scaled" in time_it(run, step_bytes=1000).method
    assert "with batch 1 of 8, scaled" in time_it(run, step_bytes=10**6).method


def test_scoring_is_scaled_by_the_pixels(run: PlannedRun, clock: Callable[[float], None]) -> None:
    clock(0.01)
    (height, width) = run.dataset.scene(run.dataset.test[0]).cube.shape[1:]
    assert time_it(run).scoring == pytest.approx(7.0), "small enough: the whole test image"
    clock(1000.0)  # by this speed a whole image would take too long
    speed = time_it(run)
    assert "scoring from 32x32 pixels" in speed.method
    assert speed.scoring == pytest.approx(7.0 * height * width / 32**2)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_real_steps_run(tmp_path: Path, precision: str) -> None:
    (run,) = small_plan(tmp_path, "[{seed: 1}]", precision=precision)
    speed = calibrate(run.config, run.dataset, 10**6, 10**6, 1000, budget=0.05)
    assert speed.step > 0
    assert speed.scoring > 0
    assert 16 <= min(speed.scored) <= max(speed.scored) <= 36
    assert min(speed.step_peak, speed.scoring_peak) > 50e6, "on a CPU the process itself counts"


def test_one_image_with_few_patches_is_enough(tmp_path: Path) -> None:
    """An epoch of one training image may hold fewer patches than a batch."""
    (run,) = small_plan(tmp_path, "[{seed: 1}]", patches_per_image=1, augment="none", batch=2)
    assert calibrate(run.config, run.dataset, 10**6, 10**6, 1000, budget=0.05).step > 0


def test_a_patch_larger_than_the_image_is_an_error(tmp_path: Path) -> None:
    (run,) = small_plan(tmp_path, "[{patch: 100}]")
    with pytest.raises(HsisrError, match="smaller than an HR patch"):
        time_it(run)
