"""Figures of chapter "What it costs": time and memory against size, and the roofline of an inference."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from hsisr_core.errors import HsisrError
from hsisr_core.plots.style import COLOURS, WIDTH, styled_figure
from hsisr_core.training.costs import SMALL

__all__ = ["cost_against_size", "roofline"]


@styled_figure
def cost_against_size(results: dict[str, Any]) -> Figure:
    """Seconds and peak memory against the size of the SR cube, ours and plain, both axes logarithmic."""
    if not results.get("sizes"):
        raise HsisrError("The benchmarks hold no sizes: run `python -m benchmarks` without --only.")
    table = pd.DataFrame(results["sizes"])
    table["megavoxels"] = table["bands"] * table["height"] * table["width"] / 1e6
    table["gigabytes"] = table["bytes"] / 1e9
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.8))
    panels = (("seconds", "seconds"), ("gigabytes", "peak memory (GB)"))
    for panel, (column, label) in zip(axes, panels, strict=True):
        for way, colour, marker in (("plain", COLOURS[1], "s"), ("ours", COLOURS[0], "o")):
            rows = table[table["way"] == way].sort_values("megavoxels")
            name = "plain PyTorch" if way == "plain" else "ours"
            panel.loglog(rows["megavoxels"], rows[column], color=colour, marker=marker, label=name)
        panel.set(xlabel="SR values (millions)", ylabel=label)
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
    axes[0].legend()
    return figure


@styled_figure
def roofline(results: dict[str, Any], scale: int) -> Figure:
    """Rate of each kind of operation against its operations per byte, under the roof of this machine.

    A circle's area is its share of the time; those below `SMALL` are left out. The slope is what memory allows, the
    flat part what the best convolution reaches.
    """
    parts = [part for part in results.get("stages", []) if part["scale"] == scale and part["gflop"] > 0]
    if not parts:
        raise HsisrError(
            f"The benchmarks hold no stages at x{scale}: run `python -m benchmarks` without --only."
        )
    best, bandwidth = results["best_gflops"], results["best_gb_per_s"]
    total = sum(part["seconds"] for part in results["stages"] if part["scale"] == scale)
    figure, axes = plt.subplots(figsize=(WIDTH, 3.4))
    intensity = [part["flop_per_byte"] for part in parts]
    ends = np.geomspace(min(0.5, *intensity) / 2, 4 * max(best / bandwidth, *intensity), 200)
    axes.loglog(ends, np.minimum(best, bandwidth * ends), color="black", label="limit of this machine")
    shown = [part for part in parts if part["seconds"] >= SMALL * total]
    for index, part in enumerate(shown[: len(COLOURS)]):  # slowest first; more could not be told apart
        axes.scatter(
            part["flop_per_byte"],
            part["gflops"],
            s=20 + 600 * part["seconds"] / total,
            color=COLOURS[index],
            alpha=0.8,
            label=f"{part['stage']} ({part['seconds'] / total:.0%} of the time)",
        )
    axes.set(xlabel="operations per byte moved", ylabel="GFLOP/s")
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    for handle in legend.legend_handles[1:]:
        handle.set_sizes([30])
    return figure
