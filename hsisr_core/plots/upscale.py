"""Figures of the chapter on a cube of one's own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from hsisr_core.data import Scene
from hsisr_core.plots.style import panel_grid, show_image, styled_figure

__all__ = ["side_by_side"]


@styled_figure
def side_by_side(results: Mapping[str, ArrayLike], scene: Scene, band: int, side: int = 48) -> Figure:
    """One band of a cube and of what methods made of it: the middle `side` x `side` pixels of the cube.

    Parameters
    ----------
    results : mapping of method name to array of shape (bands, r*height, r*width)
    scene : Scene
        The cube that was enlarged.
    band : int
        Counted from 0.
    side : int
        Pixels of the cube; all of them if it has fewer.
    """
    images = {"the cube": scene.cube} | {name: np.asarray(cube) for name, cube in results.items()}
    figure, axes = panel_grid(len(images), 3, 3.0)
    low, high = np.percentile(scene.cube[band], (1, 99))
    for panel, (name, cube) in zip(axes, images.items(), strict=True):
        factor = cube.shape[1] // scene.height
        rows, columns = (
            slice(max(0, (length - side) // 2) * factor, min((length + side) // 2, length) * factor)
            for length in (scene.height, scene.width)
        )
        part = cube[band, rows, columns]
        title = f"{name}, {part.shape[0]} x {part.shape[1]} pixels"
        show_image(panel, part, title, cmap="gray", vmin=low, vmax=high)
    return figure
