"""Workers share runs through locks, record failures and go on."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from small_plan import finish, small_plan

import hsisr_core.runs.work as working
from hsisr_core.errors import HsisrError
from hsisr_core.runs.folder import run_lock
from hsisr_core.runs.plan import PlannedRun
from hsisr_core.runs.work import read_failure, record_failure, work


def carry_out(runs: list[PlannedRun], started: float | None = None) -> list[tuple[str, int]]:
    events: list[Mapping[str, Any]] = []
    work(
        [(run.config, run.folder) for run in runs], time.time() if started is None else started, events.append
    )
    return [(event["event"], event["run"]) for event in events]


def test_finished_runs_are_left_alone_and_a_failed_one_does_not_stop_the_rest(tmp_path: Path) -> None:
    runs = small_plan(tmp_path, "[{seed: 1}, {patch: 100}, {seed: 3}]", steps=2)
    finish(runs[0])
    before = (runs[0].folder / "metrics.json").stat().st_mtime_ns
    assert carry_out(runs) == [("done", 0), ("start", 1), ("failed", 1), ("start", 2), ("done", 2)]
    assert (runs[0].folder / "metrics.json").stat().st_mtime_ns == before
    assert json.loads((runs[2].folder / "metrics.json").read_text())["steps"] == 2
    failure = json.loads((runs[1].folder / "failed.json").read_text())
    assert "smaller than an HR patch of 200x200" in failure["error"]
    assert any("build_sampler" in line for line in failure["traceback"])
    assert failure["time"].startswith("20")


def test_a_failure_is_tried_again_by_the_next_command_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = small_plan(tmp_path, "[{seed: 1}]", steps=2)
    record_failure(run.folder, "no luck")
    assert carry_out([run], started=time.time() - 60) == [("failed", 0)]
    assert carry_out([run], started=time.time()) == [("start", 0), ("done", 0)]
    assert read_failure(run.folder) is None


@pytest.mark.parametrize(
    "error", [RuntimeError("out of\nmemory"), MemoryError("too much"), HsisrError("disk full")]
)
def test_any_error_is_recorded_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("hsisr_core.training.loop.train", fail)
    runs = small_plan(tmp_path, "[{seed: 1}]")
    carry_out(runs)
    failure = read_failure(runs[0].folder)
    assert failure is not None
    name = "" if isinstance(error, HsisrError) else f"{type(error).__name__}: "
    assert failure["error"] == name + " ".join(str(error).split())


def test_a_run_that_another_process_has_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lock is gone by then, as it is when the process died: it is carried out here."""
    runs = small_plan(tmp_path, "[{product: {seed: [1, 2, 3]}}]", steps=1)
    runs[0].folder.mkdir(parents=True)
    other = run_lock(runs[0].folder)
    other.__enter__()
    events: list[tuple[str, int]] = []

    def tell(event: Mapping[str, Any]) -> None:
        events.append((event["event"], event["run"]))
        if event == {"event": "done", "run": 2}:
            other.__exit__(None, None, None)

    work([(run.config, run.folder) for run in runs], time.time(), tell)
    assert events == [("start", 1), ("done", 1), ("start", 2), ("done", 2), ("start", 0), ("done", 0)]


def test_a_run_that_stays_locked_is_left(tmp_path: Path) -> None:
    runs = small_plan(tmp_path, "[{product: {seed: [1, 2]}}]", steps=1)
    runs[0].folder.mkdir(parents=True)
    with run_lock(runs[0].folder):
        assert carry_out(runs) == [("start", 1), ("done", 1)]
    assert not (runs[0].folder / "metrics.json").exists()


def test_a_lock_taken_between_look_and_start_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = small_plan(tmp_path, "[{seed: 1}]", steps=1)
    run.folder.mkdir(parents=True)
    monkeypatch.setattr("hsisr_core.runs.folder.is_locked", lambda folder: False)
    with run_lock(run.folder):
        assert carry_out([run]) == [("start", 0), ("locked", 0)]
    assert read_failure(run.folder) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"error": "x"}', '{"error": "x", "seconds_since_1970": "now"}']
)
def test_a_damaged_record_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "failed.json").write_text(text)
    assert read_failure(tmp_path) is None


def test_a_failure_that_cannot_be_written_is_still_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "no luck (not recorded: " in record_failure(tmp_path / "file", "no luck")


def test_the_record_keeps_the_end_of_a_long_traceback(tmp_path: Path) -> None:
    record_failure(tmp_path, "x", [str(number) for number in range(100)])
    lines = json.loads((tmp_path / "failed.json").read_text())["traceback"]
    assert lines[-1] == "99"
    assert len(lines) == working.TRACEBACK_LINES
