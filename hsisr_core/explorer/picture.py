"""The picture of an explorer for viewers that run no scripts."""

from __future__ import annotations

import io
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from hsisr_core.explorer.pack import CubeSet
from hsisr_core.plots import COLOURS, DASHES, WIDTH, show_image, spectral_axis, styled_figure


def still_picture(cubes: CubeSet, band: int, pixels: list[list[int]]) -> bytes:
    """PNG of one band of each cube (at most four), and below the spectra of the first place in `pixels`."""
    file = io.BytesIO()
    _draw(cubes, band, pixels).savefig(file, format="png", dpi=100)
    return file.getvalue()


@styled_figure
def _draw(cubes: CubeSet, band: int, pixels: list[list[int]]) -> Figure:
    x, label = spectral_axis(cubes.wavelengths)
    names = list(cubes.cubes)
    shown = names[:3] + names[3:][-1:]  # the reference often comes last
    values = {name: cubes.values(name) for name in names}
    anchor = values[cubes.reference or cubes.fine[0]][band]
    low, high = np.nanpercentile(anchor, (2, 98)) if np.isfinite(anchor).any() else (0, 1)
    tall = WIDTH / max(len(shown), 2) * anchor.shape[0] / anchor.shape[1]
    figure, axes = plt.subplot_mosaic(
        [list(range(len(shown))), [-1] * len(shown)],
        figsize=(WIDTH, tall + 2.4),
        height_ratios=(tall + 0.3, 2.1),
    )
    place = f"{x[band]:.0f} nm" if label != "band" else f"band {band + 1}"
    for i, name in enumerate(shown):
        show_image(axes[i], values[name][band], f"{name}, {place}", cmap="gray", vmin=low, vmax=high)
    panel = axes[-1]
    panel.set(xlabel=label, ylabel=cubes.unit)
    colours, dashes = cycle(COLOURS), cycle(DASHES)
    for name in names if pixels else ():
        if name == cubes.reference:
            look: dict[str, Any] = {"color": "black", "linestyle": "-"}
        elif cubes.cubes[name].ratio > 1:
            look = {"color": "0.5", "linestyle": ":"}
        else:
            look = {"color": next(colours), "linestyle": next(dashes)}
        # a pixel or a box, in the cube's own pixels
        counted = zip(pixels[0], cubes.origin * 2, strict=False)
        top, left, *ends = ((at - start) // cubes.cubes[name].ratio for at, start in counted)
        bottom, right = ends or (top + 1, left + 1)
        region = values[name][:, top : max(bottom, top + 1), left : max(right, left + 1)]
        # a mean of nothing is NaN: a gap in the curve
        panel.plot(x, np.ma.masked_invalid(region).mean(axis=(1, 2)).filled(np.nan), label=name, **look)
    if pixels:
        panel.set_title(f"row {pixels[0][0]}, column {pixels[0][1]}")
        panel.legend(ncols=2)
    panel.axvline(x[band], color="0.6", linewidth=0.8, zorder=0)
    return figure
