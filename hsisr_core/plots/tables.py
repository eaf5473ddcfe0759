"""Figures of the paper's Tables I to V: its numbers, and ours beside them."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hsisr_core.degrade import SCALES
from hsisr_core.errors import HsisrError
from hsisr_core.plots import style
from hsisr_core.plots.style import COLOURS, WIDTH, styled_figure

_PAPER, _OURS = COLOURS[1], COLOURS[0]


@styled_figure
def rows_beside(table: pd.DataFrame, seeds: pd.DataFrame) -> Figure:
    """Differences of PSNR to the baseline row, from `study.compare_rows`, and each seed's, from `study.paired`."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 0.4 * len(table) + 1.0), sharey=True)
    places = np.arange(len(table))
    left.plot(table["paper_difference"], places, "D", color=_PAPER, markersize=5)
    left.set_title("paper, CAVE x2")
    for place, label in zip(places, table.index, strict=True):
        values = seeds[label].dropna()
        right.plot(values, [place] * len(values), "o", color=_OURS, alpha=0.4, markersize=4)
        right.plot(values.mean(), place, "|", color=_OURS, markersize=14, markeredgewidth=2)
    right.set_title("ours: dots are seeds, bars their mean")
    style.mark_zero(left, right, vertical=True)
    for panel in (left, right):
        panel.set_xlabel(f"PSNR minus that of {table.attrs['baseline']} (dB)")
        panel.locator_params(axis="x", nbins=5)
    left.set_yticks(places, table.index)
    left.set_ylim(len(table) - 0.5, -0.5)
    # the last label of the left panel and the first of the right one stand at the panels' edges
    figure.get_layout_engine().set(wspace=0.08)
    return figure


@styled_figure
def gain_panels(table: pd.DataFrame) -> Figure:
    """PSNR over bicubic of each method against the scale, a panel per dataset (from `study.compare_methods`)."""
    sides = {"ours": table["over_bicubic"], "paper": table["paper_over_bicubic"]}
    panels = [
        (f"{side}, {data}", gains.loc[[data]].dropna())
        for side, gains in sides.items()
        for data in table.index.unique("data")
        if gains.loc[data].notna().any()
    ]
    methods = [name for name in table.index.unique("method") if name != "bicubic"]
    figure, axes = style.panel_grid(len(panels), 4, 2.6, sharey=True)
    for panel, (title, gains) in zip(axes, panels, strict=True):
        scales = sorted({*SCALES, *gains.index.unique("scale")})
        for method, look in style.method_styles(methods).items():
            if method in gains.index.unique("method"):
                # a scale without a value is a gap in the line
                values = gains.xs(method, level="method").droplevel("data").reindex(scales)
                panel.plot(scales, values, **look, markersize=4)
        labels = [f"x{scale}" for scale in scales]
        panel.set(title=title, xlim=(1.8, scales[-1] + 0.2), xticks=scales, xticklabels=labels)
    style.mark_zero(*axes)
    axes[0].set_ylabel("PSNR over bicubic (dB)")
    style.add_legend(figure)
    return figure


@styled_figure
def method_curves(
    histories: Mapping[str, Mapping[str, Sequence[pd.DataFrame]]], against: str = "step"
) -> Figure:
    """PSNR over bicubic, in panels: the mean over the runs of a method, in a band of their range."""
    methods = list(dict.fromkeys(method for panel in histories.values() for method in panel))
    styles = style.method_styles(methods)
    figure, axes = style.panel_grid(max(1, len(histories)), 3, 2.6)
    for panel, (title, lines) in zip(axes, histories.items(), strict=False):
        for method, runs in lines.items():
            measured = [run.dropna(subset="over_bicubic").set_index("step")["over_bicubic"] for run in runs]
            curve = pd.concat(measured, axis=1)
            if len(curve):
                panel.plot(curve.index, curve.mean(axis=1), **styles[method])
                low, high, colour = curve.min(axis=1), curve.max(axis=1), styles[method]["color"]
                panel.fill_between(curve.index, low, high, color=colour, alpha=0.15, linewidth=0)
        panel.set(title=title, xlabel=against)
    if not any(panel.get_legend_handles_labels()[0] for panel in axes):
        raise HsisrError("No run has a PSNR measured while it trained: set evaluate_every in the preset.")
    style.mark_zero(*axes)
    axes[0].set_ylabel("PSNR over bicubic (dB)")
    style.add_legend(figure)
    return figure


@styled_figure
def forest(differences: Mapping[str, pd.DataFrame], groups: Mapping[str, pd.DataFrame]) -> Figure:
    """Differences to each table's baseline row, by `study.difference_table`, and single seeds, by `study.paired`."""
    counts = [len(table) for table in differences.values()]
    size = (WIDTH, 0.28 * sum(counts) + 0.6 * len(counts) + 0.5)
    ratios = [count + 0.5 for count in counts]
    figure, grid = plt.subplots(len(counts), 1, figsize=size, squeeze=False, height_ratios=ratios)
    panels = grid[:, 0]
    for panel, (heading, table) in zip(panels, differences.items(), strict=True):
        for place, label in enumerate(table.index):
            row, seeds = table.loc[label], groups[heading][label].dropna()
            panel.plot([row["low"], row["high"]], [place, place], color=_OURS, linewidth=2)
            panel.plot(seeds, [place] * len(seeds), "o", color=_OURS, alpha=0.35, markersize=4)
            mean, paper = "ours: mean, 95 % interval, seeds", "paper, CAVE x2, one run"
            panel.plot(row["mean"], place, "s", color=_OURS, markersize=5, label=mean)
            panel.plot(row["paper"], place, "D", color=_PAPER, markersize=5, label=paper)
        panel.set_yticks(range(len(table)), table.index)
        panel.set_ylim(len(table) - 0.5, -0.5)
        panel.set_title(heading, loc="left")
    style.mark_zero(*panels, vertical=True)
    panels[-1].set_xlabel("PSNR minus that of the baseline row (dB); each table has its own scale")
    style.add_legend(figure, 2)
    return figure
