"""Time and peak memory of one piece of work in a process of its own, ours and the plain one in turns.

A process that measures imports everything, prepares its input, warms up on a small one, and then does the work. Its
memory is the peak while working minus what it held before, so neither PyTorch nor the input is counted.
"""

from __future__ import annotations

import ctypes
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.work import WORK
from hsisr_core.runs import peak_bytes, reset_peak

__all__ = ["Measured", "compare", "measure", "ratio"]

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Measured:
    """One way of doing one piece of work."""

    seconds: list[float]  # of each repetition
    bytes: int  # most of any process, beyond what it held before
    total_bytes: int  # most of any process, everything included
    output: np.ndarray

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def measure(work: str, way: str, options: Mapping[str, Any], repeats: int = 1) -> Measured:
    """Do `work` (a key of `WORK`) `repeats` times in a new process.

    Raises
    ------
    RuntimeError
        The process failed; the message holds the end of what it printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        task = {"work": work, "way": way, "options": dict(options), "repeats": repeats, "folder": folder}
        command = [sys.executable, "-m", "benchmarks.measure", json.dumps(task)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        if done.returncode:
            raise RuntimeError(f"{work} ({way}) failed with {done.returncode}: {done.stderr[-2000:]}")
        result = json.loads((Path(folder) / "result.json").read_text())
        return Measured(output=np.load(Path(folder) / "output.npy"), **result)


def compare(
    work: str,
    options: Mapping[str, Any],
    rounds: int,
    repeats: int = 1,
    ways: Sequence[str] = ("ours", "plain"),
) -> dict[str, Measured]:
    """Each way in `rounds` new processes, in turns, so that what slows the machine slows both."""
    found: dict[str, list[Measured]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            found[way].append(measure(work, way, options, repeats))
    return {
        way: Measured(
            [seconds for item in items for seconds in item.seconds],
            max(item.bytes for item in items),
            max(item.total_bytes for item in items),
            items[0].output,
        )
        for way, items in found.items()
    }


def ratio(plain: Sequence[float], ours: Sequence[float]) -> tuple[float, float, float]:
    """Ratio of the medians, and the lowest and highest that the repetitions allow."""
    return (
        statistics.median(plain) / statistics.median(ours),
        min(plain) / max(ours),
        max(plain) / min(ours),
    )


def give_back() -> None:
    """Return freed memory to the system (glibc keeps it): else that of a warm-up would hide that of the work."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def main() -> None:
    """The measuring process: argv[1] is the task as JSON; the result is written to its folder."""
    task = json.loads(sys.argv[1])
    run, warm_up = WORK[task["work"]](task["way"], **task["options"])
    warm_up()
    gc.collect()
    give_back()
    reset_peak()
    held = peak_bytes()
    seconds = []
    for _ in range(task["repeats"]):
        output = None  # the last one is not part of the next one's memory
        started = time.perf_counter()
        output = run()
        seconds.append(time.perf_counter() - started)
    peak = peak_bytes()
    folder = Path(task["folder"])
    values = output.detach().numpy() if isinstance(output, torch.Tensor) else np.asarray(output)
    np.save(folder / "output.npy", values)
    result = {"seconds": seconds, "bytes": peak - held, "total_bytes": peak}
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
