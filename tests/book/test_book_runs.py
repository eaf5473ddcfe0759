"""What the book trains before its chapters run."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import nbformat
import pytest
from small_book import ROOT
from small_plan import finish, write_plan

import hsisr_core.book.book_runs as book_runs
from hsisr_core.book.book_runs import all_runs, train_shown
from hsisr_core.book.execute import BookError
from hsisr_core.errors import HsisrError
from hsisr_core.paper import TABLES
from hsisr_core.runs import PlannedRun, plan_for_chapters, planned_runs, record_failure
from hsisr_core.train import train


@pytest.fixture
def carried_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[PlannedRun]:
    """The runs that would be trained; each is marked as finished."""
    monkeypatch.setenv("HSISR_RUNS", str(tmp_path / "runs"))
    seen: list[PlannedRun] = []

    def carry_out(runs: Sequence[PlannedRun], train: object, jobs: int | None) -> None:
        seen.extend(runs)
        for run in runs:
            if run.config.seed != 13:
                finish(run)

    monkeypatch.setattr(book_runs, "carry_out", carry_out)
    return seen


def test_all_that_a_chapter_can_ask_for_is_trained(tmp_path: Path, carried_out: list[PlannedRun]) -> None:
    plan = plan_for_chapters(write_plan(tmp_path, "[{table: loss, steps: 3}, {scale: 3}]"), {"features": 5})
    train_shown(plan, train)
    trained = {run.config for run in carried_out}
    assert plan.defaults in trained
    assert {config.features for config in trained} == {5}
    for name in TABLES:
        assert set(plan.table(name)) <= trained


def test_the_demo_plan_holds_every_run_of_the_chapters() -> None:
    """Nothing is trained twice, and nothing in a chapter."""
    plan = plan_for_chapters("demo", {})
    folders = {run.folder for run in planned_runs(plan)}
    assert {run.folder for run in planned_runs(plan.shown())} == folders
    asked = set()
    for path in sorted((ROOT / "book").glob("*.ipynb")):
        code = "\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code")
        asked |= set(re.findall(r'\.table\("(\w+)"\)', code))
    assert {"loss", "ablation", "block", "modules", "comparison"} <= asked
    assert asked <= {table for table, _ in plan.entries}


def test_a_failed_run_fails_the_book(tmp_path: Path, carried_out: list[PlannedRun]) -> None:
    path = write_plan(tmp_path, "[{seed: 13}, {seed: 13, steps: 2}]")
    plan = plan_for_chapters(path, {})
    for run in planned_runs(plan):
        run.folder.mkdir(parents=True)
        record_failure(run.folder, "no luck")
    with pytest.raises(BookError, match=r"Training failed, .*seed=13.*: no luck \(1 more failed too\)"):
        train_shown(plan, train)


def test_missing_data_is_said_before_anything_is_trained(
    tmp_path: Path, carried_out: list[PlannedRun]
) -> None:
    with pytest.raises(HsisrError, match="nowhere"):
        train_shown(plan_for_chapters(write_plan(tmp_path, "[{seed: 1}]"), {"data": "nowhere"}), train)
    assert carried_out == []


def test_the_table_of_all_runs_leaves_out_what_is_not_finished(
    tmp_path: Path, carried_out: list[PlannedRun]
) -> None:
    plan = plan_for_chapters(write_plan(tmp_path, "[{seed: 1}, {seed: 2, steps: 3}]"), {})
    done, left = planned_runs(plan)
    finish(done)
    values = json.loads((done.folder / "metrics.json").read_text())
    values |= {
        "steps": 7, "seconds": 1.5, "parameters": 12,
        "mean": {"bicubic": {"psnr": 30.0}, "ssrnet": {"psnr": 30.25, "ssim": 0.9, "sam": 2.0}},
    }  # fmt: skip
    (done.folder / "metrics.json").write_text(json.dumps(values))
    table = all_runs([done, left])
    assert list(table.index) == [done.label]
    assert table.iloc[0].tolist() == [7, 1.5, 12, 30.25, 0.25, 0.9, 2.0]
