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

__all__ = ["WINDOW", "as_tensor", "errors_and_angles", "extremes", "similarity"]

WINDOW = 11  # pixels, SSIM's Gaussian window
_SIGMA = 1.5  # pixels
_C1, _C2 = 0.01**2, 0.03**2  # (K L)^2 with L = 1
_PIXELS = 8192  # a step in `errors_and_angles`: small enough for the cache, large enough for threads
_BLOCK = 24  # outputs of each matrix product in `similarity`


def as_tensor(cube: NDArray[np.floating[Any]]) -> Tensor:
    """`cube` as a tensor on the same memory; a copy where PyTorch cannot share it (read-only or reversed)."""
    shared = cube.flags.writeable and all(stride >= 0 for stride in cube.strides)
    return torch.from_numpy(cube if shared else cube.copy())


def extremes(cube: NDArray[np.floating[Any]]) -> tuple[float, float]:
    """Smallest and largest value; both NaN if one value is."""
    low, high = as_tensor(cube).aminmax()
    return low.item(), high.item()


def errors_and_angles(
    sr: Tensor, hr: Tensor, clip: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Mean squared error of each band, angle of each pixel's spectra, and where HR's spectrum is not zero.

    Parameters
    ----------
    sr, hr : Tensor, shape (bands, height, width)
    clip : bool
        Clip SR to [0, 1] first, a part at a time: a clipped copy of the cube costs more than clipping it.

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
    memory = torch.empty(3, bands * min(pixels, _PIXELS), dtype=torch.float64)
    for start in range(0, pixels, _PIXELS):
        part = slice(start, min(start + _PIXELS, pixels))
        x, y, scratch = memory[:, : bands * (part.stop - start)].unflatten(1, (bands, -1))
        x.copy_(sr_pixels[:, part])
        y.copy_(hr_pixels[:, part])
        if clip:
            x.clamp_(0, 1)
        torch.sub(x, y, out=scratch)
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


def _filter_down(image: Tensor, out: Tensor) -> None:
    """Filter (height, width) along the height into `out`, all blocks in one batched product and the rest in another."""
    blocks, rest = divmod(len(out), _BLOCK)
    if blocks:
        windows = image.unfold(0, _BLOCK + WINDOW - 1, _BLOCK)[:blocks].transpose(1, 2)
        matrix = _window_matrix(_BLOCK, out.dtype).expand(blocks, -1, -1)
        torch.bmm(matrix, windows, out=out[: blocks * _BLOCK].unflatten(0, (blocks, _BLOCK)))
    if rest:
        torch.mm(_window_matrix(rest, out.dtype), image[blocks * _BLOCK :], out=out[blocks * _BLOCK :])


def _filtered_across(image: Tensor) -> list[Tensor]:
    """Filter (height, width) along the width: the blocks (count, height, outputs) and the rest (1, height, outputs)."""
    blocks, rest = divmod(image.shape[1] - WINDOW + 1, _BLOCK)
    parts = []
    if blocks:
        windows = image.unfold(1, _BLOCK + WINDOW - 1, _BLOCK)[:, :blocks].transpose(0, 1)
        parts.append(windows @ _window_matrix(_BLOCK, image.dtype).T)
    if rest:
        parts.append((image[:, blocks * _BLOCK :] @ _window_matrix(rest, image.dtype).T)[None])
    return parts


def similarity(sr: Tensor, hr: Tensor, clip: bool = False) -> float:
    """Mean structural similarity of two cubes (bands, height, width), each side at least `WINDOW` pixels.

    With s = x + y and d = x - y the formula needs the filtered s, d, s^2 and d^2 alone: twice the means' product
    is (E[s]^2 - E[d]^2) / 2, the sum of their squares (E[s]^2 + E[d]^2) / 2, and so with the (co)variances.
    """
    height, width = sr.shape[1:]
    out_height, out_width = height - WINDOW + 1, width - WINDOW + 1
    dtype = torch.promote_types(sr.dtype, hr.dtype)
    c1, c2 = (torch.tensor(2 * constant, dtype=dtype) for constant in (_C1, _C2))
    maps = torch.empty(4, height, width, dtype=dtype)
    rows = torch.empty(4, out_height, width, dtype=dtype)
    total = 0.0
    for x, y in zip(sr.to(dtype), hr.to(dtype), strict=True):
        if clip:
            x = x.clamp(0, 1)
        torch.add(x, y, out=maps[0])
        torch.sub(x, y, out=maps[1])
        torch.addcmul(c2, maps[0], maps[0], out=maps[2])
        torch.mul(maps[1], maps[1], out=maps[3])
        for image, out in zip(maps, rows, strict=True):
            _filter_down(image, out)
        for part in _filtered_across(rows.flatten(0, 1)):
            total += float(_map(part.unflatten(1, (4, out_height)), c1).sum(dim=1).sum(dtype=torch.float64))
    return total / (len(sr) * out_height * out_width)


def _map(filtered: Tensor, c1: Tensor) -> Tensor:
    """SSIM of each pixel from the filtered (s, d, s^2 + 2 C2, d^2) on axis 1, which are overwritten; `c1` is 2 C1."""
    s, d, ss, dd = filtered.unbind(1)
    ss.addcmul_(s, s, value=-1)  # variances
    dd.addcmul_(d, d, value=-1)
    s2 = torch.addcmul(c1, s, s)
    d.square_()
    result = (s2 - d).mul_(ss - dd)
    return result.div_(s2.add_(d).mul_(ss.add_(dd)))
