"""Figures of scenes: pictures, bands and spectra, and which parts train and test."""

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from hsisr_core.data import Dataset
from hsisr_core.plots import style
from hsisr_core.plots.colour import false_colour
from hsisr_core.plots.style import COLOURS, WIDTH, styled_figure
from hsisr_core.scenes import Scene

_VALUE = "value (full scale = 1)"


@styled_figure
def scene_gallery(
    scenes: Sequence[Scene], picture: Callable[..., tuple[NDArray[Any], str]] = false_colour
) -> Figure:
    """Pictures of scenes by `false_colour` or `true_colour`, each with its name and size (the paper's Fig. 6)."""
    columns = {1: 2, 2: 2, 3: 3, 5: 3, 6: 3}.get(len(scenes), 4)
    figure, axes = style.picture_grid([(scene.height, scene.width) for scene in scenes], columns)
    for panel, scene in zip(axes, scenes, strict=True):
        rgb, caption = picture(scene.cube, scene.wavelengths)
        title = f"{scene.name}\n{scene.bands} bands, {scene.height}×{scene.width}"
        style.show_picture(panel, rgb, title, caption)
    return figure


@styled_figure
def cube_views(scene: Scene) -> Figure:
    """A cube seen both ways: four of its bands as images, a dark, a middling and a bright pixel as spectra."""
    image_height = WIDTH / 4 * scene.height / scene.width
    figure = plt.figure(figsize=(WIDTH, image_height + 2.5))
    grid = figure.add_gridspec(2, 4, height_ratios=(image_height, 2.1))
    brightness = scene.cube.mean(axis=0)
    dark, bright = np.percentile(brightness, (1, 99))
    # nearest to 10, 50 and 90 % of the way
    targets = [dark + share * (bright - dark) for share in (0.1, 0.5, 0.9)]
    pixels = [np.unravel_index(np.abs(brightness - t).argmin(), brightness.shape) for t in targets]
    x, label = style.spectral_axis(scene.wavelengths)
    for column in range(4):
        band = round((scene.bands - 1) * (2 * column + 1) / 8)
        at = f", {x[band]:.0f} nm" if scene.wavelengths_known else ""
        low, high = np.percentile(scene.cube[band], (1, 99))
        panel = figure.add_subplot(grid[0, column])
        style.show_image(panel, scene.cube[band], f"band {band + 1}{at}", cmap="gray", vmin=low, vmax=high)
        for (row, col), colour in zip(pixels, COLOURS, strict=False):
            panel.plot(col, row, "o", markersize=7, markerfacecolor="none", color=colour, markeredgewidth=1.6)
    panel = figure.add_subplot(grid[1, :])
    styles = style.line_styles(f"row {row}, column {col}" for row, col in pixels)
    for (row, col), look in zip(pixels, styles.values(), strict=True):
        panel.plot(x, scene.cube[:, row, col], marker=".", **look)
    panel.set(xlabel=label, ylabel=_VALUE)
    panel.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


@styled_figure
def band_statistics(scene: Scene) -> Figure:
    """Mean, middle half (25th to 75th percentile) and range of each band, and the correlation of neighbours."""
    x, label = style.spectral_axis(scene.wavelengths)
    pixels = scene.cube.reshape(scene.bands, -1).astype(np.float64)
    lowest, lower, upper, highest = np.percentile(pixels, (0, 25, 75, 100), axis=1)
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(WIDTH, 3.8), sharex=True, height_ratios=(3, 2))
    top.fill_between(x, lowest, highest, color="#e6e6e6", linewidth=0, label="all pixels")
    top.fill_between(x, lower, upper, color=COLOURS[0], alpha=0.3, linewidth=0, label="middle half")
    top.plot(x, pixels.mean(axis=1), ".-", color=COLOURS[0], label="mean")
    top.set(ylabel=_VALUE, title=scene.name)
    top.legend(ncols=3, loc="upper left")
    # room for the legend
    top.set_ylim(top=top.get_ylim()[1] * 1.15)
    # a constant band has no correlation: no point
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = np.diagonal(np.corrcoef(pixels), 1)
    bottom.plot((x[:-1] + x[1:]) / 2, correlation, ".-", color=COLOURS[1])
    bottom.set(xlabel=label, ylabel="correlation with\nthe next band")
    return figure


@styled_figure
def split_map(dataset: Dataset, limit: int = 8) -> Figure:
    """False-colour pictures of at most `limit` scenes, those that test first, with the regions that train and test.

    Pixels that no region uses are paled. Training regions have a solid frame, test regions a dashed one.
    """
    split = dataset.split
    names = list(dict.fromkeys(region.scene for region in (*split.test, *split.train)))
    shown = names[:limit]
    shapes = [dataset.store.shape(name)[1:] for name in shown]
    figure, axes = style.picture_grid(shapes, min(max(len(shown), 2), 4))
    sides = (("train", split.train, COLOURS[0], "-"), ("test", split.test, COLOURS[1], "--"))
    for panel, name in zip(axes, shown, strict=True):
        # one at a time: a scene can be large
        scene = dataset.store.read(name)
        rgb, caption = false_colour(scene.cube, scene.wavelengths)
        unused = np.ones((scene.height, scene.width), bool)
        for side, regions, colour, dash in sides:
            for region in (item for item in regions if item.scene == name):
                (top, bottom), (left, right) = region.bounds(scene.height, scene.width)
                unused[top:bottom, left:right] = False
                # so that frames of neighbours do not cover each other
                inset = 0.012 * max(right - left, bottom - top)
                corner, width, height = (left - 0.5 + inset, top - 0.5 + inset), right - left, bottom - top
                frame = Rectangle(corner, width - 2 * inset, height - 2 * inset, fill=False, edgecolor=colour)
                frame.set(linestyle=dash, linewidth=2.2)
                panel.add_patch(frame)
                text = side if region.name == region.scene else f"{side}: {region.name}"
                label = {"boxstyle": "round,pad=0.25", "facecolor": colour, "edgecolor": "none"}
                place = left + 3 * inset, top + 3 * inset
                panel.text(*place, text, color="white", fontsize=8, va="top", bbox=label)
        rgb[unused] = 0.35 * rgb[unused] + 0.65
        style.show_picture(panel, rgb, f"{name}\n{scene.height}×{scene.width}", caption)
    if len(shown) < len(names):
        figure.suptitle(f"{len(shown)} of {len(names)} scenes", fontsize=8.5)
    return figure
