"""How far the runs of a plan are and why one failed, read from their folders: nothing else keeps count."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hsisr_core.base import read_json, write_json
from hsisr_core.errors import HsisrError
from hsisr_core.runs.folder import Run, is_locked, read_history
from hsisr_core.runs.plan import PlannedRun

STATES = ("done", "running", "failed", "unfinished", "missing")


@dataclass(frozen=True)
class RunState:
    """How far one run is: steps and training time so far; of one that is done, mean PSNR (dB) over the test images."""

    # one of STATES; "running": a process holds its lock; "unfinished": it has a checkpoint to resume from
    state: str
    # taken (after a stop: in the last checkpoint), and of the whole training
    step: int
    steps: int
    seconds: float | None = None
    psnr: float | None = None
    error: str = ""


def run_state(run: PlannedRun) -> RunState:
    """Read the state of one run from its folder."""
    planned = Run(run.folder, run.config, run.dataset.fingerprint)
    if planned.finished:
        metrics = planned.metrics
        psnr = metrics["mean"][run.config.method]["psnr"]
        return RunState("done", metrics["steps"], metrics["steps"], metrics["seconds"], psnr)
    step, seconds = last_row(run.folder / "history.csv")
    if is_locked(run.folder):
        return RunState("running", step, run.steps, seconds)
    files = (run.folder / "checkpoint").glob("step-*.safetensors")
    saved = max((int(name) for file in files if (name := file.stem[5:]).isdecimal()), default=0)
    with suppress(HsisrError, KeyError):
        error = str(read_json(run.folder / "failed.json")["error"])
        return RunState("failed", saved, run.steps, seconds, error=error)
    return RunState("unfinished" if saved else "missing", saved, run.steps, seconds)


def record_failure(folder: Path, error: str, traceback: Sequence[str] = ()) -> str:
    """Write ``failed.json`` to a run folder, and return `error`, longer when that was not possible."""
    record = {"error": error, "traceback": list(traceback), "time": datetime.now(UTC).isoformat()}
    try:
        write_json(folder / "failed.json", record)
    except (HsisrError, OSError) as problem:
        return f"{error} (not recorded: {problem})"
    return error


def last_row(history: Path) -> tuple[int, float | None]:
    """Step and training seconds in the last whole line of a history.csv; (0, None) when there is none."""
    try:
        # a line that is being written has no seconds yet
        row = read_history(history).dropna(subset="seconds").iloc[-1]
    except (HsisrError, IndexError):
        return 0, None
    return int(row["step"]), float(row["seconds"])
