"""Time and peak memory of one piece of work in a process of its own, each way in turns.

A process that measures imports everything, prepares its input, warms up on a small one, and then does the work. Its
memory is the peak while working minus what it held before, so neither PyTorch nor the input is counted.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hsisr_core.runs import peak_bytes, reset_peak

__all__ = ["OURS", "PLAIN", "Measured", "Settings", "Way", "compare", "ratio"]

ROOT = Path(__file__).resolve().parent.parent
# Ends by itself when the process that started it has ended.
SPIN = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"


@dataclass(frozen=True)
class Settings:
    """How everything is measured."""

    quick: bool
    rounds: int
    folder: (
        Path  # of what was measured, a folder a process: those that are there already are not measured again
    )

    def side(self, pixels: int) -> int:
        """HR pixels a side of a cube: an eighth in a quick run."""
        return pixels // 8 if self.quick else pixels

    @property
    def features(self) -> int:
        return 8 if self.quick else 64


@dataclass(frozen=True)
class Way:
    """A way of doing a piece of work: by which code, with how many threads, beside a process that needs a core?"""

    code: str
    threads: int | None = None  # None: as many as the code takes by itself
    busy: bool = False


OURS, PLAIN = Way("ours"), Way("plain")


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


def compare(
    settings: Settings,
    work: str,
    options: Mapping[str, Any],
    ways: Sequence[Way] = (OURS, PLAIN),
    repeats: int = 1,
    rounds: int | None = None,
) -> dict[Way, Measured]:
    """Do `work` (a key of `WORK`) in each way, in `rounds` new processes, in turns: what slows one slows all."""
    found: dict[Way, list[Measured]] = {way: [] for way in ways}
    for turn in range(rounds or settings.rounds):
        for way in ways:
            task = {"work": work, "options": dict(options), "repeats": repeats, **asdict(way)}
            found[way].append(_measure(settings.folder, task, turn))
    return {
        way: Measured(
            [seconds for item in items for seconds in item.seconds],
            max(item.bytes for item in items),
            max(item.total_bytes for item in items),
            items[0].output,
        )
        for way, items in found.items()
    }


def _measure(folder: Path, task: Mapping[str, Any], turn: int) -> Measured:
    """Carry out `task` in a new process, or read what that found before; RuntimeError with its message if it failed."""
    place = folder / hashlib.sha256(json.dumps([task, turn], sort_keys=True).encode()).hexdigest()[:16]
    if not (place / "result.json").is_file():
        place.mkdir(exist_ok=True)
        # As a user would: ours loads hsisr_core first, which may set up the threads; the others load PyTorch.
        first = "hsisr_core" if task["code"].startswith("ours") else "torch"
        program = f"import {first}; from benchmarks.measure import main; main()"
        command = [sys.executable, "-c", program, json.dumps({**task, "folder": str(place)})]
        threads = {"OMP_NUM_THREADS": str(task["threads"])} if task["threads"] else {}
        with keep_a_core_busy() if task["busy"] else nullcontext():
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ | threads
            )
        if done.returncode:
            raise RuntimeError(f"{task} failed with {done.returncode}: {done.stderr[-2000:]}")
    result = json.loads((place / "result.json").read_text())
    return Measured(output=np.load(place / "output.npy"), **result)


@contextmanager
def keep_a_core_busy() -> Iterator[None]:
    """A process that does nothing but need a core, for as long as the block lasts."""
    with subprocess.Popen([sys.executable, "-c", SPIN]) as process:
        try:
            yield
        finally:
            process.kill()


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
    from benchmarks.work import WORK

    task = json.loads(sys.argv[1])
    run, warm_up = WORK[task["work"]](task["code"], **task["options"])
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
