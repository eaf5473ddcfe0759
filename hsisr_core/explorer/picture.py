"""The picture of an explorer for viewers that run no scripts."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from hsisr_core.explorer.pack import CubeSet
from hsisr_core.plots import WIDTH, show_image, spectral_axis, styled_figure


@styled_figure
def draw_band(cubes: CubeSet, band: int) -> Figure:
    """One band of each cube, of at most four."""
    x, label = spectral_axis(cubes.wavelengths)
    names = list(cubes.cubes)
    shown = names[:3] + names[3:][-1:]  # the reference often comes last
    anchor = cubes.values(cubes.reference or cubes.fine[0])[band]
    low, high = np.nanpercentile(anchor, (2, 98)) if np.isfinite(anchor).any() else (0, 1)
    tall = WIDTH / max(len(shown), 2) * anchor.shape[0] / anchor.shape[1]
    figure = Figure(figsize=(WIDTH, tall + 0.3))
    place = f"{x[band]:.0f} nm" if label != "band" else f"band {band + 1}"
    for panel, name in zip(figure.subplots(1, len(shown), squeeze=False).flat, shown, strict=True):
        show_image(panel, cubes.values(name)[band], f"{name}, {place}", cmap="gray", vmin=low, vmax=high)
    return figure
