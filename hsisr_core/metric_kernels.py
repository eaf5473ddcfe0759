"""The loops over all voxels behind `hsisr_core.metrics`: squared errors and angles in one pass, and SSIM's maps.

They run on PyTorch's threads. Squared errors and angles are computed in double precision. SSIM is computed in the
precision of the cubes: its filter is a matrix product per axis, and in single precision that costs less than half.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["WINDOW", "as_tensor", "errors_and_angles", "similarity"]

WINDOW = 11  # pixels, SSIM's Gaussian window
_SIGMA = 1.5  # pixels
_C1, _C2 = 0.01**2, 0.03**2  # (K L)^2 with L = 1
_PIXELS = 16384  # a step in `errors_and_angles`: small enough for the cache, large enough for threads
_BLOCK = 48  # pixels that one product of `similarity` filters


def as_tensor(cube: NDArray[np.floating[Any]]) -> Tensor:
    """`cube` as a tensor on the same memory; a copy where PyTorch cannot share it (read-only or reversed)."""
    shared = cube.flags.writeable and all(stride >= 0 for stride in cube.strides)
    return torch.from_numpy(cube if shared else cube.copy())


def errors_and_angles(
    sr: Tensor, hr: Tensor
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Mean squared error of each band, angle of each pixel's spectra, and where HR's spectrum is not zero.

    Parameters
    ----------
    sr, hr : Tensor, shape (bands, height, width)

    Returns
    -------
    errors : ndarray, shape (bands,)
    angles : ndarray, shape (pixels,)
        In radians. pi / 2 where SR's spectrum alone is zero; without meaning where HR's is.
    lit : ndarray of bool, shape (pixels,)
    """
    bands = len(sr)
    sr_pixels, hr_pixels = sr.reshape(bands, -1), hr.reshape(bands, -1)
    pixels = sr_pixels.shape[1]
    errors = torch.zeros(bands, dtype=torch.float64)
    angles = torch.empty(pixels, dtype=torch.float64)
    lit = torch.empty(pixels, dtype=torch.bool)
    for start in range(0, pixels, _PIXELS):
        part = slice(start, start + _PIXELS)
        # always copies: y is changed below
        x, y = (side[:, part].to(torch.float64, copy=True) for side in (sr_pixels, hr_pixels))
        scratch = x - y
        errors += scratch.square_().sum(dim=1)
        x_norm = torch.mul(x, x, out=scratch).sum(dim=0).sqrt_()
        y_norm = torch.mul(y, y, out=scratch).sum(dim=0).sqrt_()
        x_dark, y_dark = x_norm == 0, y_norm == 0
        x_norm[x_dark] = 1
        y_norm[y_dark] = 1
        # The chord between the unit vectors, |x - y |x|/|y|| / |x|, keeps small angles exact where arccos of
        # a number near 1 loses half the digits.
        y *= x_norm / y_norm
        y -= x
        chord = y.square_().sum(dim=0).sqrt_().div_(x_norm)
        angles[part] = chord.div_(2).clamp_(max=1).arcsin_().mul_(2)
        angles[part][x_dark] = torch.pi / 2
        lit[part] = ~y_dark
    return (errors / pixels).numpy(), angles.numpy(), lit.numpy()


@lru_cache(maxsize=16)
def _window_matrix(outputs: int, dtype: torch.dtype) -> Tensor:
    """SSIM's Gaussian window on each of `outputs` neighbours, shape (outputs, outputs + WINDOW - 1)."""
    window = np.exp(-(np.arange(-(WINDOW // 2), WINDOW // 2 + 1) ** 2) / (2 * _SIGMA**2))
    matrix = np.zeros((outputs, outputs + WINDOW - 1))
    for row in range(outputs):
        matrix[row, row : row + WINDOW] = window / window.sum()
    return torch.tensor(matrix, dtype=dtype)


def _blocks(length: int) -> list[tuple[slice, slice]]:
    """Slices of the outputs and inputs of each matrix product along an axis of `length` pixels."""
    outputs = length - WINDOW + 1
    ends = [(start, min(start + _BLOCK, outputs)) for start in range(0, outputs, _BLOCK)]
    return [(slice(start, stop), slice(start, stop + WINDOW - 1)) for start, stop in ends]


def similarity(sr: Tensor, hr: Tensor) -> float:
    """Mean structural similarity of two cubes (bands, height, width), each side at least `WINDOW` pixels.

    With s = x + y and d = x - y the formula needs the filtered s, d, s^2 and d^2 alone: twice the means' product
    is (E[s]^2 - E[d]^2) / 2, the sum of their squares (E[s]^2 + E[d]^2) / 2, and so with the (co)variances.
    """
    height, width = sr.shape[1:]
    out_height, out_width = height - WINDOW + 1, width - WINDOW + 1
    dtype = torch.promote_types(sr.dtype, hr.dtype)
    # the four maps side by side in a row: one product filters all of them
    maps = torch.empty(height, 4, width, dtype=dtype)
    rows = torch.empty(out_height, 4, width, dtype=dtype)
    both = torch.empty(out_height, 4, out_width, dtype=dtype)
    total = 0.0
    for x, y in zip(sr.to(dtype), hr.to(dtype), strict=True):
        torch.add(x, y, out=maps[:, 0])
        torch.sub(x, y, out=maps[:, 1])
        torch.mul(maps[:, :2], maps[:, :2], out=maps[:, 2:])
        for out, inputs in _blocks(height):
            window = _window_matrix(out.stop - out.start, dtype)
            torch.mm(window, maps[inputs].flatten(1), out=rows[out].flatten(1))
        for out, inputs in _blocks(width):
            window = _window_matrix(out.stop - out.start, dtype)
            torch.mm(rows.flatten(0, 1)[:, inputs], window.T, out=both.flatten(0, 1)[:, out])
        total += float(_map(both).sum(dtype=torch.float64))
    return total / (len(sr) * out_height * out_width)


def _map(filtered: Tensor) -> Tensor:
    """SSIM of each pixel from the filtered (s, d, s^2, d^2) on axis 1, which are overwritten."""
    s, d, ss, dd = filtered.unbind(1)
    s.square_()
    d.square_()
    ss.sub_(s)  # variances
    dd.sub_(d)
    result = (s - d).add_(2 * _C1).mul_((ss - dd).add_(2 * _C2))
    s.add_(d).add_(2 * _C1)
    s.mul_(ss.add_(dd).add_(2 * _C2))
    return result.div_(s)
