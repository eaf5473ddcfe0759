"""How close a super-resolved cube is to its reference: PSNR, SSIM, SAM, RMSE and ERGAS.

Cubes are (bands, height, width) with values in [0, 1]. Everything is computed in float64, except SSIM of two
float32 cubes, which is computed in float32 and right to about 1e-7. The definitions are those of the paper's
Section IV-C as the authors' scripts compute them; where the literature uses another one under the same name,
the docstring says so.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hsisr_core.errors import HsisrError
from hsisr_core.metric_kernels import WINDOW, as_tensor, errors_and_angles, extremes, similarity

__all__ = ["ergas", "mpsnr", "psnr", "rmse", "sam", "score", "ssim"]

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
        if not all(map(math.isfinite, extremes(cube))):  # a NaN is handed on by both: no array of flags
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
    sr_cube, hr_cube = _checked_pair(sr, hr)
    return _ssim(as_tensor(sr_cube), as_tensor(hr_cube))


def _ssim(sr: Tensor, hr: Tensor, clip: bool = False) -> float:
    height, width = sr.shape[1:]
    if min(height, width) < WINDOW:
        raise HsisrError(
            f"SSIM needs at least {WINDOW} by {WINDOW} pixels and the cubes are {height} by {width}; "
            "score a larger region."
        )
    return similarity(sr, hr, clip)


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
    sr_cube, hr_cube = _checked_pair(sr, hr)
    _, angles, lit = errors_and_angles(as_tensor(sr_cube), as_tensor(hr_cube))
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
    low, high = extremes(hr_cube)
    if low == high == 0:
        raise HsisrError("HR is zero everywhere; there is nothing to score. Check how it was read.")
    if low < -0.5 or high > 1.5:
        raise HsisrError(f"HR spans {low:g} to {high:g}; expected [0, 1]. Divide it by its full range first.")
    sr_values, hr_values = as_tensor(sr_cube), as_tensor(hr_cube)
    band_mse, angles, lit = errors_and_angles(sr_values, hr_values, clip=True)
    return {
        "psnr": float(_decibel(band_mse.mean())),
        "mpsnr": float(_decibel(band_mse).mean()),
        "ssim": _ssim(sr_values, hr_values, clip=True),
        "sam": math.degrees(angles[lit].mean()),
        "rmse": math.sqrt(band_mse.mean()),
        "ergas": _ergas(band_mse, hr_cube, scale),
        "zero_pixels": int(angles.size - lit.sum()),
    }
