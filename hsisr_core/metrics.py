"""How close a super-resolved cube is to its reference: PSNR, SSIM, SAM, RMSE and ERGAS.

Cubes are (bands, height, width) with values in [0, 1]. All is computed in float64, except SSIM of two float32 cubes
(float32, right to about 1e-7), as the authors' scripts compute what the paper's Section IV-C defines. Everywhere
`mask`, bool (height, width), leaves out the pixels where it is False, which may be NaN; of SSIM windows that touch one.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hsisr_core.errors import HsisrError

Mask = NDArray[np.bool_] | None

# pixels, SSIM's Gaussian window
WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2  # (K L)^2 with L = 1
_PIXELS = 8192  # a step in `_angles`: small enough for the cache, large enough for threads
_BLOCK = 24  # outputs of each matrix product in SSIM's filter


def psnr(sr: ArrayLike, hr: ArrayLike, mask: Mask = None) -> float:
    """Peak signal-to-noise ratio over the whole cube, in dB, peak 1.

    One mean squared error is taken over all bands and pixels, unclipped: the column to hold against the paper; many
    other papers report `mpsnr`. inf for identical cubes. HsisrError: the cubes are not 3-D, differ in shape, or hold
    NaN or inf; the mask is not bool (height, width), or leaves nothing.
    """
    return float(_decibel(_band_mse(*_checked_pair(sr, hr, mask)).mean()))


def mpsnr(sr: ArrayLike, hr: ArrayLike, mask: Mask = None) -> float:
    """Mean over the bands of each band's PSNR, in dB, peak 1; see `psnr` for input and errors.

    Never below `psnr`: a band that is nearly right raises this mean more than a bad one lowers it; inf if one is right.
    """
    return float(_decibel(_band_mse(*_checked_pair(sr, hr, mask))).mean())


def rmse(sr: ArrayLike, hr: ArrayLike, mask: Mask = None) -> float:
    """Root mean squared error over the whole cube, in the cubes' units; see `psnr` for errors."""
    return math.sqrt(_band_mse(*_checked_pair(sr, hr, mask)).mean())


def ergas(sr: ArrayLike, hr: ArrayLike, scale: float, mask: Mask = None) -> float:
    r"""Relative dimensionless global error: :math:`\frac{100}{r}\sqrt{\mathrm{mean}_b(rmse_b^2 / mean_b^2)}`.

    `scale` is the factor r between HR and LR. A band whose HR mean is 0 is left out; nan if all are. Wald, "Quality of
    high resolution synthesised images: is there a simple criterion?", 2000.
    """
    pair = _checked_pair(sr, hr, mask)
    return _ergas(_band_mse(*pair), pair[1], scale)


def ssim(sr: ArrayLike, hr: ArrayLike, mask: Mask = None) -> float:
    """Structural similarity: mean over the bands and over each band's valid region; 1 for identical cubes.

    Gaussian window of 11x11 pixels with sigma 1.5, K = (0.01, 0.03), dynamic range 1, no sample correction. Only
    windows inside the image count, so a side of less than 11 pixels is an error. Wang, Bovik, Sheikh and Simoncelli,
    IEEE Transactions on Image Processing 13(4), 2004.
    """
    _checked_pair(sr, hr, mask)
    return _ssim(sr, hr, mask)


def sam(sr: ArrayLike, hr: ArrayLike, mask: Mask = None) -> float:
    """Spectral angle mapper: mean angle between the spectra of SR and HR, in degrees.

    A pixel whose HR spectrum is zero has no angle and is left out (the authors' script counts it as 90 degrees, even
    where SR is zero too). Where SR's alone is zero the angle is 90 degrees. nan if every HR spectrum is zero. Yuhas,
    Goetz and Boardman, "Discrimination among semi-arid landscape endmembers using the SAM algorithm", 1992.

    Examples
    --------
    >>> hr = np.ones((2, 1, 1))
    >>> round(sam(np.array([1.0, 0.0]).reshape(2, 1, 1), hr), 6)
    45.0
    """
    angles, lit = _angles(*_checked_pair(sr, hr, mask))
    return math.degrees(angles[lit].mean()) if lit.any() else math.nan


def score(sr: ArrayLike, hr: ArrayLike, scale: float = 1, mask: Mask = None) -> dict[str, float]:
    """All metrics of one super-resolved cube, with SR clipped to [0, 1] first as the authors do.

    HR is in [0, 1], at least 11 pixels high and wide; `scale`, the factor r, is for ERGAS only; else as `psnr`.

    Returns ``psnr`` and ``mpsnr`` in dB, ``ssim``, ``sam`` in degrees, ``rmse``, ``ergas``, and ``zero_pixels``, how
    many were left out of SAM because HR is zero there. HsisrError: as `psnr`, `ssim` and `ergas`; or HR is zero
    everywhere, or leaves [0, 1] by more than 0.5.
    """
    sr_cube, hr_cube = _checked_pair(sr, hr, mask)
    low, high = (extreme.item() for extreme in hr_cube.aminmax())
    if low == high == 0:
        raise HsisrError("HR is zero everywhere; there is nothing to score. Check how it was read.")
    if low < -0.5 or high > 1.5:
        raise HsisrError(f"HR spans {low:g} to {high:g}; expected [0, 1]. Divide it by its full range first.")
    band_mse = _band_mse(sr_cube, hr_cube, clip=True)
    angles, lit = _angles(sr_cube, hr_cube, clip=True)
    return {
        "psnr": float(_decibel(band_mse.mean())),
        "mpsnr": float(_decibel(band_mse).mean()),
        "ssim": _ssim(sr, hr, mask, clip=True),
        "sam": math.degrees(angles[lit].mean()),
        "rmse": math.sqrt(band_mse.mean()),
        "ergas": _ergas(band_mse, hr_cube, scale),
        "zero_pixels": int(angles.size - lit.sum()),
    }


def score_maps(sr: ArrayLike, hr: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """Where in the image PSNR (``mse``), SSIM and SAM come from: maps (height, width), means over the bands.

    ``ssim`` is NaN in the outer 5 pixels, where no window fits, ``sam`` where HR's spectrum is zero.
    """
    x, y = (cube.double() for cube in _checked_pair(sr, hr))
    angles, lit = _angles(x, y)
    similarity = np.pad(_ssim_map(x, y), WINDOW // 2, constant_values=np.nan)
    degrees = np.where(lit, np.degrees(angles), np.nan).reshape(similarity.shape)
    return {"mse": (x - y).square().mean(dim=0).numpy(), "ssim": similarity, "sam": degrees}


def whole_windows(mask: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    """Where a window of `side` x `side` pixels can start so that `mask` is True in all of it."""
    missing = np.pad((~mask).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    return missing[side:, side:] - missing[side:, :-side] == missing[:-side, side:] - missing[:-side, :-side]


def _checked_pair(sr: ArrayLike, hr: ArrayLike, mask: Mask = None) -> tuple[Tensor, Tensor]:
    """Both cubes as tensors, or HsisrError; with a mask its pixels alone, in one row."""
    cubes = {name: _as_tensor(value, name) for name, value in (("SR", sr), ("HR", hr))}
    sr_shape, hr_shape = (tuple(cube.shape) for cube in cubes.values())
    if sr_shape != hr_shape or len(sr_shape) != 3 or 0 in sr_shape:
        raise HsisrError(
            f"SR has shape {sr_shape} and HR {hr_shape}; expected the same (bands, height, width). "
            "Crop HR to a multiple of the scale first (make_pair does)."
        )
    if mask is not None:
        if mask.shape != sr_shape[1:] or mask.dtype != np.bool_ or not mask.any():
            raise HsisrError(
                f"The mask is {mask.dtype} of shape {mask.shape}, True in {int(np.sum(mask))} pixels; expected bool of "
                f"shape {sr_shape[1:]}, True where a pixel is scored."
            )
        cubes = {name: cube[:, torch.tensor(mask)].unsqueeze(1) for name, cube in cubes.items()}
    for name, cube in cubes.items():
        # Both extremes are NaN if one value is: no array of flags.
        if not all(map(math.isfinite, cube.aminmax())):
            raise HsisrError(f"{name} of shape {sr_shape} holds NaN or inf; there is no score for it.")
    return cubes["SR"], cubes["HR"]


def _as_tensor(value: ArrayLike, name: str) -> Tensor:
    """`value` on the same memory; a copy if it is not of floats, or PyTorch cannot share it (read-only or reversed)."""
    cube = np.asarray(value)
    if cube.dtype.kind not in "fiub":
        raise HsisrError(f"{name} has values of type {cube.dtype}; expected real numbers in [0, 1].")
    if cube.dtype not in (np.float32, np.float64):
        cube = cube.astype(np.float64)
    shared = cube.flags.writeable and all(stride >= 0 for stride in cube.strides)
    return torch.from_numpy(cube if shared else cube.copy())


def _decibel(mse: NDArray[np.float64]) -> NDArray[np.float64]:
    """PSNR of mean squared errors, peak 1; inf where the error is 0."""
    with np.errstate(divide="ignore"):
        return -10 * np.log10(mse)


def _ergas(band_mse: NDArray[np.float64], hr: Tensor, scale: float) -> float:
    if isinstance(scale, bool | str) or not 0 < scale < math.inf:
        raise HsisrError(f"scale is {scale!r}; expected the factor between HR and LR, for example 2.")
    means = hr.numpy().mean(axis=(1, 2), dtype=np.float64)
    lit = means != 0
    if not lit.any():
        return math.nan
    return 100 / scale * math.sqrt((band_mse[lit] / means[lit] ** 2).mean())


def _band_mse(sr: Tensor, hr: Tensor, clip: bool = False) -> NDArray[np.float64]:
    """Mean squared error of each band; `clip` clips SR to [0, 1]."""
    pairs = ((x.double(), y.double()) for x, y in zip(sr, hr, strict=True))
    return np.array([((x.clamp(0, 1) if clip else x) - y).square_().mean().item() for x, y in pairs])


def _angles(sr: Tensor, hr: Tensor, clip: bool = False) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Angle of each pixel's spectra in radians, SR clipped to [0, 1] with `clip`, and where HR's is not zero."""
    angles, lit = [], []
    for x, y in zip(sr.flatten(1).split(_PIXELS, dim=1), hr.flatten(1).split(_PIXELS, dim=1), strict=True):
        # copies, for they are overwritten
        x, y = (part.to(torch.float64, copy=True, memory_format=torch.contiguous_format) for part in (x, y))
        if clip:
            x.clamp_(0, 1)
        x_norm, y_norm = (part.square().sum(dim=0).sqrt_() for part in (x, y))
        x_dark, y_dark = x_norm == 0, y_norm == 0
        x_norm[x_dark] = 1
        y_norm[y_dark] = 1
        # The angle is 2 arcsin of half the chord between the unit vectors, |x - y |x|/|y|| / |x|: small angles stay
        # exact, where arccos of a number near 1 loses half the digits.
        y *= x_norm / y_norm
        y -= x
        chord = y.square_().sum(dim=0).sqrt_().div_(x_norm)
        angles.append(chord.div_(2).clamp_(max=1).arcsin_().mul_(2).masked_fill_(x_dark, torch.pi / 2))
        lit.append(~y_dark)
    return torch.cat(angles).numpy(), torch.cat(lit).numpy()


def _ssim(sr: ArrayLike, hr: ArrayLike, mask: Mask, clip: bool = False) -> float:
    """Mean over bands and windows, with a mask over those inside it."""
    if mask is None:
        return float(_ssim_map(_as_tensor(sr, "SR"), _as_tensor(hr, "HR"), clip).mean(dtype=torch.float64))
    whole = whole_windows(mask, WINDOW)
    if not whole.any():
        raise HsisrError(f"No {WINDOW} by {WINDOW} pixels lie inside the mask: there is no SSIM.")
    # zero, for NaN would reach the windows beside it
    x, y = (_as_tensor(np.where(mask, cube, 0), "the cube") for cube in (sr, hr))
    return float(_ssim_map(x, y, clip)[torch.from_numpy(whole)].mean(dtype=torch.float64))


def _ssim_map(sr: Tensor, hr: Tensor, clip: bool = False) -> Tensor:
    """SSIM of each window, (height - 10, width - 10), mean over the bands."""
    # With s = x + y and d = x - y the formula needs the filtered s, d, s^2 and d^2 alone: twice the means' product
    # is (E[s]^2 - E[d]^2) / 2, the sum of their squares (E[s]^2 + E[d]^2) / 2, and so with the (co)variances.
    height, width = sr.shape[1:]
    if min(height, width) < WINDOW:
        raise HsisrError(f"SSIM needs {WINDOW} pixels a side; the cubes are {height} by {width}.")
    dtype = torch.promote_types(sr.dtype, hr.dtype)
    c1, c2 = (torch.tensor(2 * constant, dtype=dtype) for constant in (_C1, _C2))
    matrix = _window_matrix(dtype)
    overlap = WINDOW - 1
    # whole blocks of outputs along either axis: zeros beyond the image, and what comes of them is cut off
    down, across = (math.ceil((side - overlap) / _BLOCK) * _BLOCK for side in (height, width))
    maps = torch.zeros(4, down + overlap, across + overlap, dtype=dtype)
    inside = maps[:, :height, :width]
    rows = torch.empty(4, down, across + overlap, dtype=dtype)
    total: Any = 0
    for x, y in zip(sr.to(dtype), hr.to(dtype), strict=True):
        if clip:
            x = x.clamp(0, 1)
        torch.add(x, y, out=inside[0])
        torch.sub(x, y, out=inside[1])
        torch.addcmul(c2, inside[0], inside[0], out=inside[2])
        torch.mul(inside[1], inside[1], out=inside[3])
        # each axis in one batched product of all blocks
        for image, out in zip(maps, rows, strict=True):
            windows = image.unfold(0, _BLOCK + overlap, _BLOCK).transpose(1, 2)
            torch.bmm(matrix.expand(len(windows), -1, -1), windows, out=out.unflatten(0, (-1, _BLOCK)))
        windows = rows.flatten(0, 1).unfold(1, _BLOCK + overlap, _BLOCK).transpose(0, 1)
        total += _formula((windows @ matrix.T).unflatten(1, (4, down)), c1)
    return total.transpose(0, 1).flatten(1)[: height - overlap, : width - overlap] / len(sr)


def _formula(filtered: Tensor, c1: Tensor) -> Tensor:
    """SSIM from the filtered (s, d, s^2 + 2 C2, d^2) on axis 1, which are overwritten; `c1` is 2 C1."""
    s, d, ss, dd = filtered.unbind(1)
    ss.addcmul_(s, s, value=-1)
    dd.addcmul_(d, d, value=-1)
    s2 = torch.addcmul(c1, s, s)
    d.square_()
    result = (s2 - d).mul_(ss - dd)
    return result.div_(s2.add_(d).mul_(ss.add_(dd)))


@lru_cache
def _window_matrix(dtype: torch.dtype) -> Tensor:
    """SSIM's Gaussian window on each of `_BLOCK` neighbours, shape (_BLOCK, _BLOCK + WINDOW - 1)."""
    window = np.exp(-(np.arange(-(WINDOW // 2), WINDOW // 2 + 1) ** 2) / (2 * _SIGMA**2))
    matrix = np.zeros((_BLOCK, _BLOCK + WINDOW - 1))
    for row in range(_BLOCK):
        matrix[row, row : row + WINDOW] = window / window.sum()
    return torch.tensor(matrix, dtype=dtype)
