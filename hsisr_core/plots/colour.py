"""Pictures of cubes for people: as an eye would see them, or in false colour."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsisr_core.plots.style import FALSE_COLOUR_NM

# The CIE 1931 2-degree observer as sums of Gaussians: Wyman, Sloan and Shirley, "Simple Analytic Approximations to the
# CIE XYZ Color Matching Functions", JCGT 2(2), 2013, Eq. 4. At most 0.014, 0.007 and 0.022 off the CIE's table in
# x, y and z. Height, centre (nm), and the inverse widths (1/nm) below and above the centre.
_LOBES = (
    ((0.362, 442.0, 0.0624, 0.0374), (1.056, 599.8, 0.0264, 0.0323), (-0.065, 501.1, 0.0490, 0.0382)),
    ((0.821, 568.8, 0.0213, 0.0247), (0.286, 530.9, 0.0613, 0.0322)),
    ((1.217, 437.0, 0.0845, 0.0278), (0.681, 459.0, 0.0385, 0.0725)),
)
# XYZ, with (1, 1, 1) for a flat spectrum, to linear sRGB (IEC 61966-2-1) with D65 as white: adapted by Bradford's rule.
_TO_SRGB = (
    (3.14665765, -1.66646375, -0.48019390),
    (-0.99552161, 1.95575673, 0.03976487),
    (0.06359480, -0.21456322, 1.15096842),
)


def colour_matching(wavelengths: ArrayLike) -> NDArray[np.float64]:
    """The CIE 1931 2-degree colour matching functions x, y, z at `wavelengths` in nm, shape (3, wavelengths)."""
    nm = np.asarray(wavelengths, dtype=np.float64)

    def lobe(height: float, centre: float, below: float, above: float) -> NDArray[np.float64]:
        return height * np.exp(-0.5 * ((nm - centre) * np.where(nm < centre, below, above)) ** 2)

    return np.stack([np.sum([lobe(*values) for values in lobes], axis=0) for lobes in _LOBES])


def true_colour(cube: NDArray[Any], nm: NDArray[np.float64]) -> tuple[NDArray[np.float64], str]:
    """A picture of a cube with band centres in nm as an eye would see it (sRGB), and "CIE 1931", or `false_colour`.

    A flat spectrum is shown without colour; the 99th percentile of luminance is white; NaN stays NaN.
    """
    # from 430 to 670 nm, at most 20 nm apart; beyond are 14 % of z, 4 % of x and 1 % of y
    seen = np.sort(nm[(nm >= 410) & (nm <= 690)])
    if len(seen) < 2 or seen[0] > 430 or seen[-1] < 670 or np.diff(seen).max() > 20:
        rgb, caption = false_colour(cube, nm)
        return rgb, f"false colour: {caption}"
    # A band counts as wide as half-way to either neighbour. X, Y and Z are scaled each by itself: a sensor that misses
    # one end of the spectrum still shows a flat spectrum without colour.
    weights = colour_matching(nm) * np.gradient(nm)
    weights /= weights.sum(axis=1, keepdims=True)
    xyz = np.einsum("cb,bhw->hwc", weights, cube, optimize=True)
    luminance = float(np.nanpercentile(xyz[..., 1], 99))
    linear = np.clip(xyz / (luminance if luminance > 0 else 1.0) @ np.transpose(_TO_SRGB), 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055), "CIE 1931"


def false_colour(cube: NDArray[Any], centres: NDArray[np.float64]) -> tuple[NDArray[np.float64], str]:
    """Three bands as RGB in [0, 1], (height, width, 3), and a caption, such as "R 640, G 550, B 460 nm".

    A sensor that reaches beyond 750 nm gives colour infrared, in which vegetation is red; without the bands of
    `FALSE_COLOUR_NM`, those at 3/4, 1/2 and 1/4 of the spectrum. Each is stretched from its 1st to its 99th percentile.
    """
    infrared = bool(centres.max() > 750)
    targets = FALSE_COLOUR_NM["CIR" if infrared else "natural"]
    bands = [int(np.abs(centres - target).argmin()) for target in targets]
    if not np.isfinite(centres).all() or len(set(bands)) < 3:
        bands = [round((len(cube) - 1) * share) for share in (0.75, 0.5, 0.25)]
    chosen = cube[bands].astype(np.float64)
    low, high = np.percentile(chosen, (1, 99), axis=(1, 2), keepdims=True)
    span = np.where(high > low, high - low, 1)
    # within the visible range brightened, as screens expect of light
    rgb = np.clip((chosen - low) / span, 0, 1).transpose(1, 2, 0) ** (1 if infrared else 1 / 1.8)
    red, green, blue = bands
    if not np.isfinite(centres).all():
        return rgb, f"R, G, B: bands {red + 1}, {green + 1}, {blue + 1}"
    return rgb, f"R {centres[red]:.0f}, G {centres[green]:.0f}, B {centres[blue]:.0f} nm"
