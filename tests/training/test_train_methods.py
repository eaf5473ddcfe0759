"""Every method trains, resumes bit for bit, is scored on what it keeps, and can be estimated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small_plan import TINY, small_plan

import hsisr_core.training.loop as training
from hsisr_core.cli.report import results_table, score_table
from hsisr_core.errors import HsisrError
from hsisr_core.models import count_parameters
from hsisr_core.runs.config import RunConfig
from hsisr_core.runs.results import load_results, short_results
from hsisr_core.training.estimate import estimate_runs
from hsisr_core.training.loop import train
from hsisr_core.training.rescore import rescore

METHODS: list[dict[str, Any]] = [
    {"method": "gdrrn", "recursions": 2, "loss": "mse+0.1*sam"},
    {"method": "edsr", "blocks": 1, "init": "pytorch"},
    {"method": "3d-fcnn", "loss": "mse"},
    {"method": "3d-fcnn", "loss": "0.5*mse+0.5*sam", "keep_size": True},
]


@pytest.mark.parametrize("settings", METHODS, ids=str)
def test_trained_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    config = RunConfig.from_preset(str(TINY), steps=8, evaluate_every=None, **settings)
    run = train(config, tmp_path / "straight", progress=False)
    bands, border = (23, 6) if config.method == "3d-fcnn" and not config.keep_size else (31, 0)
    rows = run.metrics["images"]
    assert [row["result"] for row in rows] == ["bicubic", config.method]
    assert {(row["scored_bands"], row["scored_border"]) for row in rows} == {(bands, border)}
    assert (f"on {bands} bands, without {border} pixels" in results_table(run)) == bool(border)
    short = short_results(load_results(run.folder))
    assert (list(short.get("scored_bands", [])) == [23, 23]) == bool(border)
    assert run.metrics["parameters"] == count_parameters(run.model())

    take_step = training.Training.take_step

    def stop(self: training.Training, step: int) -> None:
        if step == 7:
            raise KeyboardInterrupt
        take_step(self, step)

    monkeypatch.setattr(training.Training, "take_step", stop)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "resumed", progress=False)
    monkeypatch.setattr(training.Training, "take_step", take_step)
    resumed = train(config, tmp_path / "resumed", progress=False)
    first, second = (load_file(item.folder / "weights.safetensors") for item in (run, resumed))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_self_ensemble_is_scored_beside(tmp_path: Path) -> None:
    config = RunConfig.from_preset(str(TINY), method="gdrrn", recursions=1, steps=2, evaluate_every=None)
    scored = rescore(train(config, tmp_path, progress=False), self_ensemble=True)
    assert [row["result"] for row in scored.rows] == ["bicubic", "gdrrn", "gdrrn+"]
    table = score_table(scored.rows, config, scored.dataset)
    assert sum(line.startswith("gdrrn+ ") for line in table.splitlines()) == 2  # the image and the mean


def test_a_patch_smaller_than_what_is_lost(tmp_path: Path) -> None:
    config = RunConfig.from_preset(str(TINY), method="3d-fcnn", patch=6)
    with pytest.raises(HsisrError, match="a larger patch"):
        train(config, tmp_path, progress=False)


@pytest.mark.slow
def test_a_plan_of_other_methods_is_estimated(tmp_path: Path) -> None:
    entries = "[{method: 3d-fcnn}, {method: edsr, init: he, loss: mse+0.1*sam}]"
    estimates = estimate_runs(small_plan(tmp_path, entries), "a100", budget=0.2)
    assert len(estimates) == 2
    assert all(item.seconds > 0 and item.flop > 0 and item.bytes > 0 for item in estimates)
