"""From HR to LR as the paper's MATLAB scripts do it: bicubic `imresize` and the LR/HR pair.

Most bicubic resizers differ from MATLAB's at the image border or in the filter used for
shrinking, and the difference moves every number of the results table. Here the resize of one axis
is written as a matrix, so that it can be inspected, tested, and applied to whole batches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsisr_core.base.threads import thread_count
from hsisr_core.errors import HsisrError

if TYPE_CHECKING:
    from scipy import sparse

__all__ = ["SCALES", "bicubic", "check_scale", "imresize", "make_pair", "resize_matrix"]

SCALES = (2, 3, 4)
"""The factors r of the paper."""

_THREADED = 1_000_000  # values in and out of `imresize`, from where threads pay


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel with a = -0.5, the one MATLAB uses; zero for ``|x| > 2``."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


@lru_cache(maxsize=64)
def resize_matrix(length: int, out_length: int, scale: float) -> NDArray[np.float64]:
    """Matrix that resizes one axis as MATLAB's ``imresize(..., 'bicubic')`` does.

    Parameters
    ----------
    length, out_length : int
        Samples before and after.
    scale : float
        Ratio of the sampling rates. It sets where the samples lie and, below 1, how much wider the
        antialiasing kernel is; it can differ slightly from ``out_length / length``, for MATLAB
        rounds the output size up.

    Returns
    -------
    ndarray of float64, shape (length, out_length)
        ``signal @ matrix`` is the resized signal. Each column sums to 1. The array is shared by
        all callers and read-only: copy it before changing it or giving it to `torch.from_numpy`.

    References
    ----------
    Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 29, 1981.
    """
    stretch = min(scale, 1.0)
    width = 4.0 / stretch
    # Output sample i (from 0) lies at this input position; both grids share their outer edges.
    centres = (np.arange(out_length) + 0.5) / scale - 0.5
    taps = np.floor(centres - width / 2).astype(np.int64)[:, None] + np.arange(math.ceil(width) + 2)
    weights = _cubic(stretch * (centres[:, None] - taps))
    weights /= weights.sum(axis=1, keepdims=True)
    # Symmetric border: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ...
    folded = taps % (2 * length)
    folded = np.where(folded < length, folded, 2 * length - 1 - folded)
    matrix = np.zeros((length, out_length))
    np.add.at(matrix, (folded, np.arange(out_length)[:, None]), weights)
    matrix.flags.writeable = False
    return matrix


@lru_cache(maxsize=64)
def _resizer(length: int, out_length: int, scale: float) -> sparse.csr_array:
    """`resize_matrix` transposed, as a sparse matrix: a few taps of each row are not zero."""
    from scipy import sparse  # not above: it takes memory that reading a scene does not need

    return sparse.csr_array(resize_matrix(length, out_length, scale).T)


def _output_grid(
    shape: tuple[int, int], scale: float | None, size: Sequence[int] | None
) -> tuple[tuple[int, int], tuple[float, float]]:
    """Check `scale` and `size`; return the output (height, width) and the scale of each axis."""
    if (scale is None) == (size is None):
        raise HsisrError("imresize needs exactly one of scale and size; give one of them.")
    if scale is not None:
        if isinstance(scale, bool) or not isinstance(scale, Real) or not math.isfinite(scale) or scale <= 0:
            raise HsisrError(f"scale is {scale!r}; expected a finite number above 0, for example 0.5 or 2.")
        factor = float(scale)
        return (math.ceil(shape[0] * factor), math.ceil(shape[1] * factor)), (factor, factor)
    try:
        height, width = size  # type: ignore[misc]  # a number or text ends below, with a sentence
        whole = all(
            isinstance(side, int | np.integer) and not isinstance(side, bool) for side in (height, width)
        )
    except (TypeError, ValueError):
        whole = False
    if not whole or height < 1 or width < 1:
        raise HsisrError(f"size is {size!r}; expected two whole numbers above 0: (height, width).")
    return (int(height), int(width)), (int(height) / shape[0], int(width) / shape[1])


def imresize(
    cube: ArrayLike, scale: float | None = None, size: Sequence[int] | None = None
) -> NDArray[np.floating[Any]]:
    """Resize the last two axes as MATLAB's ``imresize(cube, scale, 'bicubic')`` does.

    Bicubic kernel with a = -0.5, widened against aliasing when shrinking, symmetric border,
    computed in double precision, on PyTorch's threads. Values are not clipped: near edges they overshoot.

    Parameters
    ----------
    cube : array, shape (..., height, width)
    scale : float, optional
        Factor of both axes; the output has ``ceil(height * scale)`` by ``ceil(width * scale)``
        pixels, in floating point as in MATLAB.
    size : (int, int), optional
        Output (height, width) instead of `scale`; the factor of each axis is then output / input.

    Returns
    -------
    ndarray, shape (..., out_height, out_width)
        float32 if `cube` is float32, else float64.

    Raises
    ------
    HsisrError
        Both or none of `scale` and `size`; a scale that is no finite number above 0; a size that
        is not two whole numbers above 0; a cube that is not numeric, has fewer than two axes, no
        pixels, or holds NaN or inf.

    Examples
    --------
    >>> imresize(np.arange(4.0).reshape(1, 4), size=(1, 2))
    array([[0.4609375, 2.5390625]])
    """
    values = np.asarray(cube)
    if values.dtype.kind not in "fiu":
        raise HsisrError(f"The cube has values of type {values.dtype}; expected real numbers.")
    if values.ndim < 2 or 0 in values.shape:
        raise HsisrError(
            f"The cube has shape {values.shape}; expected (..., height, width) with pixels in it."
        )
    out_size, scales = _output_grid((values.shape[-2], values.shape[-1]), scale, size)
    if not np.isfinite(values).all():
        raise HsisrError("The cube holds NaN or inf; mask or replace these values before resizing.")
    rows = _resizer(values.shape[-2], out_size[0], scales[0])
    columns = _resizer(values.shape[-1], out_size[1], scales[1])
    out = np.empty((*values.shape[:-2], *out_size), np.float32 if values.dtype == np.float32 else np.float64)

    # One image at a time: it stays in the cache, and no double-precision copy of the cube is made.
    def resize(index: tuple[int, ...]) -> None:
        image = values[index].astype(np.float64)
        # As MATLAB: the axis that shrinks most (or grows least) first, so the second has less to do.
        if scales[0] <= scales[1]:
            out[index] = (columns @ (rows @ image).T).T
        else:
            out[index] = rows @ (columns @ image.T).T

    images = list(np.ndindex(values.shape[:-2]))
    threads = min(thread_count(), len(images))
    if threads == 1 or values.size + out.size < _THREADED:
        for index in images:
            resize(index)
    else:  # sparse products release Python's lock; what each image becomes does not depend on the threads
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(resize, images))
    return out


def check_scale(scale: object) -> int:
    """Return `scale` as an int; HsisrError unless it is one of the paper's factors, 2, 3 and 4."""
    if isinstance(scale, bool) or not isinstance(scale, int | np.integer) or scale not in SCALES:
        raise HsisrError(f"scale is {scale!r}; expected one of the whole numbers 2, 3 and 4.")
    return int(scale)


def make_pair(hr: ArrayLike, scale: int) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
    """Degrade an HR cube to its LR partner (paper, Section IV-B; MATLAB's ``imresize``).

    HR is cropped at the bottom and right to a multiple of `scale`, then reduced. No blur and no
    noise are added. LR is not clipped, as in the authors' scripts: it can leave [0, 1] slightly.

    Parameters
    ----------
    hr : array of float, shape (bands, height, width)
    scale : {2, 3, 4}

    Returns
    -------
    lr : ndarray, shape (bands, height // scale, width // scale)
    hr : ndarray, shape (bands, scale * (height // scale), scale * (width // scale))
        The crop that belongs to `lr`. Both have the dtype of the given `hr`.

    Raises
    ------
    HsisrError
        `scale` is not 2, 3 or 4; `hr` is not a 3-D array of float32 or float64, is smaller than
        `scale` pixels, or holds NaN or inf.
    """
    scale = check_scale(scale)
    cube = np.asarray(hr)
    if cube.ndim != 3:
        raise HsisrError(f"The HR cube has shape {cube.shape}; expected (bands, height, width).")
    if cube.dtype not in (np.float32, np.float64):
        raise HsisrError(
            f"The HR cube has values of type {cube.dtype}; expected float32 or float64 in [0, 1]. "
            "Divide counts by their full range first."
        )
    height, width = (side // scale * scale for side in cube.shape[1:])
    if 0 in (height, width):
        raise HsisrError(f"The HR cube has shape {cube.shape}; expected at least {scale} by {scale} pixels.")
    cube = np.ascontiguousarray(cube[:, :height, :width])
    return imresize(cube, scale=1 / scale), cube


def bicubic(lr: ArrayLike, scale: int) -> NDArray[np.floating[Any]]:
    """Bicubic interpolation of an LR cube by `scale`, the paper's first baseline; not clipped.

    Parameters
    ----------
    lr : array, shape (..., height, width)
    scale : {2, 3, 4}

    Returns
    -------
    ndarray, shape (..., scale * height, scale * width)
        float32 if `lr` is float32, else float64.

    Raises
    ------
    HsisrError
        `scale` is not 2, 3 or 4, or `lr` cannot be resized (see `imresize`).
    """
    return imresize(lr, scale=check_scale(scale))
