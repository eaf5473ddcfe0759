"""The figures of chapter 11, on the numbers of the paper's Table V."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hsisr_core.plots.style import COLOURS, check_some, panel_grid, styled_figure

__all__ = ["margin_panels", "rank_maps"]

AHEAD, BEHIND = COLOURS[0], COLOURS[1]


@styled_figure
def margin_panels(margins: pd.DataFrame, rivals: pd.DataFrame) -> Figure:
    """How far one method is ahead of the best other one: a panel per metric, a line per dataset and scale.

    Parameters
    ----------
    margins : DataFrame
        A row per (dataset, scale), a column per metric, whose name carries the unit; positive is ahead.
    rivals : DataFrame
        The same rows and columns: name of the best other method, written at the bar.

    Raises
    ------
    HsisrError
        No row.
    """
    check_some(margins, "margins")
    figure, axes = panel_grid(margins.shape[1], margins.shape[1], 0.26 * len(margins) + 0.7, sharey=True)
    places = np.arange(len(margins))
    for panel, (name, values) in zip(axes, margins.items(), strict=True):
        colours = np.where(values >= 0, AHEAD, BEHIND)
        panel.barh(places, values, color=colours, height=0.65)
        for place, value, rival in zip(places, values, rivals[name], strict=True):
            shift, side = (3, "left") if value >= 0 else (-3, "right")
            panel.annotate(
                rival,
                (value, place),
                (shift, 0),
                textcoords="offset points",
                ha=side,
                va="center",
                fontsize=7,
            )
        panel.axvline(0, color="black", linewidth=0.8)
        panel.grid(visible=False, axis="y")
        low, high = min(values.min(), 0), max(values.max(), 0)
        room = 0.6 * (high - low)  # for the names
        panel.set_xlim(low - room * bool(low), high + room * bool(high))
        panel.set_xlabel(str(name))
    axes[0].set_yticks(places, cell_names(margins.index))
    axes[0].invert_yaxis()
    return figure


@styled_figure
def rank_maps(ranks: Mapping[str, pd.DataFrame]) -> Figure:
    """Ranks of methods, 1 the best: a map per metric, a line per dataset and scale, a column per method.

    Parameters
    ----------
    ranks : mapping of title to DataFrame
        A row per (dataset, scale), a column per method; the same rows and columns in all.

    Raises
    ------
    HsisrError
        No map.
    """
    check_some(ranks, "ranks")
    first = next(iter(ranks.values()))
    figure, axes = panel_grid(len(ranks), len(ranks), 0.27 * len(first) + 0.6, sharey=True)
    for panel, (title, table) in zip(axes, ranks.items(), strict=True):
        panel.imshow(table, cmap="cividis_r", vmin=1, vmax=table.shape[1], aspect="auto")
        for (row, column), rank in np.ndenumerate(table.to_numpy()):
            shade = "black" if rank <= (1 + table.shape[1]) / 2 else "white"
            panel.text(column, row, f"{rank:.0f}", ha="center", va="center", color=shade)
        panel.set_xticks(range(table.shape[1]), table.columns)
        panel.grid(visible=False)
        panel.set_title(title)
    axes[0].set_yticks(range(len(first)), cell_names(first.index))
    return figure


def cell_names(cells: pd.Index) -> Sequence[str]:
    return [f"{dataset} x{scale}" for dataset, scale in cells]
