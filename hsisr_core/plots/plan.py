"""The picture of a plan: what each run needs, and what needs the runs."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hsisr_core.plots.style import COLOURS, WIDTH, styled_figure

__all__ = ["plan_dag"]

SHOWN = 16  # runs; more would not be read
INPUTS, RUNS, RESULTS = (0.0, 1.9), (3.0, 7.4), (8.5, 10.0)  # left and right side of the boxes in a column


@styled_figure
def plan_dag(labels: Sequence[str], done: Sequence[bool] = ()) -> Figure:
    """The jobs of a plan as a graph: settings and code, one job a run, all results.

    Parameters
    ----------
    labels : sequence of str
        One a run, as `Plan.label` writes it.
    done : sequence of bool, optional
        Which runs are finished: drawn filled and with a tick. Default: none.
    """
    finished = [*done, *[False] * (len(labels) - len(done))]
    jobs = list(zip(labels, finished, strict=True))
    rows = [f"{label}  \N{CHECK MARK}" if ready else label for label, ready in jobs[:SHOWN]]
    fills = [COLOURS[5] if ready else "white" for _, ready in jobs[:SHOWN]]
    if len(jobs) > SHOWN:
        ready = sum(finished[SHOWN:])
        rows.append(f"and {len(jobs) - SHOWN} more, {ready} finished")
        fills.append("white")
    figure, axes = plt.subplots(figsize=(WIDTH, 0.32 * max(len(rows), 3) + 0.4))
    axes.set(xlim=(-0.05, 10.05), ylim=(len(rows) - 0.4, -0.6))
    axes.axis("off")
    middle = (len(rows) - 1) / 2
    gap = max(0.5, len(rows) / 6)
    inputs = {"settings of the run": middle - gap, "core code": middle + gap}
    for row, (label, fill) in enumerate(zip(rows, fills, strict=True)):
        for place in inputs.values():
            arrow(axes, (INPUTS[1], place), (RUNS[0], row))
        arrow(axes, (RUNS[1], row), (RESULTS[0], middle))
        box(axes, RUNS, row, label, fill)
    for label, place in inputs.items():
        box(axes, INPUTS, place, label, "#eeeeee")
    box(axes, RESULTS, middle, "all results", "#eeeeee")
    return figure


def box(axes: Axes, sides: tuple[float, float], y: float, label: str, fill: str) -> None:
    left, right = sides
    axes.add_patch(
        Rectangle(
            (left, y - 0.36),
            right - left,
            0.72,
            facecolor=fill,
            edgecolor="black",
            linewidth=0.6,
            label=label,
        )
    )
    axes.text((left + right) / 2, y, label, ha="center", va="center", fontsize=8)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "linewidth": 0.4, "color": "#777777"})
