"""How far the runs of a plan are, read from their folders: nothing else keeps count."""

from __future__ import annotations

import csv
import io
import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hsisr_core.runs.config import RunConfig
from hsisr_core.runs.folder import is_locked
from hsisr_core.runs.plan import PlannedRun
from hsisr_core.runs.work import read_failure

__all__ = ["STATES", "RunState", "run_state", "step_cost", "time_left"]

STATES = ("done", "running", "failed", "unfinished", "missing")


@dataclass(frozen=True)
class RunState:
    """How far one run is.

    Attributes
    ----------
    state : {"done", "running", "failed", "unfinished", "missing"}
        "running": a process holds its lock; "unfinished": it has a checkpoint to resume from.
    step, steps : int
        Steps taken (after a stop: in the last checkpoint) and steps of the whole training.
    seconds : float or None
        Training time of the steps in its history, or of all when it is done.
    timed_steps : int
        The steps that `seconds` belongs to.
    psnr : float or None
        Mean over the test images (dB), of a run that is done.
    error : str
        Of a run that failed.
    """

    state: str
    step: int
    steps: int
    seconds: float | None = None
    timed_steps: int = 0
    psnr: float | None = None
    error: str = ""


def run_state(run: PlannedRun) -> RunState:
    """Read the state of one run from its folder."""
    metrics = read_json(run.folder / "metrics.json")
    if metrics is not None:
        scores = metrics.get("mean", {}).get(run.config.method, {})
        steps = int(metrics.get("steps", run.steps))
        return RunState("done", steps, steps, metrics.get("seconds"), steps, scores.get("psnr"))
    step, seconds = last_row(run.folder / "history.csv")
    if is_locked(run.folder):
        return RunState("running", step, run.steps, seconds, step)
    saved = last_checkpoint(run.folder / "checkpoint")
    failure = read_failure(run.folder)
    if failure is not None:
        return RunState("failed", saved, run.steps, seconds, step, error=failure["error"])
    return RunState("unfinished" if saved else "missing", saved, run.steps, seconds, step)


def time_left(runs: Sequence[PlannedRun], states: Sequence[RunState]) -> float | None:
    """Seconds of work for one worker in what is not done; None when nothing has been timed yet.

    The speed of a run is its own so far, else the median of runs in the plan whose steps cost the same,
    else that of all timed runs in proportion to the multiply-adds of a step.
    """
    timed = [
        (run, state.seconds / state.timed_steps)
        for run, state in zip(runs, states, strict=True)
        if state.seconds and state.timed_steps
    ]
    own = {run.folder: speed for run, speed in timed}
    total = 0.0
    for run, state in zip(runs, states, strict=True):
        left = state.steps - state.step
        if state.state == "done" or left <= 0:
            continue
        if run.folder not in own:
            if not timed:
                return None
            cost = step_cost(run.config, run.dataset.bands)
            ratios = [(step_cost(other.config, other.dataset.bands), speed) for other, speed in timed]
            equal = [speed for other, speed in ratios if other == cost]
            own[run.folder] = statistics.median(equal or [speed * cost / other for other, speed in ratios])
        total += left * own[run.folder]
    return total


def step_cost(config: RunConfig, bands: int) -> int:
    """Multiply-adds of the forward passes in one training step."""
    from hsisr_core.training.estimate import patch_multiply_adds

    return config.batch * patch_multiply_adds(config, bands)


def last_row(history: Path) -> tuple[int, float | None]:
    """Step and training seconds in the last whole line of a history.csv; (0, None) when there is none."""
    try:
        with history.open("rb") as file:
            header = next(csv.reader([file.readline().decode()]))
            file.seek(max(file.tell(), os.fstat(file.fileno()).st_size - 1000))
            tail = file.read().decode()
        rows = csv.reader(io.StringIO(tail[: tail.rfind("\n") + 1]))
        row = dict(zip(header, [row for row in rows if len(row) == len(header)][-1], strict=True))
        return int(row["step"]), float(row["seconds"])
    except (OSError, ValueError, KeyError, IndexError, StopIteration):
        return 0, None


def last_checkpoint(folder: Path) -> int:
    """Step of the newest checkpoint in `folder`; 0 when there is none."""
    steps = [path.stem.removeprefix("step-") for path in folder.glob("step-*.safetensors")]
    return max((int(step) for step in steps if step.isdecimal()), default=0)


def read_json(path: Path) -> dict | None:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
