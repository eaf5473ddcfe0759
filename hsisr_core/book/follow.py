"""The training curves of a plan in a chapter, drawn again while they grow."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure

from hsisr_core.plots import curves
from hsisr_core.runs.plan import PlannedRun
from hsisr_core.runs.status import run_state

__all__ = ["follow", "histories"]

SHOWN = 6  # curves; there are no more colours to tell them apart


def histories(runs: Sequence[PlannedRun]) -> dict[str, pd.DataFrame]:
    """The training curves of the six runs that grew last, by their labels (columns: see `Run.history`)."""
    begun = {run.label: run.folder / "history.csv" for run in runs}
    begun = {label: path for label, path in begun.items() if path.is_file()}
    last = sorted(begun, key=lambda label: begun[label].stat().st_mtime, reverse=True)[:SHOWN]
    tables = {label: pd.read_csv(path, on_bad_lines="skip") for label, path in begun.items() if label in last}
    return {label: table for label, table in tables.items() if table.get("loss", pd.Series()).notna().any()}


def follow(runs: Sequence[PlannedRun], seconds: float = 0, every: float = 2.0) -> Figure | str | None:
    """Plot the curves of those `runs` that grew last, six at most, again and again while they grow.

    Parameters
    ----------
    runs : sequence of PlannedRun
    seconds : float
        How long to follow at most. It ends earlier when no run has been in work at two looks in a row (between
        two runs of a worker there is a gap). 0: plot once.
    every : float
        Seconds between two looks.

    Returns
    -------
    matplotlib.figure.Figure, str or None
        The picture, or a sentence when no run has begun. None when it was followed: it is on display then.
    """

    def picture() -> Figure | str:
        tables = histories(runs)
        return curves(tables) if tables else f"None of the {len(runs)} runs has begun yet."

    if seconds <= 0:
        return picture()
    handle = display(picture(), display_id=True)
    until = time.monotonic() + seconds
    idle = 0
    while time.monotonic() < until:
        idle = 0 if any(run_state(run).state == "running" for run in runs) else idle + 1
        if idle == 2:
            break
        time.sleep(every)
        handle.update(picture())
    return None
