"""Carry out the runs of a plan in processes of their own, and record what failed.

A run is taken by one process at a time, whichever command started it, through the lock in its folder. Each worker is
a pool of one process, so that a worker's death breaks no other worker and names the run that it was at.
"""

from __future__ import annotations

import traceback
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path

import torch

from hsisr_core.base import cores, to_stderr, worker_pool
from hsisr_core.data import load_dataset
from hsisr_core.errors import HsisrError, RunLockedError
from hsisr_core.runs.config import RunConfig
from hsisr_core.runs.folder import is_locked, reset_peak
from hsisr_core.runs.plan import PlannedRun
from hsisr_core.runs.status import record_failure, run_state

# called as train(config, runs, dataset, progress=False, wait=False), in another process: a function of a module
Train = Callable[..., object]

# what a worker answers when another process has the run
LOCKED = "another process has it"


def carry_out(runs: Sequence[PlannedRun], train: Train, jobs: int | None = None) -> None:
    """Work through `runs`, with `jobs` at once (None: as many as cores, one with a GPU); their folders say what came.

    Runs that another process has are tried again after the others. A run whose worker was killed is resumed by a new
    one; when that one dies too, the run is recorded as failed.
    """
    left = [run for run in runs if run_state(run).state != "done"]
    if jobs is None:
        jobs = 1 if torch.cuda.is_available() else cores()
    report = _Report(len(runs), len(runs) - len(left))
    while left:
        locked = _work_through(left, train, min(jobs, len(left)), report)
        if len(locked) == len(left):
            return
        left = locked


def _work_through(runs: Sequence[PlannedRun], train: Train, jobs: int, report: _Report) -> list[PlannedRun]:
    """Try each of `runs` with `jobs` workers; returns those that another process has."""
    queue = deque(runs)
    locked: list[PlannedRun] = []
    deaths: Counter[Path] = Counter()
    at_work: dict[Future[str | None], tuple[PlannedRun, ProcessPoolExecutor]] = {}

    def start_next(pool: ProcessPoolExecutor) -> None:
        while queue:
            run = queue.popleft()
            if is_locked(run.folder):
                report.end(run, LOCKED)
                locked.append(run)
            else:
                report.start(run)
                at_work[pool.submit(_attempt, train, run.config, run.folder.absolute())] = run, pool
                return

    with ExitStack() as workers:
        for _ in range(jobs):
            start_next(workers.enter_context(worker_pool(1, jobs)))
        while at_work:
            done, _ = wait(at_work, return_when=FIRST_COMPLETED)
            for future in done:
                run, pool = at_work.pop(future)
                try:
                    problem = future.result()
                except BrokenProcessPool:
                    pool = workers.enter_context(worker_pool(1, jobs))
                    deaths[run.folder] += 1
                    problem = "interrupted: its worker was killed"
                    if deaths[run.folder] == 1:
                        queue.appendleft(run)
                    else:
                        text = "its worker was killed twice, perhaps for lack of memory"
                        problem = f"failed: {record_failure(run.folder, text)}"
                if problem == LOCKED:
                    locked.append(run)
                report.end(run, problem)
                start_next(pool)
    return locked


# A worker opens the data of its runs once.
_load_dataset = lru_cache(load_dataset)


def _attempt(train: Train, config: RunConfig, folder: Path) -> str | None:
    """In a worker: carry out one run. Returns what went wrong, after it has been recorded."""
    try:
        (folder / "failed.json").unlink(missing_ok=True)
        reset_peak()
        dataset = _load_dataset(config.data, config.split, **config.reading)
        train(config, folder.parent, dataset, progress=False, wait=False)
    except RunLockedError:
        return LOCKED
    except Exception as error:  # whatever it is, the other runs go on
        text = " ".join(str(error).split())
        text = text if isinstance(error, HsisrError) else f"{type(error).__name__}: {text}"
        return f"failed: {record_failure(folder, text, traceback.format_exc().splitlines())}"
    return None


class _Report:
    """A line on stderr for each run that starts or ends."""

    def __init__(self, total: int, done: int) -> None:
        self.total, self.done = total, done
        if done:
            to_stderr(f"{done} of {total} runs were done before")

    def start(self, run: PlannedRun) -> None:
        step = run_state(run).step
        to_stderr(f"{run.label}: {f'resumed at step {step:,}' if step else 'started'} of {run.steps:,} steps")

    def end(self, run: PlannedRun, problem: str | None) -> None:
        if problem is None:
            self.done += 1
            state = run_state(run)
            psnr = f", PSNR {state.psnr:.2f} dB" if state.psnr is not None else ""
            problem = f"done, {state.seconds or 0:.0f} s{psnr}"
        to_stderr(f"{run.label}: {problem} [{self.done}/{self.total}]")
