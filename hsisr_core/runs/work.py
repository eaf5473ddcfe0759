"""A worker: takes the runs of a plan one by one, shares them with other workers through locks.

``python -m hsisr_core.work`` is started by `hsisr_core.runs.supervise`. It reads its order as one line of JSON
on stdin and reports as lines of JSON on stdout. It ends when stdin closes, so it never outlives the command
that started it.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hsisr_core.base.files import write_json
from hsisr_core.data import Dataset, load_dataset
from hsisr_core.errors import HsisrError, RunLockedError
from hsisr_core.runs.config import RunConfig

__all__ = ["read_failure", "record_failure", "work"]

TRACEBACK_LINES = 25
Tell = Callable[[Mapping[str, Any]], None]


def work(runs: Sequence[tuple[RunConfig, Path]], started: float, tell: Tell) -> None:
    """Carry out `runs` (settings and folder), each unless it is finished or another process has it.

    Runs that another process has are tried again after the others, until all that are left are still
    taken: a process that died has given its lock back, and its run is resumed here.

    Parameters
    ----------
    runs : sequence of (RunConfig, Path)
    started : float
        Time (seconds since 1970) of the command; a failure recorded since then is not tried again.
    tell : callable
        Gets a mapping with ``event`` ("start", "done", "failed") and ``run``, the index in `runs`.
    """
    datasets: dict[tuple[str, str | None], Dataset] = {}
    left = list(range(len(runs)))
    while left:
        locked = [index for index in left if not attempt(index, *runs[index], started, tell, datasets)]
        if len(locked) == len(left):
            return
        left = locked


def attempt(
    index: int,
    config: RunConfig,
    folder: Path,
    started: float,
    tell: Tell,
    datasets: dict[tuple[str, str | None], Dataset],
) -> bool:
    """Carry out one run, recording a failure. False when another process has it."""
    from hsisr_core.runs.folder import is_locked, reset_peak
    from hsisr_core.training.loop import train

    if (folder / "metrics.json").is_file():
        tell({"event": "done", "run": index})
        return True
    try:
        key = (config.data, config.split)
        if key not in datasets:
            datasets[key] = load_dataset(*key)
        if is_locked(folder):
            return False
        failure = read_failure(folder)
        if failure and failure["seconds_since_1970"] >= started:
            tell({"event": "failed", "run": index, "error": failure["error"]})
            return True
        (folder / "failed.json").unlink(missing_ok=True)
        tell({"event": "start", "run": index})
        reset_peak()
        train(config, folder.parent, datasets[key], progress=False, wait=False)
    except RunLockedError:
        tell({"event": "locked", "run": index})
        return False
    except Exception as error:  # whatever it is, the other runs go on
        lines = traceback.format_exc().splitlines()
        tell({"event": "failed", "run": index, "error": record_failure(folder, describe(error), lines)})
        return True
    (folder / "failed.json").unlink(missing_ok=True)
    tell({"event": "done", "run": index})
    return True


def describe(error: Exception) -> str:
    """The error in one line; its type too, unless it is one of ours."""
    text = " ".join(str(error).split())
    return text if isinstance(error, HsisrError) else f"{type(error).__name__}: {text}"


def record_failure(folder: Path, error: str, lines: Sequence[str] = ()) -> str:
    """Write ``failed.json`` to a run folder, and return `error`, longer when that was not possible."""
    now = datetime.now(UTC)
    record = {
        "error": error,
        "traceback": list(lines[-TRACEBACK_LINES:]),
        "time": now.isoformat(timespec="seconds"),
        "seconds_since_1970": now.timestamp(),
        "host": socket.gethostname(),
    }
    try:
        write_json(folder / "failed.json", record)
    except (HsisrError, OSError) as problem:
        return f"{error} (not recorded: {problem})"
    return error


def read_failure(folder: Path) -> dict[str, Any] | None:
    """What `record_failure` wrote; None when there is nothing, or it cannot be read."""
    try:
        record = json.loads((folder / "failed.json").read_bytes())
        return {
            **record,
            "error": str(record["error"]),
            "seconds_since_1970": float(record["seconds_since_1970"]),
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None  # fmt: skip


def main() -> None:
    """Read the order from stdin, work, report to stdout."""
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    sys.stdout = sys.stderr  # nothing else may get between the reports

    def tell(event: Mapping[str, Any]) -> None:
        print(json.dumps(event), file=channel, flush=True)

    order = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=end_with_stdin, daemon=True).start()
    warnings.showwarning = lambda message, *_: tell({"event": "note", "text": f"warning: {message}"})
    runs = [(RunConfig.from_mapping(item["config"]), Path(item["folder"])) for item in order["runs"]]
    try:
        work(runs, order["started"], tell)
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(130)  # the command that started this one has said why


def end_with_stdin() -> None:
    """End this process, in the middle of a step if need be, when the one that started it is gone."""
    while os.read(0, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
