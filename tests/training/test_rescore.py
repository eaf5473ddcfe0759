"""Finished runs, scored again."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_plan import finish, small_plan

from hsisr_core.errors import HsisrError
from hsisr_core.runs.folder import open_run
from hsisr_core.runs.results import load_results
from hsisr_core.training.loop import train
from hsisr_core.training.rescore import finished_runs, rescore, score_frame


def test_scores_are_those_of_the_training(tmp_path: Path) -> None:
    (plan,) = small_plan(tmp_path, "[{seed: 1}]", steps=3)
    train(plan.config, tmp_path / "runs", plan.dataset, progress=False)
    (run,) = finished_runs(tmp_path / "runs")
    again = score_frame([rescore(run)])
    first = load_results(tmp_path / "runs")
    for column in ("run", "image", "result", "seed", "trained_steps"):
        assert again[column].tolist() == first[column].tolist()
    assert again["psnr"].tolist() == pytest.approx(first["psnr"].tolist(), abs=1e-6)
    assert set(again["split"]) == {"indian-pines"}


def test_shards_are_dealt_before_anything_is_left_out(tmp_path: Path) -> None:
    runs = small_plan(tmp_path, "[{product: {seed: [1, 2, 3, 4]}}]")
    folders = sorted(run.folder for run in runs)
    by_folder = {run.folder: run for run in runs}
    for folder in folders[1:]:
        finish(by_folder[folder])
    open_run(by_folder[folders[0]].config, tmp_path / "runs")  # not finished
    (tmp_path / "runs" / "foreign").mkdir()
    with pytest.warns(UserWarning, match="it is not finished"):
        first = finished_runs(tmp_path / "runs", "1/2")
    second = finished_runs(tmp_path / "runs", "2/2")
    assert [run.folder for run in first] == [folders[2]]
    assert [run.folder for run in second] == [folders[1], folders[3]]


def test_a_folder_without_runs(tmp_path: Path) -> None:
    with pytest.raises(HsisrError, match="not a run folder"):
        finished_runs(tmp_path)
    with pytest.raises(HsisrError, match="not a run folder"):
        finished_runs(tmp_path / "nowhere")
