"""Pictures of cubes for people: as an eye would see them, or in false colour.

The eye is the CIE 1931 2-degree standard observer, by the fit of sums of Gaussians in Wyman, Sloan and
Shirley, "Simple Analytic Approximations to the CIE XYZ Color Matching Functions", JCGT 2(2), 2013, Eq. 4.
Against the CIE's table every 5 nm from 360 to 830 nm it is off by at most 0.014, 0.007 and 0.022 in x, y and z
(whose peaks are 1.06, 1.00 and 1.78). On the 24 patches of a ColorChecker the colours differ by 0.3 on average and
0.9 at most (CIE 1976 colour difference; about 2 is seen side by side).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsisr_core.errors import HsisrError
from hsisr_core.plots.style import FALSE_COLOUR_NM
from hsisr_core.scenes import Scene

__all__ = ["colour_matching", "covers_visible", "false_colour", "to_srgb", "to_xyz", "true_colour"]

# height, centre (nm), and the inverse widths (1/nm) below and above the centre
LOBES = (
    ((0.362, 442.0, 0.0624, 0.0374), (1.056, 599.8, 0.0264, 0.0323), (-0.065, 501.1, 0.0490, 0.0382)),
    ((0.821, 568.8, 0.0213, 0.0247), (0.286, 530.9, 0.0613, 0.0322)),
    ((1.217, 437.0, 0.0845, 0.0278), (0.681, 459.0, 0.0385, 0.0725)),
)
FIRST, LAST, WIDEST_GAP = 430.0, 670.0, 20.0  # nm: what a sensor must see for a picture in true colour
D65 = np.array([0.3127 / 0.3290, 1.0, (1 - 0.3127 - 0.3290) / 0.3290])  # XYZ of sRGB's white (IEC 61966-2-1)
PRIMARIES = np.array(
    [[0.64, 0.30, 0.15], [0.33, 0.60, 0.06], [0.03, 0.10, 0.79]]
)  # xyz of R, G, B, in columns
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
BRIGHT = 99.0  # percentile of luminance that is shown as white


def colour_matching(wavelengths: ArrayLike) -> NDArray[np.float64]:
    """The CIE 1931 2-degree colour matching functions x, y, z at `wavelengths` in nm, shape (3, wavelengths)."""
    nm = np.asarray(wavelengths, dtype=np.float64)

    def lobe(height: float, centre: float, below: float, above: float) -> NDArray[np.float64]:
        return height * np.exp(-0.5 * ((nm - centre) * np.where(nm < centre, below, above)) ** 2)

    return np.stack([np.sum([lobe(*values) for values in lobes], axis=0) for lobes in LOBES])


def covers_visible(wavelengths: ArrayLike) -> bool:
    """Whether bands at `wavelengths` (nm) see enough of the light that people see.

    From 430 nm or less to 670 nm or more, without a gap of more than 20 nm. What lies beyond holds 14 % of
    the function z, 4 % of x and 1 % of y. Unknown wavelengths (NaN) cover nothing.
    """
    nm = np.sort(np.asarray(wavelengths, dtype=np.float64))
    if nm.size < 2 or not np.isfinite(nm).all() or nm[0] > FIRST or nm[-1] < LAST:
        return False
    visible = nm[(nm >= FIRST - WIDEST_GAP) & (nm <= LAST + WIDEST_GAP)]
    return bool(np.diff(visible).max(initial=np.inf if visible.size < 2 else 0) <= WIDEST_GAP)


def to_xyz(cube: ArrayLike, wavelengths: ArrayLike) -> NDArray[np.float64]:
    """Tristimulus values of every pixel, so that a spectrum of ones has (1, 1, 1).

    The sum over bands of value x colour matching function x band width, over the same sum for ones. A width
    reaches half-way to either neighbour (at the ends, as far outwards), so bands may be spaced unevenly. Each of
    X, Y, Z is scaled by itself: a sensor that misses one end of the spectrum still shows a flat spectrum
    without colour.

    Parameters
    ----------
    cube : array, shape (bands, height, width)
        Reflectances, or radiances in any unit.
    wavelengths : array, shape (bands,)
        Band centres in nm, increasing.

    Returns
    -------
    ndarray of float64, shape (height, width, 3)

    Raises
    ------
    HsisrError
        Shapes that do not fit, or bands that do not cover what people see (see `covers_visible`).
    """
    values, nm = _checked(cube, wavelengths)
    if not covers_visible(nm):
        raise HsisrError(
            f"Colour needs bands from {FIRST:.0f} to {LAST:.0f} nm, at most {WIDEST_GAP:.0f} nm apart; "
            "use false_colour for this sensor."
        )
    weights = colour_matching(nm) * np.gradient(nm)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.einsum("cb,bhw->hwc", weights, values, optimize=True)


def to_srgb(xyz: ArrayLike, white: ArrayLike = (1.0, 1.0, 1.0)) -> NDArray[np.float64]:
    """sRGB of tristimulus values, for a screen whose white is D65.

    Parameters
    ----------
    xyz : array, shape (..., 3)
    white : array, shape (3,)
        The tristimulus values that become (1, 1, 1); the default is the light of equal energy. The eye's
        adaptation to it is Bradford's, as in colour management (ICC).

    Returns
    -------
    ndarray of float64, shape (..., 3)
        In [0, 1]. Colours that a screen cannot show are clipped channel by channel, which keeps neither
        their hue nor their brightness exactly. NaN stays NaN.
    """
    source = BRADFORD @ np.asarray(white, dtype=np.float64)
    adapt = np.linalg.inv(BRADFORD) @ np.diag(BRADFORD @ D65 / source) @ BRADFORD
    screen = PRIMARIES * np.linalg.solve(PRIMARIES, D65)  # columns add up to the white
    linear = np.asarray(xyz, dtype=np.float64) @ (np.linalg.inv(screen) @ adapt).T
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def true_colour(
    scene_or_cube: Scene | ArrayLike,
    wavelengths: ArrayLike | None = None,
    white: ArrayLike | None = None,
    luminance: float | None = None,
) -> tuple[NDArray[np.float64], str]:
    """A picture of a cube as an eye would see it; in false colour where the sensor cannot tell.

    Parameters
    ----------
    scene_or_cube : Scene, or array of shape (bands, height, width)
    wavelengths : array, shape (bands,), optional
        Band centres in nm. A Scene brings its own.
    white : array, shape (bands,), optional
        The spectrum that is shown without colour, for example that of the lamp in a cube of radiances. Default:
        flat, which is right for reflectances; radiances then keep the tint of their light.
    luminance : float, optional
        Luminance Y (1 for the white spectrum) that is shown as full brightness. Default: the 99th percentile of
        the picture. Give one number to several pictures that are compared.

    Returns
    -------
    rgb : ndarray of float64, shape (height, width, 3)
        In [0, 1], sRGB, or false colour.
    caption : str
        "CIE 1931", or the bands of `false_colour` with the word "false colour".

    Raises
    ------
    HsisrError
        Shapes that do not fit, a white that is dark, or a luminance that is not above 0.
    """
    cube, nm = _cube_and_wavelengths(scene_or_cube, wavelengths)
    if not covers_visible(nm):
        rgb, caption = false_colour(cube, nm)
        return rgb, f"false colour: {caption}"
    xyz = to_xyz(cube, nm)
    neutral = np.ones(3)
    if white is not None:
        spectrum = np.asarray(white, dtype=np.float64)
        neutral = to_xyz(spectrum.reshape(-1, 1, 1), nm)[0, 0]
        if not (neutral > 0).all():
            raise HsisrError(
                "white has no light in the visible range; expected a spectrum with values above 0."
            )
    if luminance is None:
        luminance = float(np.nanpercentile(xyz[..., 1], BRIGHT)) / neutral[1]
        luminance = luminance if luminance > 0 else 1.0  # a black picture
    elif not luminance > 0:
        raise HsisrError(f"luminance is {luminance!r}; expected a number above 0.")
    return to_srgb(xyz / luminance, neutral), "CIE 1931"


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
    cube, centres = _cube_and_wavelengths(scene_or_cube, wavelengths)
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


def _cube_and_wavelengths(
    scene_or_cube: Scene | ArrayLike, wavelengths: ArrayLike | None
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The cube and its band centres, unknown ones as NaN."""
    if isinstance(scene_or_cube, Scene):
        own = scene_or_cube.wavelengths
        return _checked(scene_or_cube.cube, own if wavelengths is None else wavelengths)
    cube = np.asarray(scene_or_cube)
    return _checked(cube, np.full(len(cube), np.nan) if wavelengths is None else wavelengths)


def _checked(cube: ArrayLike, wavelengths: ArrayLike) -> tuple[NDArray[Any], NDArray[np.float64]]:
    values, centres = np.asarray(cube), np.asarray(wavelengths, dtype=np.float64)
    if values.ndim != 3 or centres.shape != values.shape[:1]:
        raise HsisrError(
            f"The cube has shape {values.shape} with {centres.size} wavelengths; "
            "expected (bands, height, width) and one wavelength per band."
        )
    return values, centres
