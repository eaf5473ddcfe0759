"""Figures of scenes and of how they are degraded, as functions that return a closed matplotlib Figure.

The figures are as wide as a page of the book, use the Okabe-Ito colours for lines and cividis for
maps (both readable with any colour vision), and carry units. A figure is closed before it is
returned, so a notebook shows it once: as the value of its cell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from hsisr_core.degrade import make_pair
from hsisr_core.plots.colour import false_colour
from hsisr_core.plots.style import (
    COLOURS,
    WIDTH,
    check_some,
    panel_grid,
    show_image,
    spectral_axis,
    styled_figure,
)
from hsisr_core.scenes import Scene

__all__ = ["band_statistics", "border_rule", "mean_spectra", "scene_gallery"]

_CORNER = 10  # LR pixels shown by `border_rule`


@styled_figure
def scene_gallery(
    scenes: Sequence[Scene], picture: Callable[[Scene], tuple[NDArray[Any], str]] = false_colour
) -> Figure:
    """Pictures of scenes, each with its name, size and how it was coloured (the paper's Fig. 6).

    Parameters
    ----------
    scenes : sequence of Scene
    picture : callable
        `false_colour`, or `hsisr_core.plots.colour.true_colour`: a scene to an RGB image and a caption.

    Raises
    ------
    HsisrError
        No scene.
    """
    check_some(scenes, "scenes")
    columns = {1: 2, 2: 2, 3: 3, 5: 3, 6: 3}.get(len(scenes), 4)
    tallest = max(scene.height / scene.width for scene in scenes)
    figure, axes = panel_grid(len(scenes), columns, min(WIDTH / columns * tallest + 0.6, 4.0))
    for panel, scene in zip(axes, scenes, strict=True):
        rgb, caption = picture(scene)
        size = f"{scene.bands} bands, {scene.height}×{scene.width}"
        show_image(panel, rgb, f"{scene.name}\n{size}")
        panel.set_xlabel(caption, fontsize=8)
    return figure


@styled_figure
def mean_spectra(scenes: Sequence[Scene]) -> Figure:
    """Mean spectrum of each scene, a panel each, with the 5th to 95th percentile of its pixels."""
    check_some(scenes, "scenes")
    figure, axes = panel_grid(len(scenes), 2, 2.1, sharey=True)
    for panel, scene in zip(axes, scenes, strict=True):
        x, label = spectral_axis(scene.wavelengths)
        pixels = scene.cube.reshape(scene.bands, -1)
        low, high = np.percentile(pixels, (5, 95), axis=1)
        panel.fill_between(
            x, low, high, color=COLOURS[0], alpha=0.2, linewidth=0, label="5 to 95 % of pixels"
        )
        panel.plot(x, pixels.mean(axis=1, dtype=np.float64), ".-", color=COLOURS[0], label="mean")
        panel.set(title=scene.name, xlabel=label)
    for panel in axes[::2]:
        panel.set_ylabel("value (full scale = 1)")
    axes[0].legend()
    return figure


@styled_figure
def band_statistics(scene: Scene) -> Figure:
    """Mean, middle half (25th to 75th percentile) and range of each band, and how alike neighbours are.

    The correlation of neighbouring bands is what a network that convolves along the spectrum uses;
    where it drops, the sensor has a gap or noise.
    """
    x, label = spectral_axis(scene.wavelengths)
    pixels = scene.cube.reshape(scene.bands, -1).astype(np.float64)
    mean, deviation = pixels.mean(axis=1), pixels.std(axis=1)
    lowest, lower, upper, highest = np.percentile(pixels, (0, 25, 75, 100), axis=1)
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(WIDTH, 3.8), sharex=True, height_ratios=(3, 2))
    top.fill_between(x, lowest, highest, color="#e6e6e6", linewidth=0, label="all pixels")
    top.fill_between(x, lower, upper, color=COLOURS[0], alpha=0.3, linewidth=0, label="middle half")
    top.plot(x, mean, ".-", color=COLOURS[0], label="mean")
    top.set(ylabel="value (full scale = 1)", title=scene.name)
    top.legend(ncols=3, loc="upper left")
    top.set_ylim(top=top.get_ylim()[1] * 1.15)  # room for the legend
    centred = pixels - mean[:, None]
    product = deviation[:-1] * deviation[1:]
    with np.errstate(divide="ignore", invalid="ignore"):  # a constant band has no correlation: no point
        correlation = (centred[:-1] * centred[1:]).mean(axis=1) / product
    bottom.plot((x[:-1] + x[1:]) / 2, correlation, ".-", color=COLOURS[1])
    bottom.set(xlabel=label, ylabel="correlation with\nthe next band")
    return figure


@styled_figure
def border_rule(hr: ArrayLike, scale: int) -> Figure:
    """How far MATLAB's LR is from PyTorch's: both bicubic and antialiased, with different borders.

    MATLAB mirrors the image at its border; `torch.nn.functional.interpolate` cuts the filter off
    there. Left: the top left corner of LR, largest absolute difference over the bands. Right: the
    same for all pixels against their distance to the border. Inside only rounding is left.

    Parameters
    ----------
    hr : array, shape (bands, height, width)
    scale : {2, 3, 4}

    Raises
    ------
    HsisrError
        As `make_pair`.
    """
    import torch  # only here: the other figures need not wait for it

    lr, cropped = make_pair(np.asarray(hr, dtype=np.float64), scale)
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(cropped)[None], size=lr.shape[1:], mode="bicubic", antialias=True
    )
    difference = np.abs(theirs[0].numpy() - lr).max(axis=0)
    height, width = difference.shape
    rows = np.minimum(np.arange(height), np.arange(height)[::-1])
    columns = np.minimum(np.arange(width), np.arange(width)[::-1])
    distance = np.minimum(rows[:, None], columns)
    steps = np.arange(min(_CORNER, distance.max() + 1))
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.9))
    title = f"top left corner of LR ({height}×{width} pixels, ×{scale})"
    image = show_image(left, difference[:_CORNER, :_CORNER], title, vmin=0, vmax=difference.max())
    figure.colorbar(image, ax=left, shrink=0.85).set_label("absolute difference (full scale = 1)")
    # A difference of exactly 0 has no place on a logarithmic axis: draw it at double precision's limit.
    per_step = [np.maximum(difference[distance == step], np.finfo(np.float64).eps) for step in steps]
    right.plot(steps, [values.max() for values in per_step], "o-", color=COLOURS[1], label="largest")
    right.plot(steps, [values.mean() for values in per_step], "s--", color=COLOURS[0], label="mean")
    right.set(xlabel="distance to the border (LR pixels)", ylabel="absolute difference", yscale="log")
    right.legend()
    return figure
