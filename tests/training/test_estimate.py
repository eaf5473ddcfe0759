"""The cost of a run, against counts by hand and against what PyTorch holds in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_plan import small_plan
from torch import nn

import hsisr_core.training.estimate as estimating
from hsisr_core.errors import HsisrError
from hsisr_core.runs.config import RunConfig
from hsisr_core.training.calibrate import Speed
from hsisr_core.training.estimate import (
    GPUS,
    PEAK_SHARE,
    LiveBytes,
    data_bytes,
    estimate_runs,
    gpu_rate,
    patch_multiply_adds,
    peak,
    scoring_bytes,
    scoring_multiply_adds,
    train_bytes,
)


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


def test_operations_of_a_patch_by_hand() -> None:
    config = RunConfig(features=1, modules=1, units=1, patch=4, scale=2)
    voxels = 5 * 4 * 4
    separable = (9 + 3) * 3  # two blocks of the unit and the block after it
    fusion = 1
    by_hand = voxels * (27 + separable + fusion) + voxels * 3 * 4 * 4 + 4 * voxels * 27
    assert patch_multiply_adds(config, 5) == by_hand


def test_operations_of_the_paper_network_by_hand() -> None:
    voxels = 31 * 32 * 32
    blocks = 3 * (2 * 3 + 1) * (9 + 3) * 64 * 64
    fusion, head, transposed = 3 * 192 * 64, 27 * 64, 3 * 4 * 4 * 64 * 64
    by_hand = voxels * (blocks + fusion + head + transposed) + 4 * voxels * 27 * 64
    assert patch_multiply_adds(RunConfig(), 31) == by_hand == 40_451_506_176


def test_the_estimate_adds_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def calibrate(config: RunConfig, *_: object) -> Speed:
        calls.append(config.scale)
        return Speed(0.5, 2.0, "by hand", 1, 10**9, (16, 16), 10**8)

    monkeypatch.setattr(estimating, "calibrate", calibrate)
    runs = small_plan(tmp_path, "[{product: {scale: [2, 3], seed: [1, 2], steps: [20, 40]}}]")
    estimates = estimate_runs(runs, "a100")
    assert calls == [2, 3], "seeds and steps do not change the time of a step"
    first = estimates[0]
    config, dataset = runs[0].config, runs[0].dataset
    step = 2 * 3 * 2 * patch_multiply_adds(config, 31)
    assert first.flop == 20 * step + 3 * 2 * scoring_multiply_adds(config, dataset)
    assert first.seconds == 20 * 0.5 + 3 * 2.0  # scored at 10, at 20 and at the end
    assert first.gpu_seconds == pytest.approx(first.flop / (PEAK_SHARE * 19.5e12))
    assert first.parameters == 1650
    more = train_bytes(config, 31, batch=2) - train_bytes(config, 31, batch=1)
    assert first.bytes == 10**9 + more + data_bytes(config, dataset)
    assert estimate_runs(runs[:1])[0].gpu_seconds is None


def test_memory_grows_with_the_batch() -> None:
    config = RunConfig(features=4, modules=1, units=1, patch=16)
    one, two, four = (train_bytes(config, 31, batch) for batch in (2, 4, 8))
    assert four - two == pytest.approx(2 * (two - one), rel=0.01)


def test_the_larger_of_training_and_scoring_counts(tmp_path: Path) -> None:
    (run,) = small_plan(tmp_path, "[{seed: 1}]")
    height, width = run.dataset.scene(run.dataset.test[0]).cube.shape[1:]
    speed = Speed(1.0, 1.0, "", run.config.batch, 0, (16, 16), 10**9)
    more = scoring_bytes(run.config, 31, (height // 2, width // 2)) - scoring_bytes(run.config, 31, (16, 16))
    assert more > 1e6
    assert peak(run.config, run.dataset, speed) == 10**9 + more + data_bytes(run.config, run.dataset)


def test_tiles_bound_the_memory_of_scoring() -> None:
    config = RunConfig(features=8, modules=1, units=1)
    assert scoring_bytes(config, 31, (3000, 3000)) == scoring_bytes(config, 31, (4000, 4000)) < 3.5e9


def test_data_in_memory(tmp_path: Path) -> None:
    (run,) = small_plan(tmp_path, "[{seed: 1}]", image_sizes=[1.0, 0.5], lr_side="patch")
    shapes = {name: run.dataset.scene(name).cube.shape for name in (*run.dataset.train, *run.dataset.test)}
    pixels = {name: height * width for name, (_, height, width) in shapes.items()}
    train = sum(pixels[name] for name in run.dataset.train) * 1.25
    test = sum((h // 2) * (w // 2) * 5 for _, h, w in (shapes[name] for name in run.dataset.test))
    assert data_bytes(run.config, run.dataset) == int(4 * 31 * (train + test))


def test_gpus_by_name() -> None:
    assert gpu_rate("a100") == ("A100", 19.5)
    assert gpu_rate("rtx4090")[0] == gpu_rate("4090")[0] == "RTX 4090"
    assert gpu_rate("H100")[0] == "H100 SXM"
    for wrong in ("", "rtx", "potato"):
        with pytest.raises(HsisrError, match=r"choose one of GTX 1080, V100 SXM2"):
            gpu_rate(wrong)
    assert all(source and rate > 1 for rate, source in GPUS.values())
