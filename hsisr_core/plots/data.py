"""Figures about the data, the reduction to LR and the metrics, for chapters 01 and 02."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter

from hsisr_core.data import Dataset, Region, Scene
from hsisr_core.degrade import check_scale, resize_matrix
from hsisr_core.errors import HsisrError
from hsisr_core.plots.colour import false_colour
from hsisr_core.plots.style import (
    COLOURS,
    DASHES,
    WIDTH,
    panel_grid,
    show_image,
    spectral_axis,
    styled_figure,
)

__all__ = ["cube_views", "filter_taps", "metric_maps", "split_map", "wavelength_steps_back"]

_SSIM_RADIUS, _SSIM_SIGMA = 5, 1.5  # pixels: the 11x11 window of `metrics.ssim`
_SSIM_C1, _SSIM_C2 = 0.01**2, 0.03**2


@styled_figure
def cube_views(scene: Scene) -> Figure:
    """A cube seen both ways: four of its bands as images, three of its pixels as spectra.

    The bands lie at 1/8, 3/8, 5/8 and 7/8 of the spectrum and are stretched from their 1st to their
    99th percentile. The pixels are a dark, a middling and a bright one: those whose mean over the bands
    is nearest to 10, 50 and 90 % of the way from the 1st to the 99th percentile of these means.
    """
    figure = plt.figure(figsize=(WIDTH, WIDTH / 4 * scene.height / scene.width + 2.5))
    grid = figure.add_gridspec(2, 4, height_ratios=(WIDTH / 4 * scene.height / scene.width, 2.1))
    brightness = scene.cube.mean(axis=0)
    dark, bright = np.percentile(brightness, (1, 99))
    targets = [dark + share * (bright - dark) for share in (0.1, 0.5, 0.9)]
    pixels = [np.unravel_index(np.abs(brightness - t).argmin(), brightness.shape) for t in targets]
    x, label = spectral_axis(scene.wavelengths)
    for column in range(4):
        band = round((scene.bands - 1) * (2 * column + 1) / 8)
        at = f", {x[band]:.0f} nm" if scene.wavelengths_known else ""
        low, high = np.percentile(scene.cube[band], (1, 99))
        panel = figure.add_subplot(grid[0, column])
        show_image(panel, scene.cube[band], f"band {band + 1}{at}", cmap="gray", vmin=low, vmax=high)
        for (row, col), colour in zip(pixels, COLOURS, strict=False):
            panel.plot(col, row, "o", markersize=7, markerfacecolor="none", color=colour, markeredgewidth=1.6)
    panel = figure.add_subplot(grid[1, :])
    for (row, col), colour, dash in zip(pixels, COLOURS, DASHES, strict=False):
        name = f"row {row}, column {col}"
        panel.plot(x, scene.cube[:, row, col], color=colour, linestyle=dash, marker=".", label=name)
    panel.set(xlabel=label, ylabel="value (full scale = 1)")
    panel.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


@styled_figure
def split_map(dataset: Dataset, limit: int = 8) -> Figure:
    """False-colour pictures of a dataset's scenes with the regions that train and those that test.

    Parameters
    ----------
    dataset : Dataset
    limit : int
        Show at most this many scenes, those that test first.

    Returns
    -------
    Figure
        Pixels that no region uses are paled. Training regions have a solid frame, test regions a dashed one.

    Raises
    ------
    HsisrError
        `limit` is smaller than 1.
    """
    if limit < 1:
        raise HsisrError(f"limit is {limit}; expected at least 1 scene to show.")
    split = dataset.split
    names = list(dict.fromkeys(region.scene for region in (*split.test, *split.train)))
    shown = names[:limit]
    shapes = [dataset.store.shape(name) for name in shown]
    tallest = max(height / width for _, height, width in shapes)
    columns = min(max(len(shown), 2), 4)
    figure, axes = panel_grid(len(shown), columns, min(WIDTH / columns * tallest + 0.6, 4.0))
    for panel, name in zip(axes, shown, strict=True):
        scene = dataset.store.read(name)  # one at a time: a scene can be large
        rgb, caption = false_colour(scene)
        unused = np.ones((scene.height, scene.width), bool)
        for side, regions, colour, dash in (
            ("train", split.train, COLOURS[0], "-"),
            ("test", split.test, COLOURS[1], "--"),
        ):
            for region in (item for item in regions if item.scene == name):
                (top, bottom), (left, right) = region.bounds(scene.height, scene.width)
                unused[top:bottom, left:right] = False
                _frame(panel, region, (top, bottom, left, right), side, colour, dash)
        rgb[unused] = 0.35 * rgb[unused] + 0.65
        show_image(panel, rgb, f"{name}\n{scene.height}×{scene.width}")
        panel.set_xlabel(caption, fontsize=8)
    if len(shown) < len(names):
        figure.suptitle(f"{len(shown)} of {len(names)} scenes", fontsize=8.5)
    return figure


def _frame(
    panel: Axes, region: Region, box: tuple[int, int, int, int], side: str, colour: str, dash: str
) -> None:
    """Frame the pixels top to bottom, left to right of `box`, with the region's name in a corner."""
    top, bottom, left, right = box
    inset = 0.012 * max(right - left, bottom - top)  # so that frames of neighbours do not cover each other
    corner, size = (left - 0.5 + inset, top - 0.5 + inset), (right - left, bottom - top)
    frame = Rectangle(corner, size[0] - 2 * inset, size[1] - 2 * inset, fill=False)
    frame.set(edgecolor=colour, linestyle=dash, linewidth=2.2)
    panel.add_patch(frame)
    text = side if region.name == region.scene else f"{side}: {region.name}"
    place = (left + 3 * inset, top + 3 * inset)
    label = {"boxstyle": "round,pad=0.25", "facecolor": colour, "edgecolor": "none"}
    panel.text(*place, text, color="white", fontsize=8, va="top", ha="left", bbox=label)


@styled_figure
def wavelength_steps_back(
    wavelengths: ArrayLike, spectrum: ArrayLike, reach: int = 5, label: str = "value"
) -> Figure:
    """Where a list of band centres decreases: a spectrum drawn in the order of the list.

    Where two detectors overlap, the line goes back along itself, for both measure the same light. Where
    the list is wrong, it does not.

    Parameters
    ----------
    wavelengths : array, shape (bands,)
        Band centres in nm, in the order of the file.
    spectrum : array, shape (bands,)
        A value per band, for example the mean over the pixels.
    reach : int
        Bands drawn on each side.
    label : str
        What the values are.

    Raises
    ------
    HsisrError
        There is not one value per band, or the list only increases.
    """
    centres, values = np.asarray(wavelengths, np.float64), np.asarray(spectrum, np.float64)
    if centres.ndim != 1 or centres.shape != values.shape:
        raise HsisrError(
            f"{centres.shape} wavelengths and {values.shape} values; expected one of each per band."
        )
    places = np.flatnonzero(np.diff(centres) <= 0)
    if not places.size:
        raise HsisrError("The wavelengths increase from band to band; there is no step back to draw.")
    figure, axes = panel_grid(len(places), 3, 2.3)
    for panel, last in zip(axes, places, strict=True):
        part = slice(max(0, last - reach), last + reach + 2)
        panel.plot(centres[part], values[part], "o-", color=COLOURS[0], markersize=4)
        back = slice(last, last + 2)
        panel.plot(centres[back], values[back], "o-", color=COLOURS[1], markersize=5, linewidth=2)
        panel.set(title=f"bands {last + 1} and {last + 2}", xlabel="listed wavelength (nm)")
    axes[0].set_ylabel(label)
    return figure


@styled_figure
def filter_taps(scale: int) -> Figure:
    """What one LR pixel takes from a line of HR pixels, under three rules that are all called bicubic.

    MATLAB's weights are those of `degrade.resize_matrix`. PyTorch's are measured: every HR pixel in turn
    is set to 1 and the line is reduced with `torch.nn.functional.interpolate`.

    Parameters
    ----------
    scale : {2, 3, 4}

    Raises
    ------
    HsisrError
        As `check_scale`.
    """
    import torch  # only here: the other figures need not wait for it

    scale = check_scale(scale)
    out = 12
    length = out * scale
    impulses = torch.eye(length, dtype=torch.float64)[None, :, None, :]

    def measured(antialias: bool) -> NDArray[np.float64]:
        reduced = torch.nn.functional.interpolate(
            impulses, size=(1, out), mode="bicubic", antialias=antialias
        )
        return np.asarray(reduced[0, :, 0].numpy())

    rules = {
        "MATLAB": resize_matrix(length, out, 1 / scale),
        "PyTorch, antialias": measured(antialias=True),
        "PyTorch, default": measured(antialias=False),
    }
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.7), sharey=True)
    places = (("an LR pixel inside", out // 2), ("the LR pixel at the border", 0))
    for panel, (title, place) in zip(axes, places, strict=True):
        used = np.flatnonzero(np.any([np.abs(matrix[:, place]) > 1e-12 for matrix in rules.values()], axis=0))
        hr_pixels = np.arange(used[0], used[-1] + 1)
        styles = zip(rules.items(), COLOURS, DASHES, (("o", 8), ("s", 4), ("^", 4)), strict=False)
        for (name, matrix), colour, dash, (marker, size) in styles:
            taps = matrix[hr_pixels, place]
            (line,) = panel.plot(hr_pixels, taps, marker, linestyle=dash, color=colour, label=name)
            line.set(
                markersize=size, markerfacecolor="white" if size > 4 else colour
            )  # seen below the others
        panel.axhline(0, color="black", linewidth=0.8)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.set(title=title, xlabel="HR pixel")
    axes[0].set_ylabel("weight")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


@styled_figure
def metric_maps(sr: ArrayLike, hr: ArrayLike) -> Figure:
    """Three metrics as maps: each is computed from the mean of its map, which the title gives.

    Left: root of the squared error's mean over the bands (PSNR comes from the mean of its square).
    Middle: SSIM of the window around each pixel, mean over the bands; no window fits in the outer 5
    pixels. Right: angle between the two spectra of each pixel; a pixel that is zero in HR has none.

    Parameters
    ----------
    sr, hr : array, shape (bands, height, width)
        SR clipped to [0, 1], as for scoring; at least 11 pixels high and wide.

    Raises
    ------
    HsisrError
        The cubes differ in shape, are not 3-D, or are smaller than the window.
    """
    x, y = np.asarray(sr, np.float64), np.asarray(hr, np.float64)
    if x.shape != y.shape or x.ndim != 3 or min(x.shape[1:]) <= 2 * _SSIM_RADIUS:
        raise HsisrError(
            f"SR has shape {x.shape} and HR {y.shape}; expected the same (bands, height, width), "
            f"at least {2 * _SSIM_RADIUS + 1} pixels high and wide."
        )
    error = np.square(x - y).mean(axis=0)
    similarity = _local_ssim(x, y)
    angle = _angles(x, y)
    decibel = -10 * np.log10(error.mean()) if error.any() else np.inf
    maps = (
        (np.sqrt(error), f"PSNR {decibel:.2f} dB", "RMS error over the bands", "cividis", 0.0),
        (similarity, f"SSIM {np.nanmean(similarity):.4f}", "SSIM of the window", "cividis_r", None),
        (angle, f"SAM {np.nanmean(angle):.3f} degrees", "angle (degrees)", "cividis", 0.0),
    )
    height = min(WIDTH / 3 * x.shape[1] / x.shape[2], 4.0) + 0.9
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, height))
    for panel, (values, title, label, colours, low) in zip(axes, maps, strict=True):
        limits = (
            (np.nanpercentile(values, 0.5), 1.0) if low is None else (low, np.nanpercentile(values, 99.5))
        )
        image = show_image(panel, values, title, cmap=colours, vmin=limits[0], vmax=limits[1])
        bar = figure.colorbar(image, ax=panel, location="bottom", pad=0.03, shrink=0.9)
        bar.set_label(label)
        bar.outline.set_visible(False)
    return figure


def _local_ssim(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """SSIM of the window around each pixel, mean over the bands; NaN where no window fits."""
    total = np.zeros(x.shape[1:])

    def smooth(image: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(gaussian_filter(image, _SSIM_SIGMA, radius=_SSIM_RADIUS))

    for a, b in zip(x, y, strict=True):  # a band at a time: five smoothed cubes would be large
        mean_a, mean_b = smooth(a), smooth(b)
        covariance = smooth(a * b) - mean_a * mean_b
        variances = smooth(a * a) - mean_a**2 + smooth(b * b) - mean_b**2
        structure = (2 * covariance + _SSIM_C2) / (variances + _SSIM_C2)
        total += structure * (2 * mean_a * mean_b + _SSIM_C1) / (mean_a**2 + mean_b**2 + _SSIM_C1)
    inside = (slice(_SSIM_RADIUS, -_SSIM_RADIUS),) * 2
    similarity = np.full(x.shape[1:], np.nan)
    similarity[inside] = total[inside] / len(x)
    return similarity


def _angles(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angle between the two spectra of each pixel in degrees; NaN where that of `y` is zero."""
    norm_x, norm_y = np.linalg.norm(x, axis=0), np.linalg.norm(y, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        # A zero SR spectrum has no direction: 90 degrees, as in `metrics.sam`.
        cosine = np.where(norm_x > 0, (x * y).sum(axis=0) / (norm_x * norm_y), 0.0)
    return np.where(norm_y > 0, np.degrees(np.arccos(np.clip(cosine, -1, 1))), np.nan)
