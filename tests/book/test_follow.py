"""The curves of a plan, while they grow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from small_plan import small_plan

import hsisr_core.book.follow as following
from hsisr_core.book.follow import follow, histories
from hsisr_core.runs.folder import run_lock
from hsisr_core.runs.plan import PlannedRun

HEADER = "step,loss,learning_rate,seconds,psnr,ssim,sam\n"


@pytest.fixture
def runs(tmp_path: Path) -> list[PlannedRun]:
    runs = small_plan(tmp_path, "[{product: {seed: [1, 2, 3]}}]")
    for run in runs[:2]:
        run.folder.mkdir(parents=True)
    (runs[0].folder / "history.csv").write_text(HEADER + "0,,1,0,30,,\n10,0.5,1,1,31,,\n20,0.")
    (runs[1].folder / "history.csv").write_text(HEADER + "0,,1,0,30,,\n")  # no step yet
    return runs


def test_curves_are_of_the_runs_that_have_begun(runs: list[PlannedRun]) -> None:
    tables = histories(runs)
    assert list(tables) == ["seed=1"]
    assert tables["seed=1"]["step"].tolist() == [0, 10, 20]
    picture = follow(runs)
    assert isinstance(picture, Figure)
    assert [line.get_ydata().tolist() for line in picture.axes[1].lines] == [[30, 31]]  # type: ignore[union-attr]
    assert follow(runs[2:]) == "None of the 1 runs has begun yet."


def test_of_many_runs_the_last_that_grew_are_shown(tmp_path: Path) -> None:
    many = small_plan(tmp_path, f"[{{product: {{seed: {list(range(1, 9))}}}}}]")
    for run in many:
        run.folder.mkdir(parents=True)
        path = run.folder / "history.csv"
        path.write_text(HEADER + "10,0.5,1,1,31,,\n")
        os.utime(path, (0, 100 - run.config.seed if run.config.seed > 2 else run.config.seed))
    assert list(histories(many)) == [f"seed={seed}" for seed in range(3, 9)]


class Handle:
    def __init__(self) -> None:
        self.shown: list[Any] = []

    def update(self, what: Any) -> None:
        self.shown.append(what)


def test_it_draws_again_until_no_run_is_in_work(
    runs: list[PlannedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    handle, lock = Handle(), run_lock(runs[0].folder)
    monkeypatch.setattr(following, "display", lambda what, display_id: handle)
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        with (runs[0].folder / "history.csv").open("a") as file:
            file.write(f"\n{10 * len(looks) + 20},0.1,1,1,{31 + len(looks)},,\n")
        if len(looks) == 2:
            lock.__exit__(None, None, None)

    monkeypatch.setattr("time.sleep", sleep)
    lock.__enter__()
    assert follow(runs, seconds=60) is None
    assert len(looks) == 3, "one more after the last run was in work, for a gap between two runs"
    assert [len(picture.axes[1].lines[0].get_xdata()) for picture in handle.shown] == [3, 4, 5]
