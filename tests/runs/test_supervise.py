"""Worker processes on one plan: nothing twice, nothing lost, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from small_plan import finish, small_plan

from hsisr_core.runs.plan import PlannedRun
from hsisr_core.runs.plan_progress import Lines
from hsisr_core.runs.status import run_state
from hsisr_core.runs.supervise import Team, Worker, carry_out, ending

needs_proc = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds child processes in /proc")


def command(plan: str, runs: Path, *options: str) -> subprocess.Popen[str]:
    """`hsisr runs` in the background."""
    return subprocess.Popen(
        [sys.executable, "-m", "hsisr_core", "runs", plan, *options],
        env=os.environ | {"HSISR_RUNS": str(runs), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def states(runs: list[PlannedRun]) -> list[str]:
    return [run_state(run).state for run in runs]


@pytest.mark.slow
@needs_proc
def test_two_workers_one_killed(tmp_path: Path) -> None:
    """kill -9 in the middle of a run: the other worker resumes it from its checkpoint; nothing is unlocked by hand."""
    settings = {"steps": 40, "checkpoint_every": 5, "evaluate_every": None}
    text = "[{product: {seed: [1, 2, 3, 4]}}]"
    runs = small_plan(tmp_path, text, **settings)
    process = command(str(tmp_path / "plan.yaml"), tmp_path / "runs", "--jobs", "2")
    wait_for(lambda: len(list(tmp_path.glob("runs/*/checkpoint/step-*"))) >= 2, process)
    os.kill(children(process.pid)[0], signal.SIGKILL)
    out, log = process.communicate()
    assert process.returncode == 0, log
    assert "4 runs: 4 done" in out
    assert states(runs) == ["done"] * 4
    assert "was killed by SIGKILL" in log
    starts = [line for line in log.splitlines() if ": started of" in line or ": resumed at" in line]
    assert len(starts) <= 5, "no run was started twice but the one that was interrupted"
    again = command(str(tmp_path / "plan.yaml"), tmp_path / "runs")
    out, log = again.communicate()
    assert again.returncode == 0
    assert "started" not in log


@pytest.mark.slow
@needs_proc
def test_a_killed_command_takes_its_workers_along(tmp_path: Path) -> None:
    runs = small_plan(tmp_path, "[{seed: 1}]", steps=100_000, checkpoint_every=5)
    process = command(str(tmp_path / "plan.yaml"), tmp_path / "runs")
    wait_for(lambda: list(tmp_path.glob("runs/*/checkpoint/step-*")), process)
    assert states(runs) == ["running"]
    (worker,) = children(process.pid)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
    while states(runs) == ["running"] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert states(runs) == ["unfinished"]
    assert not Path(f"/proc/{worker}/cwd").exists()


@pytest.mark.slow
@needs_proc
def test_a_run_that_kills_its_workers_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    runs = small_plan(tmp_path, "[{seed: 1, steps: 100000}, {seed: 2}]", checkpoint_every=5)
    process = command(str(tmp_path / "plan.yaml"), tmp_path / "runs")
    for _ in range(2):
        wait_for(lambda: states(runs)[0] == "running" and children(process.pid), process)
        (worker,) = children(process.pid)
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda worker=worker: worker not in children(process.pid), process)  # type: ignore[misc]
    out, log = process.communicate()
    assert process.returncode == 1, log
    assert states(runs) == ["failed", "done"]
    assert "killed twice, perhaps for lack of memory" in run_state(runs[0]).error
    assert "2 runs: 1 done, 1 failed" in out


def test_nothing_to_do_starts_no_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = small_plan(tmp_path, "[{product: {seed: [1, 2]}}]")
    for run in runs:
        finish(run)
    monkeypatch.setattr("subprocess.Popen", None)
    carry_out(runs, jobs=2)
    assert capsys.readouterr().err == "2 of 2 runs were done before\n"


def test_two_that_start_one_run_are_shown_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One of them finds the lock taken; the run of the other goes on."""
    (run,) = small_plan(tmp_path, "[{seed: 1}]")
    first, second = (Worker(subprocess.Popen(["true"])) for _ in range(2))
    team = Team([run], 2, 0.0, Lines(1, 0), Counter(), set(), [first, second])
    for worker, event in (
        (first, "start"),
        (second, "start"),
        (second, "locked"),
        (first, "done"),
        (second, "done"),
    ):
        team.note(worker, {"event": event, "run": 0})
        if event == "locked":
            assert first.run == 0
            assert second.run is None
    for worker in (first, second):
        worker.process.wait()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[1].split()[0].strip(",") for line in lines] == ["started", "done"]
    team.note(first, {"event": "locked", "run": 0})
    assert "another process has it" in capsys.readouterr().err


def test_an_exit_code_in_words() -> None:
    assert ending(-9) == "was killed by SIGKILL"
    assert ending(1) == "ended with code 1"
