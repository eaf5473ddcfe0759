"""Figures of results: where methods err in the image and in the spectrum, and how they learnt.

SR cubes may hold NaN where a method gives no value (3D-FCNN without padding has no border and 8 bands
less): such pixels stay empty and are left out of every mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from hsisr_core.errors import HsisrError
from hsisr_core.plots import style
from hsisr_core.plots.style import WIDTH, styled_figure
from hsisr_core.scenes import Scene


def band_near(wavelengths: ArrayLike, nm: float = 660) -> int:
    """Index of the band nearest to `nm`, 0 if wavelengths are unknown; the paper's 27th band of CAVE is at 660 nm."""
    return int(np.abs(np.nan_to_num(np.asarray(wavelengths, dtype=np.float64)) - nm).argmin())


def telling_pixels(srs: Mapping[str, ArrayLike], hr: ArrayLike) -> list[tuple[int, int]]:
    """Three pixels (row, column) that every method has: where the first is worst, median, and in its best 5 %."""
    cubes, reference = _same_shape(srs, hr)
    # HR has no value where it is not scored
    shared = np.all([np.isfinite(cube).any(axis=0) for cube in (reference, *cubes.values())], axis=0)
    if not shared.any():
        raise HsisrError("No pixel has a value from every method: give a larger image.")
    error = np.sqrt(((next(iter(cubes.values())) - reference) ** 2).mean(axis=0))
    places = np.argwhere(shared)
    order = places[np.argsort(error[shared])]
    return [(int(row), int(column)) for row, column in order[[-1, len(order) // 2, len(order) // 20]]]


def _same_shape(srs: Mapping[str, ArrayLike], hr: ArrayLike) -> tuple[dict[str, NDArray[Any]], NDArray[Any]]:
    """The cubes as arrays, checked to be (bands, height, width) of one shape."""
    style.check_some(srs, "methods")
    reference = np.asarray(hr)
    cubes = {method: np.asarray(sr) for method, sr in srs.items()}
    for method, cube in cubes.items():
        if cube.shape != reference.shape or reference.ndim != 3:
            raise HsisrError(
                f"SR of {method} has shape {cube.shape} and HR {reference.shape}; "
                "expected the same (bands, height, width)."
            )
    return cubes, reference


@styled_figure
def error_maps(
    srs: Mapping[str, ArrayLike], hr: ArrayLike, band: int, wavelength: float | None = None
) -> Figure:
    """Absolute error of each method in one band (from 0), beside that band of HR (the paper's Fig. 8).

    SR is clipped to [0, 1] as for scoring. All maps share one colour scale, from 0 to the 99.5th percentile of all
    errors. Titles give each method's RMSE in this band, over the pixels that it has.
    """
    cubes, reference = _same_shape(srs, hr)
    if not 0 <= band < len(reference):
        raise HsisrError(f"band is {band}; the cube has bands 0 to {len(reference) - 1}.")
    truth = reference[band].astype(np.float64)
    errors = {method: np.abs(np.clip(cube[band], 0, 1) - truth) for method, cube in cubes.items()}
    known = np.concatenate([error[np.isfinite(error)] for error in errors.values()])
    limit = (float(np.percentile(known, 99.5)) if known.size else 0.0) or 1e-6
    columns = 3 if len(errors) in (1, 2, 4, 5) else 4
    height, width = truth.shape
    panel_height = min(0.87 * WIDTH / min(columns, len(errors) + 1) * height / width + 0.3, 4.0)
    figure, axes = style.panel_grid(len(errors) + 1, columns, panel_height)
    at = "" if wavelength is None or not np.isfinite(wavelength) else f", {wavelength:.0f} nm"
    style.show_image(axes[0], truth, f"HR, band {band + 1} of {len(reference)}{at}", cmap="gray")
    for panel, (method, error) in zip(axes[1:], errors.items(), strict=True):
        inside = error[np.isfinite(error)]
        quality = f"RMSE {np.sqrt(np.square(inside).mean()):.4f}" if inside.size else "not in this band"
        image = style.show_image(panel, error, f"{method}, {quality}", vmin=0, vmax=limit)
    label = "absolute error (full scale = 1)"
    style.add_colour_bar(figure, image, axes, label, extend="max", shrink=0.9, pad=0.02)
    return figure


@styled_figure
def spectral_curves(
    srs: Mapping[str, ArrayLike], hr: ArrayLike, wavelengths: ArrayLike, pixels: Sequence[tuple[int, int]]
) -> Figure:
    """Spectra of `pixels` (row, column), HR against each method, and their differences (the paper's Fig. 9)."""
    cubes, reference = _same_shape(srs, hr)
    style.check_some(pixels, "pixels")
    x, label = style.spectral_axis(wavelengths)
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
        for method, look in style.line_styles(cubes).items():
            spectrum = cubes[method][:, row, column]
            upper.plot(x, spectrum, **look)
            lower.plot(x, spectrum - truth, **look)
        style.mark_zero(lower)
        upper.set_title(f"row {row}, column {column}")
        lower.set_xlabel(label)
    grid[0, 0].set_ylabel("value (full scale = 1)")
    grid[1, 0].set_ylabel("SR − HR")
    style.add_legend(figure, len(cubes) + 1, grid[0, :1])
    return figure


@styled_figure
def band_psnr(srs: Mapping[str, ArrayLike], hr: ArrayLike, wavelengths: ArrayLike) -> Figure:
    """PSNR (dB) of each band for each method, over the pixels that it has: where in the spectrum a method gains."""
    cubes, reference = _same_shape(srs, hr)
    x, label = style.spectral_axis(wavelengths)
    figure, axes = plt.subplots(figsize=(WIDTH, 2.5))
    for method, look in style.line_styles(cubes).items():
        square = np.square(cubes[method].astype(np.float64) - reference)
        known = np.isfinite(square)
        # A band that the method lacks is a gap in the line.
        mse = np.full(len(square), np.nan)
        has = known.any(axis=(1, 2))
        mse[has] = square[has].mean(axis=(1, 2), where=known[has])
        axes.plot(x, -10 * np.log10(mse), marker=".", **look)
    axes.set(xlabel=label, ylabel="PSNR of the band (dB)")
    axes.legend(ncols=len(cubes), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


@styled_figure
def curves(histories: Mapping[str, pd.DataFrame], bicubic_psnr: float | None = None) -> Figure:
    """Training loss and test PSNR against the step, for one or several runs (the paper's Fig. 7).

    The loss is a running mean over a fiftieth of the run; a single run shows its raw values too. `bicubic_psnr` (dB)
    is a line to beat.
    """
    style.check_some(histories, "runs")
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.7))
    for label, look in style.line_styles(histories).items():
        history = histories[label]
        loss = history.dropna(subset="loss")
        if len(histories) == 1:
            left.plot(loss["step"], loss["loss"], color=look["color"], alpha=0.25, linewidth=0.6)
        smooth = loss["loss"].rolling(max(1, len(loss) // 50), min_periods=1).mean()
        left.plot(loss["step"], smooth, **look)
        if "psnr" in history:
            quality = history.dropna(subset="psnr")
            right.plot(quality["step"], quality["psnr"], marker=".", **look)
    left.set(xlabel="step", ylabel="training loss", yscale="log")
    right.set(xlabel="step", ylabel="PSNR on test data (dB)")
    if bicubic_psnr is not None:
        label = f"bicubic {bicubic_psnr:.2f} dB"
        right.axhline(bicubic_psnr, color="black", linewidth=0.9, label=label)
    style.add_legend(figure)
    return figure


@styled_figure
def side_by_side(results: Mapping[str, ArrayLike], scene: Scene, band: int, side: int = 48) -> Figure:
    """One band (from 0) of a cube and of its SR by several methods: the middle `side` x `side` pixels of the cube."""
    images = {"the cube": scene.cube} | {name: np.asarray(cube) for name, cube in results.items()}
    figure, axes = style.panel_grid(len(images), 3, 3.0)
    low, high = np.percentile(scene.cube[band], (1, 99))
    for panel, (name, cube) in zip(axes, images.items(), strict=True):
        factor = cube.shape[1] // scene.height
        rows, columns = (
            slice(max(0, (length - side) // 2) * factor, min((length + side) // 2, length) * factor)
            for length in (scene.height, scene.width)
        )
        part = cube[band, rows, columns]
        title = f"{name}, {part.shape[0]} x {part.shape[1]} pixels"
        style.show_image(panel, part, title, cmap="gray", vmin=low, vmax=high)
    return figure
