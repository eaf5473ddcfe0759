"""The figures of the chapters on the paper's Tables I to IV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hsisr_core.errors import HsisrError
from hsisr_core.plots.style import COLOURS, DASHES, WIDTH, panel_grid, styled_figure

__all__ = [
    "convergence",
    "cost_panels",
    "forest",
    "gain_panels",
    "method_curves",
    "rows_beside",
    "size_and_quality",
]

PAPER, OURS = COLOURS[1], COLOURS[0]


@styled_figure
def convergence(histories: Mapping[str, Sequence[pd.DataFrame]], bicubic_psnr: float) -> Figure:
    """Test PSNR against the step, a line per setting: the mean over its runs, and their range (the paper's Fig. 7).

    Left all steps, right the second half, enlarged.

    Parameters
    ----------
    histories : mapping of label to sequence of DataFrame
        ``step`` and ``psnr`` (dB) of each run of a setting; the runs of one setting measure at the same steps.
    bicubic_psnr : float
        Of the same test data (dB), a line to beat.

    Raises
    ------
    HsisrError
        No setting has a run whose PSNR was measured while it trained.
    """
    curves = {}
    for label, runs in histories.items():
        measured = [run.dropna(subset="psnr").set_index("step")["psnr"] for run in runs]
        if any(len(curve) for curve in measured):
            curves[label] = pd.concat(measured, axis=1)
    if not curves:
        raise HsisrError("No run has a PSNR measured while it trained: set evaluate_every in the preset.")
    last = max(curve.index.max() for curve in curves.values())
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.9), width_ratios=(1, 1))
    for panel, first in ((left, 0.0), (right, last / 2)):
        for (label, curve), colour, dash in zip(curves.items(), cycle(COLOURS), cycle(DASHES), strict=False):
            shown = curve[curve.index >= first]
            steps, mean = shown.index.to_numpy(), shown.mean(axis=1)
            panel.plot(steps, mean, color=colour, linestyle=dash, marker=".", label=label)
            panel.fill_between(
                steps, shown.min(axis=1), shown.max(axis=1), color=colour, alpha=0.15, linewidth=0
            )
        panel.axhline(bicubic_psnr, color="black", linewidth=0.9, label=f"bicubic, {bicubic_psnr:.2f} dB")
        panel.set_xlabel("step")
    left.set_ylabel("PSNR on test data (dB)")
    right.set_title("second half")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 5))
    return figure


@styled_figure
def rows_beside(table: pd.DataFrame, seeds: pd.DataFrame) -> Figure:
    """Difference of each row's PSNR to the baseline row: the paper's, and ours with every seed as a dot.

    Parameters
    ----------
    table : DataFrame
        From `compare_rows`.
    seeds : DataFrame
        From `paired`.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 0.4 * len(table) + 1.0), sharey=True)
    places = np.arange(len(table))
    left.plot(table["paper_difference"], places, "D", color=PAPER, markersize=5)
    left.set_title("paper, CAVE x2")
    for place, label in zip(places, table.index, strict=True):
        values = seeds[label].dropna()
        right.plot(values, [place] * len(values), "o", color=OURS, alpha=0.4, markersize=4)
        right.plot(values.mean(), place, "|", color=OURS, markersize=14, markeredgewidth=2)
    right.set_title("ours: dots are seeds, bars their mean")
    for panel in (left, right):
        panel.axvline(0, color="black", linewidth=0.8)
        panel.set_xlabel(f"PSNR minus that of {table.attrs['baseline']} (dB)")
    left.set_yticks(places, table.index)
    left.set_ylim(len(table) - 0.5, -0.5)
    return figure


@styled_figure
def size_and_quality(paper: Mapping[str, tuple[float, float]], table: pd.DataFrame) -> Figure:
    """PSNR against the number of parameters: the paper's rows at its width, and ours.

    Parameters
    ----------
    paper : mapping of row label to (parameters, PSNR in dB)
    table : DataFrame
        From `compare_rows`.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.7))
    sizes, qualities = zip(*paper.values(), strict=True)
    left.plot(sizes, qualities, "D--", color=PAPER, markersize=5)
    name_points(left, paper)
    left.set(title="paper, CAVE x2", ylabel="PSNR (dB)")
    ours = table.dropna(subset="psnr")
    right.errorbar(
        ours["parameters"],
        ours["psnr"],
        ours["spread"].fillna(0),
        fmt="o--",
        color=OURS,
        capsize=3,
        markersize=4,
    )
    name_points(
        right,
        {
            str(label): (size, psnr)
            for label, size, psnr in zip(ours.index, ours["parameters"], ours["psnr"], strict=True)
        },
    )
    right.set_title("ours: mean and standard deviation over seeds")
    for panel in (left, right):
        panel.set_xlabel("parameters (thousands)")
        panel.margins(x=0.15, y=0.2)
        panel.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:,.0f}")
    return figure


def name_points(axes: Axes, points: Mapping[str, tuple[float, float]]) -> None:
    for label, place in points.items():
        axes.annotate(label, place, xytext=(5, 5), textcoords="offset points", fontsize=8)


@styled_figure
def gain_panels(table: pd.DataFrame) -> Figure:
    """PSNR over bicubic of each method against the scale, a panel per dataset: ours, and the paper's.

    Parameters
    ----------
    table : DataFrame
        From `compare_methods`.
    """
    sides = {"ours": table["over_bicubic"], "paper": table["paper_over_bicubic"]}
    panels = [
        (f"{side}, {data}", gains.loc[[data]].dropna())
        for side, gains in sides.items()
        for data in table.index.unique("data")
        if gains.loc[data].notna().any()
    ]
    methods = [name for name in table.index.unique("method") if name != "bicubic"]
    figure, axes = panel_grid(len(panels), 4, 2.6)
    for panel, (title, gains) in zip(axes, panels, strict=True):
        for method, style in method_styles(methods).items():
            if method in gains.index.unique("method"):
                values = gains.xs(method, level="method").droplevel("data")
                panel.plot(values.index, values, **style, markersize=4, label=method)
        panel.axhline(0, color="black", linewidth=0.8)
        panel.set(title=title, xlim=(1.8, 4.2), xticks=(2, 3, 4), xticklabels=("x2", "x3", "x4"))
    axes[0].set_ylabel("PSNR over bicubic (dB)")
    return with_legend(figure)


@styled_figure
def method_curves(histories: Mapping[str, Mapping[str, Sequence[pd.DataFrame]]]) -> Figure:
    """PSNR over bicubic against the step, a panel per scale and a line per method: the mean over its runs.

    Parameters
    ----------
    histories : mapping of panel title to mapping of method to sequence of DataFrame
        ``step`` and ``over_bicubic`` (dB), NaN where it was not measured.

    Raises
    ------
    HsisrError
        No run has a PSNR measured while it trained.
    """
    methods = list(dict.fromkeys(method for panel in histories.values() for method in panel))
    styles = method_styles(methods)
    figure, axes = panel_grid(max(1, len(histories)), 3, 2.6)
    for panel, (title, lines) in zip(axes, histories.items(), strict=False):
        for method, runs in lines.items():
            measured = [run.dropna(subset="over_bicubic").set_index("step")["over_bicubic"] for run in runs]
            mean = pd.concat(measured, axis=1).mean(axis=1)
            if len(mean):
                panel.plot(mean.index, mean, **styles[method], label=method)
        panel.axhline(0, color="black", linewidth=0.8)
        panel.set(title=title, xlabel="step")
    if not any(panel.get_legend_handles_labels()[0] for panel in axes):
        raise HsisrError("No run has a PSNR measured while it trained: set evaluate_every in the preset.")
    axes[0].set_ylabel("PSNR over bicubic (dB)")
    return with_legend(figure)


def method_styles(methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour, line and mark of each method: the colours that figures with bicubic in first place give them.

    A variant ("SSRNet+", "3D-FCNN, padded") has the colour of its method, and another mark.
    """
    bases = {method: method.partition(",")[0].removesuffix("+") for method in methods}
    places = {base: place for place, base in enumerate(dict.fromkeys(bases.values()), start=1)}
    return {
        method: {
            "color": COLOURS[places[base] % len(COLOURS)],
            "linestyle": DASHES[places[base] % len(DASHES)] if method == base else (0, (1, 3)),
            "marker": "o" if method == base else "s",
            "markerfacecolor": None if method == base else "white",
        }
        for method, base in bases.items()
    }


def with_legend(figure: Figure) -> Figure:
    """One legend above all panels, each label once."""
    handles = {
        label: handle
        for panel in figure.axes
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=min(len(handles), 6))
    return figure


@styled_figure
def cost_panels(costs: pd.DataFrame) -> Figure:
    """One panel per cost, one bar per kind of block, and the ratio of the last to the first.

    Parameters
    ----------
    costs : DataFrame
        A row per kind, a column per cost, whose name carries the unit.
    """
    figure, axes = panel_grid(costs.shape[1], 3, 1.5)
    for panel, (name, values) in zip(axes, costs.items(), strict=True):
        panel.barh(range(len(values)), values, color=COLOURS[: len(values)], height=0.6)
        panel.set_yticks(range(len(values)), values.index)
        panel.invert_yaxis()
        panel.grid(visible=False, axis="y")
        panel.set_title(f"{name}: ratio {values.iloc[-1] / values.iloc[0]:.2f}")
    return figure


@styled_figure
def forest(differences: Mapping[str, pd.DataFrame], groups: Mapping[str, pd.DataFrame]) -> Figure:
    """Differences to each table's baseline row: ours with 95 % intervals and single seeds, and the paper's.

    Parameters
    ----------
    differences : mapping of heading to DataFrame
        From `difference_table`, one for each table.
    groups : mapping of heading to DataFrame
        From `paired`, of the same tables: the seeds.

    Raises
    ------
    HsisrError
        No table.
    """
    if not differences:
        raise HsisrError("There are no differences to draw; give at least one table.")
    counts = [len(table) for table in differences.values()]
    figure, grid = plt.subplots(
        len(counts), 1, figsize=(WIDTH, 0.28 * sum(counts) + 0.6 * len(counts) + 0.5),
        squeeze=False, height_ratios=[count + 0.5 for count in counts],
    )  # fmt: skip
    for panel, (heading, table) in zip(grid[:, 0], differences.items(), strict=True):
        for place, label in enumerate(table.index):
            row, seeds = table.loc[label], groups[heading][label].dropna()
            panel.plot([row["low"], row["high"]], [place, place], color=OURS, linewidth=2)
            panel.plot(seeds, [place] * len(seeds), "o", color=OURS, alpha=0.35, markersize=4)
            panel.plot(
                row["mean"], place, "s", color=OURS, markersize=5, label="ours: mean, 95 % interval, seeds"
            )
            panel.plot(row["paper"], place, "D", color=PAPER, markersize=5, label="paper, CAVE x2, one run")
        panel.axvline(0, color="black", linewidth=0.8)
        panel.set_yticks(range(len(table)), table.index)
        panel.set_ylim(len(table) - 0.5, -0.5)
        panel.set_title(heading, loc="left")
    grid[-1, 0].set_xlabel("PSNR minus that of the baseline row (dB); each table has its own scale")
    handles = dict(zip(*grid[0, 0].get_legend_handles_labels()[::-1], strict=True))
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=2)
    return figure
