"""How close a super-resolved cube is to its reference: PSNR, SSIM, SAM, RMSE and ERGAS.

Cubes are (bands, height, width) with values in [0, 1]; everything is computed in float64. The
definitions are those of the paper's Section IV-C as the authors' scripts compute them; where the
literature uses another one under the same name, the docstring says so.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsisr_core.errors import HsisrError

__all__ = ["ergas", "mpsnr", "psnr", "rmse", "sam", "score", "ssim"]

_WINDOW = 11  # pixels, SSIM's Gaussian window
_SIGMA = 1.5  # pixels
_C1, _C2 = 0.01**2, 0.03**2  # (K L)^2 with L = 1
# Steps small enough for the processor's cache: rows per step in `_ssim`, pixels per step in `_angles`.
_ROWS, _PIXELS = 32, 4096

_Cube = NDArray[np.floating[Any]]


def _as_cube(value: ArrayLike, name: str) -> _Cube:
    """`value` as a float array, or HsisrError; float32 stays float32 to save memory."""
    try:
        cube = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise HsisrError(f"{name} cannot be read as an array ({error}); give a NumPy array.") from error
    if cube.dtype.kind not in "fiub":
        raise HsisrError(f"{name} has values of type {cube.dtype}; expected real numbers in [0, 1].")
    return cube if cube.dtype in (np.float32, np.float64) else cube.astype(np.float64)


def _checked_pair(sr: ArrayLike, hr: ArrayLike) -> tuple[_Cube, _Cube]:
    """Both cubes as arrays, or HsisrError: every metric needs the same things of its input."""
    sr_cube, hr_cube = _as_cube(sr, "SR"), _as_cube(hr, "HR")
    if sr_cube.shape != hr_cube.shape or sr_cube.ndim != 3 or 0 in sr_cube.shape:
        raise HsisrError(
            f"SR has shape {sr_cube.shape} and HR {hr_cube.shape}; expected the same (bands, height, width). "
            "Crop HR to a multiple of the scale first (make_pair does)."
        )
    for name, cube in (("SR", sr_cube), ("HR", hr_cube)):
        if not np.isfinite(cube).all():
            raise HsisrError(f"{name} of shape {cube.shape} holds NaN or inf; there is no score for it.")
    return sr_cube, hr_cube


def _band_mse(sr: _Cube, hr: _Cube) -> NDArray[np.float64]:
    """Mean squared error of each band, shape (bands,)."""
    return np.array(
        [np.square(np.subtract(a, b, dtype=np.float64)).mean() for a, b in zip(sr, hr, strict=True)]
    )


def _decibel(mse: NDArray[np.float64]) -> NDArray[np.float64]:
    """PSNR of mean squared errors, peak 1; inf where the error is 0."""
    with np.errstate(divide="ignore"):
        return -10 * np.log10(mse)


def psnr(sr: ArrayLike, hr: ArrayLike) -> float:
    """Peak signal-to-noise ratio over the whole cube, in dB, peak 1.

    One mean squared error is taken over all bands and pixels. This is the column to hold against
    the paper; many other papers report `mpsnr`.

    Parameters
    ----------
    sr, hr : array, shape (bands, height, width)
        Not clipped here.

    Returns
    -------
    float
        inf for identical cubes.

    Raises
    ------
    HsisrError
        The cubes are not 3-D, differ in shape, or hold NaN or inf.

    Examples
    --------
    >>> psnr(np.full((2, 4, 4), 0.6), np.full((2, 4, 4), 0.5))
    20.0
    """
    return float(_decibel(_band_mse(*_checked_pair(sr, hr)).mean()))


def mpsnr(sr: ArrayLike, hr: ArrayLike) -> float:
    """Mean over the bands of each band's PSNR, in dB, peak 1; see `psnr` for input and errors.

    Never below `psnr`: a band that is nearly right raises this mean more than a bad one lowers it.
    inf as soon as one band is identical.
    """
    return float(_decibel(_band_mse(*_checked_pair(sr, hr))).mean())


def rmse(sr: ArrayLike, hr: ArrayLike) -> float:
    """Root mean squared error over the whole cube, in the cubes' units; see `psnr` for errors."""
    return math.sqrt(_band_mse(*_checked_pair(sr, hr)).mean())


def ergas(sr: ArrayLike, hr: ArrayLike, scale: float) -> float:
    r"""Relative dimensionless global error: :math:`\frac{100}{r}\sqrt{\mathrm{mean}_b(rmse_b^2 / mean_b^2)}`.

    Parameters
    ----------
    sr, hr : array, shape (bands, height, width)
    scale : float
        The factor r between HR and LR.

    Returns
    -------
    float
        0 for identical cubes. A band whose HR mean is 0 has no relative error and is left out; if
        all are, the result is nan.

    Raises
    ------
    HsisrError
        As `psnr`; or `scale` is no finite number above 0.

    References
    ----------
    Wald, "Quality of high resolution synthesised images: is there a simple criterion?", 2000.
    """
    sr_cube, hr_cube = _checked_pair(sr, hr)
    return _ergas(_band_mse(sr_cube, hr_cube), hr_cube, scale)


def _ergas(band_mse: NDArray[np.float64], hr: _Cube, scale: float) -> float:
    if isinstance(scale, bool) or not isinstance(scale, Real) or not math.isfinite(scale) or scale <= 0:
        raise HsisrError(f"scale is {scale!r}; expected the factor between HR and LR, for example 2.")
    means = hr.mean(axis=(1, 2), dtype=np.float64)
    lit = means != 0
    if not lit.any():
        return math.nan
    return 100 / float(scale) * math.sqrt((band_mse[lit] / means[lit] ** 2).mean())


def _gaussian_taps() -> NDArray[np.float64]:
    """The six different weights of SSIM's window, outermost first and the centre last."""
    half = np.exp(-(np.arange(-(_WINDOW // 2), 1) ** 2) / (2 * _SIGMA**2))
    return half / (2 * half.sum() - half[-1])


_TAPS = _gaussian_taps()


def _gaussian_rows(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Filter axis 1 with SSIM's window, valid region: (maps, height, width) -> (maps, height - 10, width).

    Sums of shifted copies, opposite taps together: faster than a library's convolution in double
    precision, and independent of its threads.
    """
    last = _WINDOW - 1
    height = maps.shape[1] - last
    out = maps[:, last // 2 : last // 2 + height] * _TAPS[-1]
    pair = np.empty_like(out)
    for shift, weight in enumerate(_TAPS[:-1]):
        np.add(maps[:, shift : shift + height], maps[:, last - shift : last - shift + height], out=pair)
        pair *= weight
        out += pair
    return out


def _gaussian_columns(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """`_gaussian_rows` along axis 2."""
    return _gaussian_rows(maps.swapaxes(1, 2)).swapaxes(1, 2)


def ssim(sr: ArrayLike, hr: ArrayLike) -> float:
    """Structural similarity: mean over the bands and over each band's valid region.

    Gaussian window of 11x11 pixels with sigma 1.5, K = (0.01, 0.03), dynamic range 1, statistics
    weighted by the window (no sample correction). Only windows that lie inside the image count.

    Parameters
    ----------
    sr, hr : array, shape (bands, height, width)
        At least 11 pixels high and wide. Not clipped here.

    Returns
    -------
    float
        1 for identical cubes.

    Raises
    ------
    HsisrError
        As `psnr`; or a side is shorter than 11 pixels.

    References
    ----------
    Wang, Bovik, Sheikh and Simoncelli, IEEE Transactions on Image Processing 13(4), 2004.
    """
    return _ssim(*_checked_pair(sr, hr))


def _ssim(sr: _Cube, hr: _Cube) -> float:
    height, width = sr.shape[1:]
    if min(height, width) < _WINDOW:
        raise HsisrError(
            f"SSIM needs at least {_WINDOW} by {_WINDOW} pixels and the cubes are {height} by {width}; "
            "score a larger region."
        )
    margin = _WINDOW - 1
    total = 0.0
    for top in range(0, height - margin, _ROWS):
        strip = slice(top, min(top + _ROWS + margin, height))
        maps = np.empty((4, strip.stop - strip.start, width))
        for x, y in zip(sr[:, strip], hr[:, strip], strict=True):
            maps[0], maps[1] = x, y
            np.multiply(maps[0], maps[1], out=maps[2])
            # SSIM needs the two variances only as a sum, so x^2 + y^2 is filtered once.
            np.einsum("ihw,ihw->hw", maps[:2], maps[:2], out=maps[3])
            mean_x, mean_y, mean_xy, mean_squares = _gaussian_columns(_gaussian_rows(maps))
            product = mean_x * mean_y
            squares = mean_x * mean_x + mean_y * mean_y
            similarity = (2 * product + _C1) * (2 * (mean_xy - product) + _C2)
            similarity /= (squares + _C1) * (mean_squares - squares + _C2)
            total += float(similarity.sum())
    return total / (len(sr) * (height - margin) * (width - margin))


def _angles(sr: _Cube, hr: _Cube) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Angle of each pixel's spectra in radians, and where HR's spectrum is not zero; both (pixels,)."""
    x_all, y_all = sr.reshape(len(sr), -1), hr.reshape(len(hr), -1)
    angles = np.empty(x_all.shape[1])
    lit = np.empty(angles.shape, dtype=bool)
    for start in range(0, angles.size, _PIXELS):
        part = slice(start, start + _PIXELS)
        x, y = x_all[:, part].astype(np.float64), y_all[:, part].astype(np.float64)
        x_norm, y_norm = (np.sqrt(np.einsum("bp,bp->p", v, v)) for v in (x, y))
        x_dark, lit[part] = x_norm == 0, y_norm != 0
        x_norm[x_dark] = y_norm[~lit[part]] = 1
        x /= x_norm
        x -= np.divide(y, y_norm, out=y)
        # The chord between the unit vectors keeps small angles exact where arccos of a number
        # near 1 loses half the digits.
        chord = np.sqrt(np.einsum("bp,bp->p", x, x))
        angles[part] = np.where(x_dark, np.pi / 2, 2 * np.arcsin(np.minimum(chord / 2, 1)))
    return angles, lit


def sam(sr: ArrayLike, hr: ArrayLike) -> float:
    """Spectral angle mapper: mean angle between the spectra of SR and HR, in degrees.

    A pixel whose HR spectrum is zero in every band has no angle: it is left out of the mean (the
    authors' script counts it as 90 degrees, even where SR is zero too). Where only SR's spectrum
    is zero the angle is 90 degrees, for that is SR's error.

    Parameters
    ----------
    sr, hr : array, shape (bands, height, width)
        Not clipped here.

    Returns
    -------
    float
        0 for identical cubes, nan if every HR spectrum is zero.

    Raises
    ------
    HsisrError
        As `psnr`.

    References
    ----------
    Yuhas, Goetz and Boardman, "Discrimination among semi-arid landscape endmembers using the
    spectral angle mapper (SAM) algorithm", 1992. The chord form is `2 arcsin(|u - v| / 2)` for
    unit vectors u and v.

    Examples
    --------
    >>> hr = np.ones((2, 1, 1))
    >>> round(sam(np.array([1.0, 0.0]).reshape(2, 1, 1), hr), 6)
    45.0
    """
    angles, lit = _angles(*_checked_pair(sr, hr))
    return math.degrees(angles[lit].mean()) if lit.any() else math.nan


def score(sr: ArrayLike, hr: ArrayLike, scale: float = 1) -> dict[str, float]:
    """All metrics of one super-resolved cube, with SR clipped to [0, 1] first as the authors do.

    Parameters
    ----------
    sr, hr : array, shape (bands, height, width)
        HR in [0, 1], at least 11 pixels high and wide.
    scale : float
        The factor r between HR and LR, for ERGAS only.

    Returns
    -------
    dict
        ``psnr`` (dB), ``mpsnr`` (dB), ``ssim``, ``sam`` (degrees), ``rmse``, ``ergas``, and
        ``zero_pixels`` (int): how many pixels were left out of SAM because HR is zero there.
        Identical cubes give an infinite PSNR.

    Raises
    ------
    HsisrError
        As `psnr`, `ssim` and `ergas`; or HR is zero everywhere; or HR leaves [0, 1] by more than
        0.5, so that a peak of 1 would be wrong.
    """
    sr_cube, hr_cube = _checked_pair(sr, hr)
    low, high = float(hr_cube.min()), float(hr_cube.max())
    if low == high == 0:
        raise HsisrError("HR is zero everywhere; there is nothing to score. Check how it was read.")
    if low < -0.5 or high > 1.5:
        raise HsisrError(f"HR spans {low:g} to {high:g}; expected [0, 1]. Divide it by its full range first.")
    sr_cube = np.clip(sr_cube, 0, 1)
    band_mse = _band_mse(sr_cube, hr_cube)
    angles, lit = _angles(sr_cube, hr_cube)
    return {
        "psnr": float(_decibel(band_mse.mean())),
        "mpsnr": float(_decibel(band_mse).mean()),
        "ssim": _ssim(sr_cube, hr_cube),
        "sam": math.degrees(angles[lit].mean()),
        "rmse": math.sqrt(band_mse.mean()),
        "ergas": _ergas(band_mse, hr_cube, scale),
        "zero_pixels": int(angles.size - lit.sum()),
    }
