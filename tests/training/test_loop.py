"""Training: it learns, it resumes bit for bit after kill -9, with every method, and it says what is wrong."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import hsisr_core.training.loop as loop
from hsisr_core.base import write_json
from hsisr_core.cli.report import results_table
from hsisr_core.data import load_dataset
from hsisr_core.errors import HsisrError
from hsisr_core.models import count_parameters
from hsisr_core.runs import (
    Run,
    RunConfig,
    load_results,
    open_run,
    planned_runs,
    read_plan,
    run_state,
    short_results,
)
from hsisr_core.training import evaluate, reduced_pairs, train

TINY = str(Path(__file__).parents[1] / "tiny.yaml")


def tiny(**overrides: Any) -> RunConfig:
    return RunConfig.from_preset(TINY, **overrides)


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.folder / "weights.safetensors")


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def train_until(last: int, config: RunConfig, runs: Path) -> None:
    """Begin a training that is interrupted before step `last`."""
    take_step = loop.Training.take_step

    def stop(self: loop.Training, step: int) -> None:
        if step == last:
            raise KeyboardInterrupt
        take_step(self, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Training, "take_step", stop)
        with pytest.raises(KeyboardInterrupt):
            train(config, runs, progress=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tiny(), tmp_path_factory.mktemp("runs"), progress=False)


def test_a_run_folder_holds_everything(finished: Run) -> None:
    metrics, history = finished.metrics, finished.history()
    assert metrics["steps"] == 20
    assert metrics["config"]["preset"] == "tiny"
    assert {row["result"] for row in metrics["images"]} == {"bicubic", "ssrnet"}
    assert set(metrics["versions"]) >= {"torch", "numpy", "python"}
    assert metrics["peak_bytes"] > 1e7
    assert metrics["processor_seconds"] > 0
    assert metrics["device"] == f"cpu, {torch.backends.cpu.get_cpu_capability()}"
    assert list(history["step"]) == [0, 10, 20]
    assert history["psnr"].notna().all()
    assert history["psnr"].iloc[-1] == pytest.approx(metrics["mean"]["ssrnet"]["psnr"], abs=1e-5)
    assert not list((finished.folder / "checkpoint").iterdir())


def test_the_stored_network_gives_the_stored_scores(finished: Run) -> None:
    rows = evaluate(finished.model(), reduced_pairs(load_dataset("indian-pines"), 2), "ssrnet")
    assert rows[1]["psnr"] == pytest.approx(finished.metrics["images"][1]["psnr"], abs=1e-6)


def test_the_last_step_is_scored_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unscored = train(tiny(steps=4, evaluate_every=None), tmp_path / "end", progress=False)
    counted = Mock(wraps=evaluate)
    monkeypatch.setattr(loop, "evaluate", counted)
    run = train(tiny(steps=4, evaluate_every=2), tmp_path / "twice", progress=False)
    assert counted.call_count == 3  # after 0, 2 and 4 steps
    assert run.metrics["images"] == unscored.metrics["images"]


@pytest.mark.slow
def test_training_lowers_the_loss(tmp_path: Path) -> None:
    run = train(tiny(init="pytorch", steps=120, evaluate_every=None), tmp_path, progress=False)
    loss = run.history()["loss"].dropna()
    assert loss.iloc[-1] < 0.6 * loss.iloc[0]


def test_a_finished_run_is_returned_untouched(finished: Run) -> None:
    before = (finished.folder / "weights.safetensors").stat().st_mtime_ns
    again = train(tiny(device="cpu"), finished.folder.parent, progress=False)
    assert again.folder == finished.folder
    assert (finished.folder / "weights.safetensors").stat().st_mtime_ns == before


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("harm", [Path.unlink, flip_a_bit, cut])
@pytest.mark.parametrize("name", ["weights.safetensors", "metrics.json"])
def test_a_damaged_run_is_trained_again(
    finished: Run, tmp_path: Path, name: str, harm: Callable[[Path], None]
) -> None:
    """It is not called finished by the table, by `train` or by a plan, until it is whole again."""
    shutil.copytree(finished.folder, tmp_path / finished.folder.name)
    run = open_run(tiny(), tmp_path)
    assert run.finished
    harm(run.folder / name)
    if name == "metrics.json" and harm is flip_a_bit:
        (run.folder / name).write_text(
            (run.folder / name).read_text().replace('"seconds": ', '"seconds": "x')
        )
    (planned,) = (one for one in planned_runs(read_plan(TINY), tmp_path) if one.folder == run.folder)
    assert not run.finished
    assert run_state(planned).state == "missing"
    if name == "weights.safetensors":
        with pytest.raises(HsisrError, match="train"):
            run.model()
    unfinished = name == "metrics.json" and harm is Path.unlink
    with nullcontext() if unfinished else pytest.warns(UserWarning, match="It is trained again"):
        train(tiny(), tmp_path, progress=False)
    assert run.finished
    assert run_state(planned).state == "done"
    assert same(weights(run), weights(finished))


def test_a_run_from_before_the_hash_of_the_weights_gets_it(finished: Run, tmp_path: Path) -> None:
    shutil.copytree(finished.folder, tmp_path / finished.folder.name)
    run = open_run(tiny(), tmp_path)
    metrics = run.metrics
    digest = metrics.pop("weights_sha256")
    write_json(run.folder / "metrics.json", metrics)
    assert run.finished
    assert run.metrics["weights_sha256"] == digest
    write_json(run.folder / "metrics.json", metrics)
    cut(run.folder / "weights.safetensors")
    assert not run.finished
    assert "weights_sha256" not in run.metrics


def test_interrupted_and_resumed_equals_uninterrupted(finished: Run, tmp_path: Path) -> None:
    """Stopped between two checkpoints: the steps since the last one are taken again."""
    train_until(13, tiny(), tmp_path)
    run = open_run(tiny(), tmp_path)
    assert not run.finished
    assert list(run.history()["step"]) == [0, 10]
    resumed = train(tiny(), tmp_path, progress=False)
    assert same(weights(resumed), weights(finished))
    first, second = (run.history().drop(columns="seconds") for run in (resumed, finished))
    pd.testing.assert_frame_equal(first, second)


def test_a_resume_keeps_the_number_of_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their gradients are added in the same order, so the weights have the same bits."""
    monkeypatch.setattr("hsisr_core.fast.doors.PAYS", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    straight = train(tiny(), tmp_path / "straight", progress=False)
    train_until(13, tiny(), tmp_path / "stopped")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    resumed = train(tiny(), tmp_path / "stopped", progress=False)
    assert resumed.metrics["threads"] == 2
    assert same(weights(resumed), weights(straight))


@pytest.mark.slow
def test_kill_9_in_the_middle_and_again(tmp_path: Path) -> None:
    """The final weights are bit-identical to those of a training that was never stopped."""
    code = (
        "import sys, torch; torch.set_num_threads(1)\n"
        "from hsisr_core.runs import RunConfig\nfrom hsisr_core.train import train\n"
        f"config = RunConfig.from_preset({TINY!r}, steps=120, checkpoint_every=10, evaluate_every=None)\n"
        "train(config, sys.argv[1], progress=False)"
    )
    command = [sys.executable, "-c", code]
    victim = subprocess.Popen([*command, str(tmp_path / "killed")])
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").glob("*/checkpoint/step-*0.safetensors")):
        assert time.monotonic() < deadline
        assert victim.poll() is None
        time.sleep(0.02)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    (folder,) = (tmp_path / "killed").iterdir()
    assert not (folder / "metrics.json").exists()
    for name in ("killed", "straight"):
        subprocess.run([*command, str(tmp_path / name)], check=True)
    first, second = (
        (tmp_path / name / folder.name / "weights.safetensors") for name in ("killed", "straight")
    )
    assert same(load_file(first), load_file(second))


@pytest.mark.parametrize("path", ["checkpoint", "all checkpoints"])
def test_a_corrupt_checkpoint_falls_back_to_the_one_before(finished: Run, tmp_path: Path, path: str) -> None:
    train_until(13, tiny(), tmp_path)
    stored = sorted(tmp_path.glob("*/checkpoint/*.safetensors"))
    for file in stored[-1:] if path == "checkpoint" else stored:
        file.write_bytes(file.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="is damaged"):
        resumed = train(tiny(), tmp_path, progress=False)
    assert same(weights(resumed), weights(finished))


def test_seed_changes_the_weights_and_leaves_the_global_generator_alone(
    finished: Run, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    other = train(tiny(seed=2), tmp_path, progress=False)
    assert torch.equal(torch.rand(1), expected)
    assert not same(weights(other), weights(finished))


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [
        ("halve", 0, 1.0), ("halve", 349, 1.0), ("halve", 350, 0.5), ("halve", 700, 0.25),
        ("cosine", 0, 1.0), ("cosine", 500, 0.5), ("constant", 900, 1.0),
    ],
)  # fmt: skip
def test_learning_rate(schedule: str, step: int, expected: float) -> None:
    config = RunConfig(learning_rate=1.0, schedule=schedule)
    assert loop.learning_rate(config, step, steps=1000, steps_per_epoch=10) == pytest.approx(expected)


def test_clipping_limits_the_gradient(tmp_path: Path) -> None:
    """With Adam the first update does not depend on the size of the gradient, a later one does."""
    free = train(tiny(clip=None, steps=5), tmp_path, progress=False)
    clipped = train(tiny(clip=1e-6, steps=5), tmp_path, progress=False)
    assert not same(weights(free), weights(clipped))


def test_a_run_at_x8_and_patches_as_large_as_the_images_allow(tmp_path: Path) -> None:
    config = tiny(scale=8, patch=32, lr_side="patch", mirror=2, steps=1)
    with pytest.warns(
        UserWarning, match="image has 72 pixels a side: patches have 9 LR pixels a side, not 32"
    ):
        run = train(config, tmp_path, progress=False)
    assert run.metrics["patch"] == 9
    assert set(run.metrics["mean"]) == {"bicubic", "ssrnet"}


def test_the_blur_is_that_of_the_scores_and_of_the_hash(tmp_path: Path) -> None:
    plain, blurred = (train(tiny(steps=1, blur=blur), tmp_path, progress=False) for blur in (None, 1.0))
    assert plain.folder != blurred.folder
    assert "blur" not in plain.metrics["protocol"]
    assert "; blurred by a 7x7 Gaussian of standard deviation 1 HR pixels" in blurred.metrics["protocol"]
    rows = evaluate(blurred.model(), reduced_pairs(load_dataset("indian-pines"), 2, 1.0), "ssrnet")
    assert blurred.metrics["images"][0]["psnr"] == pytest.approx(rows[0]["psnr"])
    assert blurred.metrics["images"][0]["psnr"] < plain.metrics["images"][0]["psnr"] - 0.5
    assert results_table(blurred).startswith("x2, blur 1, preset tiny")


def test_errors_of_the_run(tmp_path: Path) -> None:
    with pytest.raises(HsisrError, match="needs global_residual"):
        train(tiny(init="interpolation", global_residual=False), tmp_path, progress=False)
    assert not any(tmp_path.iterdir())
    with pytest.raises(HsisrError, match="A training image has 2 pixels a side, too few for x8"):
        train(tiny(scale=8, image_sizes=[0.02]), tmp_path, progress=False)
    with pytest.raises(HsisrError, match="batch=99 is larger than an epoch, 16 patches"):
        train(tiny(patches_per_image=1, batch=99), tmp_path, progress=False)
    if not torch.cuda.is_available():
        with pytest.raises(HsisrError, match="no CUDA GPU"):
            train(tiny(device="cuda"), tmp_path, progress=False)
        with pytest.raises(HsisrError, match="'bf16' or 'no'"):
            train(tiny(precision="fp16"), tmp_path, progress=False)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(loop.LOSSES, "l1", lambda sr, hr: (sr - hr).abs().mean() * np.nan)
    with pytest.raises(HsisrError, match="loss is nan at step 1"):
        train(tiny(), tmp_path, progress=False)
    assert not open_run(tiny(), tmp_path).finished


@pytest.mark.slow
def test_bf16_runs_and_differs(finished: Run, tmp_path: Path) -> None:
    run = train(tiny(precision="bf16"), tmp_path, progress=False)
    assert run.folder.name != finished.folder.name
    assert run.metrics["mean"]["ssrnet"]["psnr"] == pytest.approx(
        finished.metrics["mean"]["ssrnet"]["psnr"], abs=1.0
    )
    assert not same(weights(run), weights(finished))


METHODS: list[dict[str, Any]] = [
    {"method": "gdrrn", "recursions": 2, "loss": "mse+0.1*sam"},
    {"method": "edsr", "blocks": 1, "init": "pytorch"},
    {"method": "3d-fcnn", "loss": "mse"},
    {"method": "3d-fcnn", "loss": "0.5*mse+0.5*sam", "keep_size": True},
]


@pytest.mark.slow
@pytest.mark.parametrize("settings", METHODS, ids=str)
def test_every_method_is_trained_and_resumed(tmp_path: Path, settings: dict[str, Any]) -> None:
    config = tiny(steps=8, evaluate_every=None, **settings)
    run = train(config, tmp_path / "straight", progress=False)
    bands, border = (23, 6) if config.method == "3d-fcnn" and not config.keep_size else (31, 0)
    rows = run.metrics["images"]
    assert [row["result"] for row in rows] == ["bicubic", config.method]
    assert {(row["scored_bands"], row["scored_border"]) for row in rows} == {(bands, border)}
    assert (f"on {bands} bands, without {border} pixels" in results_table(run)) == bool(border)
    short = short_results(load_results(run.folder))
    assert (list(short.get("scored_bands", [])) == [23, 23]) == bool(border)
    assert run.metrics["parameters"] == count_parameters(run.model())
    train_until(7, config, tmp_path / "resumed")
    assert same(weights(train(config, tmp_path / "resumed", progress=False)), weights(run))


def test_a_patch_smaller_than_what_is_lost(tmp_path: Path) -> None:
    with pytest.raises(HsisrError, match="SR would be empty"):
        train(tiny(method="3d-fcnn", patch=6), tmp_path, progress=False)
