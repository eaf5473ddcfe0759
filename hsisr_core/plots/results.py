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
from hsisr_core.plots.style import COLOURS, WIDTH, styled_figure

# SR (bands, height, width) by method
Cubes = Mapping[str, NDArray[Any]]


def band_near(wavelengths: ArrayLike, nm: float = 660) -> int:
    """Index of the band nearest to `nm`, 0 if wavelengths are unknown; the paper's 27th band of CAVE is at 660 nm."""
    return int(np.abs(np.nan_to_num(np.asarray(wavelengths, dtype=np.float64)) - nm).argmin())


def telling_pixels(srs: Cubes, hr: NDArray[Any]) -> list[tuple[int, int]]:
    """Three pixels (row, column) that every method has: where the first is worst, median, and in its best 5 %."""
    # HR has no value where it is not scored
    shared = np.all([np.isfinite(cube).any(axis=0) for cube in (hr, *srs.values())], axis=0)
    if not shared.any():
        raise HsisrError("No pixel has a value from every method: give a larger image.")
    error = np.sqrt(((next(iter(srs.values())) - hr) ** 2).mean(axis=0))
    places = np.argwhere(shared)
    order = places[np.argsort(error[shared])]
    return [(int(row), int(column)) for row, column in order[[-1, len(order) // 2, len(order) // 20]]]


@styled_figure
def error_maps(srs: Cubes, hr: NDArray[Any], band: int, wavelength: float | None = None) -> Figure:
    """Absolute error of each method, clipped to [0, 1], in one band (from 0), beside HR's (the paper's Fig. 8).

    All share one colour scale, to the 99.5th percentile. Titles give the RMSE in this band, over the pixels there are.
    """
    truth = hr[band].astype(np.float64)
    errors = {method: np.abs(np.clip(sr[band], 0, 1) - truth) for method, sr in srs.items()}
    known = np.concatenate([error[np.isfinite(error)] for error in errors.values()])
    limit = (float(np.percentile(known, 99.5)) if known.size else 0.0) or 1e-6
    columns = 3 if len(errors) in (1, 2, 4, 5) else 4
    height, width = truth.shape
    panel_height = min(0.87 * WIDTH / min(columns, len(errors) + 1) * height / width + 0.3, 4.0)
    figure, axes = style.panel_grid(len(errors) + 1, columns, panel_height)
    at = "" if wavelength is None or not np.isfinite(wavelength) else f", {wavelength:.0f} nm"
    style.show_image(axes[0], truth, f"HR, band {band + 1} of {len(hr)}{at}", cmap="gray")
    for panel, (method, error) in zip(axes[1:], errors.items(), strict=True):
        inside = error[np.isfinite(error)]
        quality = f"RMSE {np.sqrt(np.square(inside).mean()):.4f}" if inside.size else "not in this band"
        image = style.show_image(panel, error, f"{method}\n{quality}", vmin=0, vmax=limit)
    style.add_colour_bar(figure, image, axes, "absolute error", extend="max", shrink=0.9, pad=0.02)
    return figure


@styled_figure
def spectral_curves(
    srs: Cubes, hr: NDArray[Any], wavelengths: ArrayLike, pixels: Sequence[tuple[int, int]]
) -> Figure:
    """Spectra of `pixels` (row, column), HR against each method, and their differences (the paper's Fig. 9)."""
    x, label = style.spectral_axis(wavelengths)
    figure, grid = plt.subplots(
        2, len(pixels), figsize=(WIDTH, 3.9), sharex=True, squeeze=False, height_ratios=(3, 2)
    )
    for (row, column), upper, lower in zip(pixels, *grid, strict=True):
        truth = hr[:, row, column].astype(np.float64)
        upper.plot(x, truth, ".-", color="black", label="HR")
        for method, look in style.method_styles(srs).items():
            spectrum = srs[method][:, row, column]
            upper.plot(x, spectrum, **look | {"marker": ""})
            lower.plot(x, spectrum - truth, **look | {"marker": ""})
        style.mark_zero(lower)
        upper.set_title(f"row {row}, column {column}")
        lower.set_xlabel(label)
    grid[0, 0].set_ylabel("value (full scale = 1)")
    grid[1, 0].set_ylabel("SR − HR")
    style.add_legend(figure)
    return figure


@styled_figure
def band_psnr(srs: Cubes, hr: NDArray[Any], wavelengths: ArrayLike) -> Figure:
    """PSNR (dB) of each band for each method, over the pixels that it has: where in the spectrum a method gains."""
    x, label = style.spectral_axis(wavelengths)
    figure, axes = plt.subplots(figsize=(WIDTH, 2.5))
    for method, look in style.method_styles(srs).items():
        # a band that the method lacks is masked: a gap in the line
        square = np.ma.masked_invalid(np.square(srs[method].astype(np.float64) - hr))
        axes.plot(x, -10 * np.log10(square.mean(axis=(1, 2)).filled(np.nan)), **look | {"marker": "."})
    axes.set(xlabel=label, ylabel="PSNR of the band (dB)")
    axes.legend(ncols=len(srs), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


@styled_figure
def curves(history: pd.DataFrame, label: str, bicubic_psnr: float) -> Figure:
    """Training loss, with its running mean over a fiftieth of the run, and test PSNR (the paper's Fig. 7) of a run."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.7))
    loss, quality = history.dropna(subset="loss"), history.dropna(subset="psnr")
    left.plot(loss["step"], loss["loss"], color=COLOURS[0], alpha=0.25, linewidth=0.6)
    smooth = loss["loss"].rolling(max(1, len(loss) // 50), min_periods=1).mean()
    left.plot(loss["step"], smooth, color=COLOURS[0], label=label)
    right.plot(quality["step"], quality["psnr"], marker=".", color=COLOURS[0], label=label)
    left.set(xlabel="step", ylabel="training loss", yscale="log")
    right.set(xlabel="step", ylabel="PSNR on test data (dB)")
    right.axhline(bicubic_psnr, color="black", linewidth=0.9, label=f"bicubic {bicubic_psnr:.2f} dB")
    style.add_legend(figure)
    return figure
