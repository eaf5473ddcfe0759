"""The cost of a run, against counts by hand; the tables of chapter "What it costs"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_plan import small_plan
from torch import nn

import hsisr_core.training.cost as cost
from hsisr_core.errors import HsisrError
from hsisr_core.models import SSRNet, count_parameters
from hsisr_core.runs import RunConfig
from hsisr_core.training import (
    GPUS,
    PEAK_SHARE,
    estimate_runs,
    gpu_rate,
    measure_costs,
    needs,
    training_flop,
)
from hsisr_core.training.cost import LiveBytes


def test_live_bytes_are_the_most_at_once() -> None:
    with LiveBytes() as live:
        first = torch.zeros(100, device="meta")
        second = first + 1  # 800 bytes
        del first
        third = second.view(10, 10) * 2  # a view needs nothing
        del second
        _ = third + third
    assert live.peak == 800


def test_live_bytes_hold_what_the_backward_pass_needs() -> None:
    layer = nn.Linear(10, 10, bias=False, device="meta")
    with LiveBytes() as live:
        x = torch.zeros(1000, 10, device="meta", requires_grad=True)
        layer(layer(layer(x)).tanh()).sum().backward()
    activations = 1000 * 10 * 4
    assert live.peak >= 5 * activations


def test_operations_of_a_step_by_hand() -> None:
    config = RunConfig(features=1, modules=1, units=1, patch=4, scale=2, batch=3, steps=7, epochs=None)
    voxels = 5 * 4 * 4
    separable = (9 + 3) * 3  # two blocks of the unit and the block after it
    fusion = 1
    by_hand = voxels * (27 + separable + fusion) + voxels * 3 * 4 * 4 + 4 * voxels * 27
    assert training_flop(config, 5, images=1) == 2 * 3 * by_hand * 3 * 7


def test_operations_of_the_paper_by_hand() -> None:
    """25 scenes: 360 patches each, 562 steps an epoch, 200 epochs."""
    voxels = 31 * 32 * 32
    blocks = 3 * (2 * 3 + 1) * (9 + 3) * 64 * 64
    fusion, head, transposed = 3 * 192 * 64, 27 * 64, 3 * 4 * 4 * 64 * 64
    by_hand = voxels * (blocks + fusion + head + transposed) + 4 * voxels * 27 * 64
    assert by_hand == 40_451_506_176
    flop = 3 * 2 * by_hand * 16 * 112_400
    assert training_flop(RunConfig(), 31, images=25) == flop


def test_the_estimate_adds_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[int] = []

    def measure_rate(config: RunConfig, bands: int) -> tuple[float, str]:
        timed.append(config.scale)
        return 1e9, "by hand"

    monkeypatch.setattr(cost, "_measure_rate", measure_rate)
    runs = small_plan(tmp_path, "[{product: {scale: [2, 3], seed: [1, 2], steps: [20, 40]}}]")
    estimates = estimate_runs(runs, "a100")
    assert timed == [2, 3], "seeds and steps do not change the time of a step"
    first, config, dataset = estimates[0], runs[0].config, runs[0].dataset
    scoring = cost._run_flop(config, dataset) - training_flop(config, 31, 1)
    alone = cost._run_flop(config.changed(evaluate_every=None), dataset) - training_flop(config, 31, 1)
    assert scoring == 3 * alone > 0, "scored at 10, at 20 and at the end"
    assert first.flop == cost._run_flop(config, dataset)
    assert first.seconds == pytest.approx(first.flop / 1e9)
    assert first.gpu_seconds == pytest.approx(first.flop / (PEAK_SHARE * 19.5e12))
    assert first.parameters == 1650
    assert estimate_runs(runs[:1])[0].gpu_seconds is None


def test_a_batch_that_is_too_slow_is_scaled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that knows nothing but train_step: so many seconds a patch."""
    (run,) = small_plan(tmp_path, "[{seed: 1}]", batch=8)
    now, per_patch = [0.0], [0.01]

    def step(accelerator: Any, model: Any, optimizer: Any, loss: Any, lr: torch.Tensor, *_: Any) -> None:
        now[0] += per_patch[0] * len(lr)

    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    monkeypatch.setattr(cost, "train_step", step)
    of_a_patch = training_flop(run.config.changed(batch=1, steps=1), 31, images=1)
    for per_patch[0], words in (
        (0.01, " x 8 patches"),
        (0.5, " x 4 patches"),
        (1000.0, "1 x 1 patches"),
    ):
        rate, method = cost._measure_rate(run.config, 31)
        assert rate == pytest.approx(of_a_patch / per_patch[0])
        assert method.endswith(words)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"precision": "bf16"},
        {"method": "3d-fcnn"},
        {"method": "edsr", "init": "he", "loss": "mse+0.1*sam"},
    ],
    ids=str,
)
def test_real_steps_are_timed(
    tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "_BUDGET", 0.1)
    (estimate,) = estimate_runs(small_plan(tmp_path, "[{seed: 1}]", **settings), "a100")
    assert min(estimate.seconds, estimate.flop, estimate.bytes) > 0


@pytest.mark.slow
def test_memory_grows_with_the_batch() -> None:
    config = RunConfig(features=4, modules=1, units=1, patch=16)
    one, two, four = (cost._training_bytes(config.changed(batch=batch), 31) for batch in (2, 4, 8))
    assert four - two == pytest.approx(2 * (two - one), rel=0.01)


def test_memory_is_of_the_process_the_images_and_the_tensors(tmp_path: Path) -> None:
    (run,) = small_plan(tmp_path, "[{seed: 1}]", image_sizes=[1.0, 0.5])
    pixels = sum(run.dataset.scene(name).cube[0].size for name in run.dataset.train)
    images = int(4 * 31 * pixels * 1.25 * 1.25)
    assert cost._run_bytes(run.config, run.dataset, gpu=True) == cost._PROCESS_BYTES + images
    tensors = cost._run_bytes(run.config, run.dataset) - cost._PROCESS_BYTES - images
    assert tensors >= cost._training_bytes(run.config, 31)


def test_a_job_asks_for_more_where_there_is_more_to_do(tmp_path: Path) -> None:
    small, large = (
        needs(run)
        for run in small_plan(tmp_path, "[{product: {steps: [100000, 200000]}}]", evaluate_every=None)
    )
    assert small["gpu"] == 0
    assert large["runtime"] - 10 == pytest.approx(2 * (small["runtime"] - 10), abs=2)
    (run,) = small_plan(tmp_path, "[{seed: 1}]")
    assert needs(run, "a100")["gpu"] == 1
    assert needs(run, "a100")["mem_mb"] < needs(run)["mem_mb"]


def test_gpus_by_name() -> None:
    assert gpu_rate("a100") == ("A100", 19.5)
    assert gpu_rate("rtx4090")[0] == gpu_rate("4090")[0] == "RTX 4090"
    assert gpu_rate("H100")[0] == "H100 SXM"
    for wrong in ("", "rtx", "potato"):
        with pytest.raises(HsisrError, match=r"choose one of GTX 1080, V100 SXM2"):
            gpu_rate(wrong)
    assert all(source and rate > 1 for rate, source in GPUS.values())


def test_costs_of_both_blocks() -> None:
    models = {block: SSRNet(2, features=4, modules=1, block=block) for block in ("separable", "standard")}
    counts = {block: count_parameters(model) for block, model in models.items()}
    costs = measure_costs(models, bands=31, side=8)
    assert list(costs.columns) == [
        "parameters", "multiply-adds (G)", "training step (ms)", "inference (ms)", "training step (MB)",
        "inference (MB)",
    ]  # fmt: skip
    assert costs["parameters"].to_dict() == counts
    assert (costs[["training step (ms)", "inference (ms)"]] > 0).all(axis=None)
    # two layers with ReLU keep more for the backward pass than one layer without
    memory = costs["training step (MB)"].to_dict()
    assert memory["separable"] > memory["standard"]
    large = measure_costs(models, bands=31, side=8, scene=16)
    assert large["training step (MB)"].to_dict() == memory
    assert (large["inference (MB)"] > 2 * costs["inference (MB)"]).all()
