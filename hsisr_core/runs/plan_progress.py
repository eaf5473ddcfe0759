"""Show the runs of a plan while workers are at them: a bar each in a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from typing import Protocol

from tqdm import tqdm

__all__ = ["Bars", "Display", "Lines", "open_display"]

QUIET = 20  # seconds without a line, after which a brief log says how far a run is
FIFTHS = 5  # a log gets a line for each fifth of a run


class Display(Protocol):
    """Shows the runs of a plan, known by their labels."""

    def start(self, label: str, steps: int, step: int) -> None: ...

    def step(self, label: str, step: int) -> None: ...

    def end(self, label: str, outcome: str, step: int | None = None) -> None: ...

    def note(self, text: str) -> None: ...

    def close(self) -> None: ...


def open_display(total: int, done: int, brief: bool = False) -> Display:
    """A display on stderr for `total` runs, `done` of which are finished: bars in a terminal, else lines.

    `brief`: lines only for what has ended, and now and then for what takes long.
    """
    return Bars(total, done) if sys.stderr.isatty() else Lines(total, done, brief)


class Bars:
    """One tqdm line per run in work, and one for the whole plan; what ended scrolls away above them."""

    def __init__(self, total: int, done: int) -> None:
        self.runs: dict[str, tqdm] = {}
        self.plan = tqdm(total=total, initial=done, desc="plan", unit="run")

    def start(self, label: str, steps: int, step: int) -> None:
        self.runs[label] = tqdm(total=steps, initial=step, desc=label, unit="step", leave=False)

    def step(self, label: str, step: int) -> None:
        if label in self.runs:
            self.runs[label].update(step - self.runs[label].n)

    def end(self, label: str, outcome: str, step: int | None = None) -> None:
        if label in self.runs:
            self.runs.pop(label).close()
        if step is not None:
            self.plan.update()
        self.note(f"{label}: {outcome}")

    def note(self, text: str) -> None:
        tqdm.write(text, file=sys.stderr)

    def close(self) -> None:
        for bar in (*self.runs.values(), self.plan):
            bar.close()


class Lines:
    """Plain lines for a log: a few for each run, or with `brief` one, and a step when nothing else is said."""

    def __init__(self, total: int, done: int, brief: bool = False) -> None:
        self.total, self.done, self.brief = total, done, brief
        self.said = time.monotonic()
        self.steps: dict[str, tuple[int, int]] = {}
        if done:
            self.note(f"{done} of {total} runs were done before")

    def start(self, label: str, steps: int, step: int) -> None:
        self.steps[label] = (steps, step)
        if self.brief and not step:
            return
        self.note(f"{label}: {f'resumed at step {step:,}' if step else 'started'} of {steps:,} steps")

    def step(self, label: str, step: int) -> None:
        if label not in self.steps:
            return
        steps, before = self.steps[label]
        due = step * FIFTHS // steps > before * FIFTHS // steps
        if self.brief:
            due = time.monotonic() - self.said > QUIET
        if due and step < steps:
            self.note(f"{label}: step {step:,} of {steps:,}")
        self.steps[label] = (steps, step)

    def end(self, label: str, outcome: str, step: int | None = None) -> None:
        self.steps.pop(label, None)
        self.done += step is not None
        self.note(f"{label}: {outcome} [{self.done}/{self.total}]")

    def note(self, text: str) -> None:
        self.said = time.monotonic()
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        pass
