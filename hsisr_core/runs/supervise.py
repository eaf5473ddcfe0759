"""Start workers on a plan, show how far they are, and survive their deaths."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hsisr_core.base.threads import thread_share
from hsisr_core.runs.plan import PlannedRun
from hsisr_core.runs.plan_progress import Display, open_display
from hsisr_core.runs.status import run_state
from hsisr_core.runs.work import record_failure

__all__ = ["carry_out"]

POLL = 0.5  # seconds between looks at the histories
DEATHS = 2  # a run whose worker dies this often is taken for the cause


def carry_out(runs: Sequence[PlannedRun], jobs: int = 1, brief: bool = False) -> None:
    """Work through `runs` with `jobs` worker processes; their folders say afterwards what came of it.

    Each worker gets an equal share of the cores, unless OMP_NUM_THREADS is set. A run that was in work
    when its worker died is resumed by another worker, or a new one when none is left; when that one
    dies too, the run is recorded as failed. On the way out, whatever the reason, the workers are stopped.

    Parameters
    ----------
    runs : sequence of PlannedRun
    jobs : int
        Workers at once on this machine.
    brief : bool
        Say less in a log; see `open_display`.
    """
    started = time.time()
    open_runs = [run for run in runs if run_state(run).state != "done"]
    display = open_display(len(runs), len(runs) - len(open_runs), brief)
    deaths: Counter[str] = Counter()
    ended: set[str] = set()
    try:
        while open_runs:
            before = deaths.total()
            Team(open_runs, min(jobs, len(open_runs)), started, display, deaths, ended).work()
            if deaths.total() == before:
                return
            open_runs = [run for run in open_runs if run_state(run).state in ("unfinished", "missing")]
    finally:
        display.close()


@dataclass
class Worker:
    """A worker process and the run it is at."""

    process: subprocess.Popen[bytes]
    run: int | None = None


@dataclass
class Team:
    """Workers on one list of runs, until all of them have ended."""

    runs: Sequence[PlannedRun]
    jobs: int
    started: float
    display: Display
    deaths: Counter[str]  # of workers in the middle of a run, by its label
    ended: set[str]  # labels of runs whose end was shown; the other workers find them ended, too
    workers: list[Worker] = field(default_factory=list)
    events: queue.Queue[tuple[Worker, dict[str, Any] | None]] = field(default_factory=queue.Queue)

    def work(self) -> None:
        """Work until every worker has ended."""
        self.workers = [self.start() for _ in range(self.jobs)]
        alive = len(self.workers)
        try:
            while alive:
                try:
                    worker, event = self.events.get(timeout=POLL)
                except queue.Empty:
                    self.show()
                    continue
                if event is not None:
                    self.note(worker, event)
                    continue
                alive -= 1
                if code := worker.process.wait():
                    self.bury(worker, ending(code))
        finally:
            for worker in self.workers:
                worker.process.kill()  # checkpoints are whole or not there, so nothing needs a gentler end
                worker.process.wait()

    def start(self) -> Worker:
        """Start one worker and a thread that collects its reports."""
        process = subprocess.Popen(
            [sys.executable, "-m", "hsisr_core.runs.work"],
            env=thread_share(self.jobs) | dict(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        worker = Worker(process)
        order = {
            "started": self.started,
            "runs": [{"config": run.config.to_dict(), "folder": str(run.folder.absolute())} for run in self.runs],
        }  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()  # and stays open: its end would be the worker's
        threading.Thread(target=self.collect, args=(worker,), daemon=True).start()
        return worker

    def collect(self, worker: Worker) -> None:
        assert worker.process.stdout is not None
        for line in worker.process.stdout:
            self.events.put((worker, json.loads(line)))
        self.events.put((worker, None))

    def note(self, worker: Worker, event: dict[str, Any]) -> None:
        """Take up one report of a worker."""
        if event["event"] == "note":
            self.display.note(event["text"])
            return
        run = self.runs[event["run"]]
        # two may start one run in the same moment; the lock then tells one of them that it is taken
        shared = any(other.run == event["run"] for other in self.workers if other is not worker)
        if event["event"] == "start":
            worker.run = event["run"]
            if not shared:
                self.display.start(run.label, run.steps, run_state(run).step)
            return
        worker.run = None
        if event["event"] == "locked":
            if not shared:
                self.display.end(run.label, "another process has it")
            return
        if run.label in self.ended:
            return
        self.ended.add(run.label)
        if event["event"] == "done":
            state = run_state(run)
            psnr = f", PSNR {state.psnr:.2f} dB" if state.psnr is not None else ""
            self.display.end(run.label, f"done, {state.seconds or 0:.0f} s{psnr}", state.steps)
        else:
            self.display.end(run.label, f"failed: {event['error']}")

    def bury(self, worker: Worker, how: str) -> None:
        """Note the death of a worker, and the run that it was at."""
        if worker.run is None:
            self.display.note(f"worker {worker.process.pid} {how}")
            return
        run, worker.run = self.runs[worker.run], None
        self.display.end(run.label, f"interrupted: its worker {worker.process.pid} {how}")
        self.deaths[run.label] += 1
        if self.deaths[run.label] == DEATHS:
            error = record_failure(run.folder, "its worker was killed twice, perhaps for lack of memory")
            self.ended.add(run.label)
            self.display.note(f"{run.label}: failed: {error}")

    def show(self) -> None:
        """Show the step of every run in work, from its history."""
        for index in {worker.run for worker in self.workers if worker.run is not None}:
            run = self.runs[index]
            state = run_state(run)
            if state.state == "running":
                self.display.step(run.label, state.step)


def ending(code: int) -> str:
    """What an exit code of subprocess means."""
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with code {code}"
