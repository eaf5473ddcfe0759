"""Runs in processes of their own: nothing twice, nothing lost, failures recorded, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from small_plan import fake_train, finish, small_plan

from hsisr_core.errors import HsisrError
from hsisr_core.runs import PlannedRun, carry_out, record_failure, run_lock, run_state, work
from hsisr_core.train import train

needs_proc = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds child processes in /proc")


def states(runs: list[PlannedRun]) -> list[str]:
    return [run_state(run).state for run in runs]


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are threads of this process, which takes no seconds to start them."""
    monkeypatch.setattr(work, "worker_pool", lambda *_: ThreadPoolExecutor(1))


def test_finished_runs_are_left_alone_and_a_failed_one_does_not_stop_the_rest(
    tmp_path: Path, threads: None, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = small_plan(tmp_path, "[{seed: 1}, {patches_per_image: 1, batch: 99}, {seed: 3}]", steps=2)
    finish(runs[0])
    before = (runs[0].folder / "metrics.json").stat().st_mtime_ns
    carry_out(runs, train, jobs=1)
    assert states(runs) == ["done", "failed", "done"]
    assert (runs[0].folder / "metrics.json").stat().st_mtime_ns == before
    assert json.loads((runs[2].folder / "metrics.json").read_text())["steps"] == 2
    failure = json.loads((runs[1].folder / "failed.json").read_text())
    assert "batch=99 is larger than an epoch" in failure["error"]
    assert any("build_sampler" in line for line in failure["traceback"])
    assert failure["time"].startswith("20")
    log = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in log] == [
        "1 of 3 runs were done before",
        *[run.label for run in (runs[1], runs[1], runs[2], runs[2])],
    ]
    assert log[-1].endswith(" dB [2/3]")


def test_the_next_command_tries_a_failed_run_again(tmp_path: Path, threads: None) -> None:
    (run,) = small_plan(tmp_path, "[{seed: 1}]", steps=2)
    record_failure(run.folder, "no luck")
    carry_out([run], fake_train)
    assert states([run]) == ["done"]
    assert not (run.folder / "failed.json").exists()


def test_a_run_that_another_process_has_comes_last(tmp_path: Path, threads: None) -> None:
    """Its lock is gone by then, as it is when the process died: it is carried out here."""
    runs = small_plan(tmp_path, "[{product: {seed: [1, 2, 3]}}]", steps=1)
    runs[0].folder.mkdir(parents=True)
    other = run_lock(runs[0].folder)
    other.__enter__()
    order: list[int] = []

    def train_and_unlock(config: Any, *arguments: Any, **options: Any) -> None:
        fake_train(config, *arguments, **options)
        order.append(config.seed)
        if config.seed == 3:
            other.__exit__(None, None, None)

    carry_out(runs, train_and_unlock, jobs=1)
    assert order == [2, 3, 1]


def test_a_run_that_stays_locked_is_left(tmp_path: Path, threads: None) -> None:
    runs = small_plan(tmp_path, "[{product: {seed: [1, 2]}}]", steps=1)
    runs[0].folder.mkdir(parents=True)
    with run_lock(runs[0].folder):
        carry_out(runs, fake_train)
        assert states(runs) == ["running", "done"]


def test_a_lock_taken_between_look_and_start_is_not_a_failure(
    tmp_path: Path, threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = small_plan(tmp_path, "[{seed: 1}]", steps=1)
    run.folder.mkdir(parents=True)
    monkeypatch.setattr(work, "is_locked", lambda folder: False)
    with run_lock(run.folder):
        carry_out([run], train)
    assert states([run]) == ["missing"]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RuntimeError("out of\nmemory"), "RuntimeError: out of memory"),
        (MemoryError("too much"), "MemoryError: too much"),
        (HsisrError("disk full"), "disk full"),
    ],
)
def test_any_error_is_recorded_in_one_line(
    tmp_path: Path, threads: None, error: Exception, text: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    runs = small_plan(tmp_path, "[{seed: 1}]")
    carry_out(runs, fail)
    assert run_state(runs[0]).error == text


def test_nothing_to_do_starts_no_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = small_plan(tmp_path, "[{product: {seed: [1, 2]}}]")
    for run in runs:
        finish(run)
    monkeypatch.setattr(work, "worker_pool", None)
    carry_out(runs, fake_train, jobs=2)
    assert capsys.readouterr().err == "2 of 2 runs were done before\n"


@pytest.mark.slow
def test_a_run_that_kills_its_workers_is_recorded_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = small_plan(tmp_path, "[{seed: 1}, {seed: 9}, {seed: 3}]")
    carry_out(runs, fake_train, jobs=2)
    assert states(runs) == ["done", "failed", "done"]
    assert "killed twice, perhaps for lack of memory" in run_state(runs[1]).error
    assert capsys.readouterr().err.count("interrupted: its worker was killed") == 1


@pytest.mark.slow
def test_each_worker_has_its_share_of_the_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr("hsisr_core.base.processes.cores", lambda: 6)
    runs = small_plan(tmp_path, "[{product: {seed: [1, 2]}}]")
    carry_out(runs, fake_train, jobs=2)
    assert [json.loads((run.folder / "metrics.json").read_text())["threads"] for run in runs] == ["3", "3"]
    assert "OMP_NUM_THREADS" not in os.environ


def command(plan: str, runs: Path, *options: str) -> subprocess.Popen[str]:
    """`hsisr runs` in the background."""
    return subprocess.Popen(
        [sys.executable, "-m", "hsisr_core", "runs", plan, *options],
        env=os.environ | {"HSISR_RUNS": str(runs), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def workers(pid: int) -> list[int]:
    """The worker processes that `pid` started."""
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in pids if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.slow
@needs_proc
def test_two_workers_one_killed(tmp_path: Path) -> None:
    """kill -9 in the middle of a run: it is resumed from its checkpoint; nothing is unlocked by hand."""
    settings = {"steps": 40, "checkpoint_every": 5, "evaluate_every": None}
    runs = small_plan(tmp_path, "[{product: {seed: [1, 2, 3, 4]}}]", **settings)
    process = command(str(tmp_path / "plan.yaml"), tmp_path / "runs", "--jobs", "2")
    wait_for(lambda: len(list(tmp_path.glob("runs/*/checkpoint/step-*"))) >= 2, process)
    os.kill(workers(process.pid)[0], signal.SIGKILL)
    out, log = process.communicate()
    assert process.returncode == 0, log
    assert "4 runs: 4 done" in out
    assert states(runs) == ["done"] * 4
    starts = [line for line in log.splitlines() if ": started of" in line or ": resumed at" in line]
    assert len(starts) == 4 + log.count("its worker was killed")
    again = command(str(tmp_path / "plan.yaml"), tmp_path / "runs")
    out, log = again.communicate()
    assert again.returncode == 0
    assert "started" not in log


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_command_that_ends_takes_its_workers_along(tmp_path: Path, number: signal.Signals) -> None:
    runs = small_plan(tmp_path, "[{product: {seed: [1, 2]}}]", steps=100_000, checkpoint_every=5)
    process = command(str(tmp_path / "plan.yaml"), tmp_path / "runs", "--jobs", "2")
    wait_for(lambda: all([*run.folder.glob("checkpoint/step-*.safetensors")] for run in runs), process)
    wait_for(lambda: states(runs) == ["running"] * 2, process)
    found = workers(process.pid)
    assert len(found) == 2
    if number == signal.SIGINT:
        # as a terminal does: to the workers too
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, log = process.communicate(timeout=20)
    assert process.returncode == (-9 if number == signal.SIGKILL else 130)
    assert "Traceback" not in log
    deadline = time.monotonic() + 20
    while states(runs) != ["unfinished"] * 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert states(runs) == ["unfinished"] * 2
    assert not any(Path(f"/proc/{worker}/cwd").exists() for worker in found)
