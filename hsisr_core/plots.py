"""Every figure of the book, as functions that return a closed matplotlib Figure.

The figures are as wide as a page of the book, use the Okabe-Ito colours for lines and cividis for
maps (both readable with any colour vision), and carry units. A figure is closed before it is
returned, so a notebook shows it once: as the value of its cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from hsisr_core.data.scene import Scene
from hsisr_core.degrade import make_pair
from hsisr_core.errors import HsisrError
from hsisr_core.plot_style import (
    COLOURS,
    DASHES,
    FALSE_COLOUR_NM,
    WIDTH,
    panel_grid,
    show_image,
    spectral_axis,
    styled_figure,
)

__all__ = [
    "band_psnr",
    "band_statistics",
    "border_rule",
    "curves",
    "error_maps",
    "false_colour",
    "mean_spectra",
    "scene_gallery",
    "spectral_curves",
]

_CORNER = 10  # LR pixels shown by `border_rule`


def _several(items: Sequence[Any] | Mapping[str, Any], what: str) -> None:
    if not items:
        raise HsisrError(f"There are no {what} to draw; give at least one.")


def _same_shape(srs: Mapping[str, ArrayLike], hr: ArrayLike) -> tuple[dict[str, NDArray[Any]], NDArray[Any]]:
    """The cubes as arrays, checked to be (bands, height, width) of one shape."""
    _several(srs, "methods")
    reference = np.asarray(hr)
    cubes = {method: np.asarray(sr) for method, sr in srs.items()}
    for method, cube in cubes.items():
        if cube.shape != reference.shape or reference.ndim != 3:
            raise HsisrError(
                f"SR of {method} has shape {cube.shape} and HR {reference.shape}; "
                "expected the same (bands, height, width)."
            )
    return cubes, reference


def false_colour(
    scene_or_cube: Scene | ArrayLike, wavelengths: ArrayLike | None = None
) -> tuple[NDArray[np.float64], str]:
    """A picture of a cube for people: three bands as red, green and blue.

    Bands near 640, 550 and 460 nm where the sensor ends in the visible range. A sensor that reaches
    beyond 750 nm gives colour infrared, in which vegetation is red: bands near 860, 650 and 550 nm.
    If the sensor does not tell these bands apart, or its wavelengths are unknown, bands at 3/4, 1/2
    and 1/4 of the spectrum. Each band is stretched from its 1st to its 99th percentile; pictures
    within the visible range are also brightened by a power of 1/1.8, as screens expect of light.

    Parameters
    ----------
    scene_or_cube : Scene, or array of shape (bands, height, width)
    wavelengths : array, shape (bands,), optional
        Band centres in nm. A Scene brings its own.

    Returns
    -------
    rgb : ndarray of float64, shape (height, width, 3)
        In [0, 1].
    caption : str
        The bands used, such as "R 640, G 550, B 460 nm".

    Raises
    ------
    HsisrError
        The cube is not 3-D, or there is not one wavelength per band.
    """
    if isinstance(scene_or_cube, Scene):
        cube: NDArray[Any] = scene_or_cube.cube
        own = scene_or_cube.wavelengths
    else:
        cube = np.asarray(scene_or_cube)
        own = np.full(len(cube), np.nan)
    centres = own if wavelengths is None else np.asarray(wavelengths, dtype=np.float64)
    if cube.ndim != 3 or centres.shape != cube.shape[:1]:
        raise HsisrError(
            f"The cube has shape {cube.shape} with {centres.size} wavelengths; "
            "expected (bands, height, width) and one wavelength per band."
        )
    infrared = bool(centres.max() > 750)
    targets = FALSE_COLOUR_NM["CIR" if infrared else "natural"]
    bands = [int(np.abs(centres - target).argmin()) for target in targets]
    if not np.isfinite(centres).all() or len(set(bands)) < 3:
        bands = [round((len(cube) - 1) * share) for share in (0.75, 0.5, 0.25)]
    chosen = cube[bands].astype(np.float64)
    low, high = np.percentile(chosen, (1, 99), axis=(1, 2), keepdims=True)
    span = np.where(high > low, high - low, 1)
    rgb = np.clip((chosen - low) / span, 0, 1).transpose(1, 2, 0) ** (1 if infrared else 1 / 1.8)
    if not np.isfinite(centres).all():
        return rgb, "R, G, B: bands " + ", ".join(str(band + 1) for band in bands)
    red, green, blue = (f"{centres[band]:.0f}" for band in bands)
    return rgb, f"R {red}, G {green}, B {blue} nm"


@styled_figure
def scene_gallery(scenes: Sequence[Scene]) -> Figure:
    """False-colour pictures of scenes, each with its name, size and the bands shown; see `false_colour`."""
    _several(scenes, "scenes")
    columns = {1: 2, 2: 2, 3: 3, 5: 3, 6: 3}.get(len(scenes), 4)
    tallest = max(scene.height / scene.width for scene in scenes)
    figure, axes = panel_grid(len(scenes), columns, min(WIDTH / columns * tallest + 0.6, 4.0))
    for panel, scene in zip(axes, scenes, strict=True):
        rgb, caption = false_colour(scene)
        size = f"{scene.bands} bands, {scene.height}×{scene.width}"
        show_image(panel, rgb, f"{scene.name}\n{size}")
        panel.set_xlabel(caption, fontsize=8)
    return figure


@styled_figure
def mean_spectra(scenes: Sequence[Scene]) -> Figure:
    """Mean spectrum of each scene, a panel each, with the 5th to 95th percentile of its pixels."""
    _several(scenes, "scenes")
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
def error_maps(
    srs: Mapping[str, ArrayLike], hr: ArrayLike, band: int, wavelength: float | None = None
) -> Figure:
    """Absolute error of each method in one band, beside that band of HR (the paper's Fig. 8).

    Parameters
    ----------
    srs : mapping of method name to array of shape (bands, height, width)
        Clipped to [0, 1], as they are for scoring.
    hr : array, shape (bands, height, width)
    band : int
        Counted from 0; the paper shows its 27th band, which is 26 here.
    wavelength : float, optional
        Of this band in nm, for the title.

    Returns
    -------
    Figure
        All maps share one colour scale, from 0 to the 99.5th percentile of all errors: blue is
        small, as in the paper. Titles give each method's RMSE in this band.

    Raises
    ------
    HsisrError
        No method, cubes of different shapes, or no such band.
    """
    cubes, reference = _same_shape(srs, hr)
    if not 0 <= band < len(reference):
        raise HsisrError(f"band is {band}; the cube has bands 0 to {len(reference) - 1}.")
    truth = reference[band].astype(np.float64)
    errors = {method: np.abs(np.clip(cube[band], 0, 1) - truth) for method, cube in cubes.items()}
    limit = float(np.percentile(np.stack(list(errors.values())), 99.5)) or 1e-6
    columns = 3 if len(errors) in (1, 2, 4, 5) else 4
    height, width = truth.shape
    panel_height = min(0.87 * WIDTH / min(columns, len(errors) + 1) * height / width + 0.3, 4.0)
    figure, axes = panel_grid(len(errors) + 1, columns, panel_height)
    at = "" if wavelength is None or not np.isfinite(wavelength) else f", {wavelength:.0f} nm"
    show_image(axes[0], truth, f"HR, band {band + 1} of {len(reference)}{at}", cmap="gray")
    for panel, (method, error) in zip(axes[1:], errors.items(), strict=True):
        rmse = np.sqrt(np.square(error).mean())
        image = show_image(panel, error, f"{method}, RMSE {rmse:.4f}", vmin=0, vmax=limit)
    bar = figure.colorbar(image, ax=axes, extend="max", shrink=0.9, pad=0.02)
    bar.set_label("absolute error (full scale = 1)")
    bar.outline.set_visible(False)
    return figure


@styled_figure
def spectral_curves(
    srs: Mapping[str, ArrayLike], hr: ArrayLike, wavelengths: ArrayLike, pixels: Sequence[tuple[int, int]]
) -> Figure:
    """Spectra of single pixels, HR against each method, and their differences (the paper's Fig. 9).

    Parameters
    ----------
    srs : mapping of method name to array of shape (bands, height, width)
    hr : array, shape (bands, height, width)
    wavelengths : array, shape (bands,)
        In nm; all NaN if unknown.
    pixels : sequence of (row, column)
        A column of the figure each.

    Raises
    ------
    HsisrError
        No method or pixel, cubes of different shapes, or a pixel outside them.
    """
    cubes, reference = _same_shape(srs, hr)
    _several(pixels, "pixels")
    x, label = spectral_axis(wavelengths)
    if x.size != len(reference):
        raise HsisrError(f"There are {x.size} wavelengths for {len(reference)} bands; give one per band.")
    for row, column in pixels:
        if not (0 <= row < reference.shape[1] and 0 <= column < reference.shape[2]):
            size = "{} rows and {} columns".format(*reference.shape[1:])
            raise HsisrError(f"Pixel ({row}, {column}) is outside the cube of {size}.")
    figure, grid = plt.subplots(
        2, len(pixels), figsize=(WIDTH, 3.9), sharex=True, squeeze=False, height_ratios=(3, 2)
    )
    for (row, column), upper, lower in zip(pixels, *grid, strict=True):
        truth = reference[:, row, column].astype(np.float64)
        upper.plot(x, truth, ".-", color="black", label="HR")
        for (method, cube), colour, dash in zip(cubes.items(), cycle(COLOURS), cycle(DASHES), strict=False):
            upper.plot(x, cube[:, row, column], color=colour, linestyle=dash, label=method)
            lower.plot(x, cube[:, row, column] - truth, color=colour, linestyle=dash)
        lower.axhline(0, color="black", linewidth=0.8)
        upper.set_title(f"row {row}, column {column}")
        lower.set_xlabel(label)
    grid[0, 0].set_ylabel("value (full scale = 1)")
    grid[1, 0].set_ylabel("SR − HR")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(cubes) + 1)
    return figure


@styled_figure
def band_psnr(srs: Mapping[str, ArrayLike], hr: ArrayLike, wavelengths: ArrayLike) -> Figure:
    """PSNR (dB) of each band for each method: where in the spectrum a method gains.

    Parameters
    ----------
    srs : mapping of method name to array of shape (bands, height, width)
        Clipped to [0, 1], as they are for scoring.
    hr : array, shape (bands, height, width)
    wavelengths : array, shape (bands,)
        In nm; all NaN if unknown.

    Raises
    ------
    HsisrError
        No method, or cubes of different shapes.
    """
    cubes, reference = _same_shape(srs, hr)
    x, label = spectral_axis(wavelengths)
    figure, axes = plt.subplots(figsize=(WIDTH, 2.5))
    for (method, cube), colour, dash in zip(cubes.items(), COLOURS, DASHES, strict=False):
        mse = np.square(cube.astype(np.float64) - reference).mean(axis=(1, 2))
        axes.plot(x, -10 * np.log10(mse), color=colour, linestyle=dash, marker=".", label=method)
    axes.set(xlabel=label, ylabel="PSNR of the band (dB)")
    axes.legend(ncols=len(cubes), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


@styled_figure
def curves(histories: Mapping[str, pd.DataFrame], bicubic_psnr: float | None = None) -> Figure:
    """Training loss and test PSNR against the step, for one or several runs (the paper's Fig. 7).

    The loss is a running mean over a fiftieth of the run; a single run shows its raw values too.

    Parameters
    ----------
    histories : mapping of run label to DataFrame
        Columns ``step``, ``loss`` and, if measured, ``psnr`` (dB); steps without a value are NaN.
    bicubic_psnr : float, optional
        PSNR (dB) of bicubic interpolation on the same test data, as a line to beat.

    Raises
    ------
    HsisrError
        No run, or a history without ``step`` and ``loss``.
    """
    _several(histories, "runs")
    for label, history in histories.items():
        if not {"step", "loss"} <= set(history.columns):
            raise HsisrError(
                f"The history of {label} has columns {list(history.columns)}; expected step and loss."
            )
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.7))
    for (label, history), colour, dash in zip(histories.items(), cycle(COLOURS), cycle(DASHES), strict=False):
        loss = history.dropna(subset="loss")
        if len(histories) == 1:
            left.plot(loss["step"], loss["loss"], color=colour, alpha=0.25, linewidth=0.6)
        smooth = loss["loss"].rolling(max(1, len(loss) // 50), min_periods=1).mean()
        left.plot(loss["step"], smooth, color=colour, linestyle=dash, label=label)
        if "psnr" in history:
            quality = history.dropna(subset="psnr")
            right.plot(
                quality["step"], quality["psnr"], color=colour, linestyle=dash, marker=".", label=label
            )
    left.set(xlabel="step", ylabel="training loss", yscale="log")
    right.set(xlabel="step", ylabel="PSNR on test data (dB)")
    if bicubic_psnr is not None:
        right.axhline(bicubic_psnr, color="black", linewidth=0.9)
        right.annotate(
            f"bicubic {bicubic_psnr:.2f} dB",
            (0.99, bicubic_psnr),
            xycoords=("axes fraction", "data"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=8,
        )
    if len(histories) > 1:
        left.legend()
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
