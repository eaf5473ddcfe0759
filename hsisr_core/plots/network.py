"""Figures about the network and its training data."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from hsisr_core.plots.colour import false_colour
from hsisr_core.plots.style import WIDTH, show_image, styled_figure


@styled_figure
def reach_maps(gradient: Any, halo: int) -> Figure:
    """|gradient| of one SR voxel, a tensor (bands, side, side): summed over bands, and over rows."""
    bands, side, _ = gradient.shape
    middle = side // 2
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 3.3))
    views = (
        (gradient.sum(dim=0), "y (LR pixels)", "summed over bands", (middle - halo, 2 * halo + 1)),
        (gradient.sum(dim=1), "band", "summed over rows", (0, bands)),
    )
    for axes, (view, down, title, (top, height)) in zip(panels, views, strict=True):
        shown = np.log10(np.maximum((view / view.max()).numpy(), 1e-9))
        image = axes.imshow(shown, vmin=-8, vmax=0, aspect="auto")
        corner, width = (middle - halo - 0.5, top - 0.5), 2 * halo + 1
        axes.add_patch(Rectangle(corner, width, height, fill=False, color="white", linewidth=1.2))
        axes.grid(visible=False)
        axes.set(xlabel="x (LR pixels)", ylabel=down, title=title)
    figure.colorbar(image, ax=panels, label="|gradient|, powers of ten of the largest")
    return figure


@styled_figure
def patch_pairs(lr: NDArray[np.float32], hr: NDArray[np.float32], wavelengths: NDArray[np.float64]) -> Figure:
    """LR patches (n, bands, p, p) above their HR patches (n, bands, r*p, r*p), in false colour."""
    figure, rows = plt.subplots(2, len(lr), figsize=(WIDTH, 2 * WIDTH / len(lr) + 0.3))
    for panels, cubes, name in ((rows[0], lr, "LR"), (rows[1], hr, "HR")):
        for axes, cube in zip(panels, cubes, strict=True):
            rgb, _ = false_colour(cube, wavelengths)
            show_image(axes, rgb, f"{name} {cube.shape[1]}×{cube.shape[2]}", interpolation="nearest")
    return figure
