"""From HR to LR as the paper's MATLAB scripts do it: bicubic `imresize`.

Most bicubic resizers differ from MATLAB's at the image border or in the filter
used for shrinking, and the difference moves every number of the results table.
Here the resize of one axis is a matrix, which can be inspected and tested.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from numbers import Integral, Real
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsisr_core.base import thread_count
from hsisr_core.errors import HsisrError

SCALES = (2, 3, 4)
"""The factors r of the paper."""
Scale = Literal[2, 3, 4, 8]
"""The factors that are possible here."""

# of the kernel of `blur_cube`, in pixels: 7 x 7
_BLUR_RADIUS = 3
# Values in and out of `imresize`, from where threads pay.
_THREADED = 1_000_000

_Array = NDArray[np.floating[Any]]


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic kernel with a = -0.5, as MATLAB; zero for ``|x| > 2``."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


@lru_cache(maxsize=64)
def resize_matrix(length: int, out_length: int, scale: float) -> _Array:
    """Matrix that resizes one axis as MATLAB's ``imresize(..., 'bicubic')``.

    Parameters
    ----------
    length, out_length : int
        Samples before and after.
    scale : float
        Ratio of the sampling rates. It sets where the samples lie and, below
        1, how much wider the antialiasing kernel is; it can differ slightly
        from ``out_length / length``, for MATLAB rounds the output size up.

    Returns
    -------
    ndarray of float64, shape (length, out_length)
        ``signal @ matrix`` is the resized signal. Each column sums to 1. The
        array is shared by all callers and read-only: copy it before changing
        it or giving it to `torch.from_numpy`.

    References
    ----------
    Keys, "Cubic convolution interpolation for digital image processing", 1981.
    """
    stretch = min(scale, 1.0)
    width = 4.0 / stretch
    # Output sample i (from 0) lies at this input position; both grids share
    # their outer edges.
    centres = ((np.arange(out_length) + 0.5) / scale - 0.5)[:, None]
    first = np.floor(centres - width / 2).astype(np.int64)
    taps = first + np.arange(math.ceil(width) + 2)
    weights = _cubic(stretch * (centres - taps))
    weights /= weights.sum(axis=1, keepdims=True)
    # Symmetric border: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ...
    folded = taps % (2 * length)
    folded = np.where(folded < length, folded, 2 * length - 1 - folded)
    matrix = np.zeros((length, out_length))
    np.add.at(matrix, (folded, np.arange(out_length)[:, None]), weights)
    matrix.flags.writeable = False
    return matrix


@lru_cache(maxsize=64)
def _resizer(length: int, out_length: int, scale: float) -> Any:
    """`resize_matrix` transposed and sparse: few taps of a row are not 0."""
    # Not above: it takes memory that reading a scene does not need.
    from scipy import sparse

    return sparse.csr_array(resize_matrix(length, out_length, scale).T)


def imresize(
    cube: ArrayLike,
    scale: float | None = None,
    size: Sequence[int] | None = None,
) -> _Array:
    """Resize the last two axes as MATLAB's ``imresize(..., 'bicubic')`` does.

    Bicubic kernel with a = -0.5, widened against aliasing when shrinking,
    symmetric border, computed in double precision, in threads. Not clipped:
    values overshoot near edges. Gives float32 for float32, else float64.

    Parameters
    ----------
    cube : array, shape (..., height, width)
        HsisrError unless it is numeric, with pixels, without NaN and inf.
    scale : float, optional
        Factor of both axes; the output has ``ceil(height * scale)`` by
        ``ceil(width * scale)`` pixels, in floating point as in MATLAB.
    size : (int, int), optional
        Output (height, width) instead of `scale`.

    Examples
    --------
    >>> imresize(np.arange(4.0).reshape(1, 4), size=(1, 2))
    array([[0.4609375, 2.5390625]])
    """
    values = np.asarray(cube)
    shape, dtype = values.shape, values.dtype
    if dtype.kind not in "fiu":
        raise HsisrError(f"The cube has type {dtype}; give real numbers.")
    if values.ndim < 2 or 0 in shape:
        raise HsisrError(f"The cube's shape is {shape}; give (height, width).")
    if (scale is None) == (size is None):
        raise HsisrError("imresize needs exactly one of scale and size.")
    if size is None:
        if not isinstance(scale, Real) or not 0 < scale < math.inf:
            raise HsisrError(f"scale is {scale!r}; give a number above 0.")
        factors = float(scale), float(scale)
        height, width = (math.ceil(side * factors[0]) for side in shape[-2:])
    else:
        pair = isinstance(size, Sequence) and len(size) == 2
        if not pair or any(not isinstance(n, Integral) or n < 1 for n in size):
            raise HsisrError(f"size is {size!r}; give (height, width).")
        height, width = size
        factors = height / shape[-2], width / shape[-1]
    if not np.isfinite(values).all():
        raise HsisrError("The cube holds NaN or inf; replace them first.")
    rows = _resizer(shape[-2], height, factors[0])
    columns = _resizer(shape[-1], width, factors[1])
    out_dtype = np.float32 if dtype == np.float32 else np.float64
    out = np.empty((*shape[:-2], height, width), out_dtype)

    # One image at a time: it stays in the cache, and no double-precision copy
    # of the cube is made.
    def resize(index: tuple[int, ...]) -> None:
        image = values[index].astype(np.float64)
        # as MATLAB: the axis that shrinks most (or grows least) first
        if factors[0] <= factors[1]:
            out[index] = (columns @ (rows @ image).T).T
        else:
            out[index] = rows @ (columns @ image.T).T

    images = list(np.ndindex(shape[:-2]))
    threads = min(thread_count(), len(images))
    if threads == 1 or values.size + out.size < _THREADED:
        list(map(resize, images))
    else:
        # Sparse products release Python's lock.
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(resize, images))
    return out


def blur_cube(cube: _Array, blur: float | None) -> _Array:
    """MATLAB's ``imfilter(cube, fspecial('gaussian', 7, blur), 'replicate')``
    of the last two axes; None: the cube itself.

    That border is the default of `imgaussfilt`, and of public scripts for the
    "BD" degradation of Zhang et al., "Residual dense network for image
    super-resolution", CVPR 2018; the default of `imfilter` darkens it.
    """
    if blur is None:
        return cube
    from scipy.ndimage import gaussian_filter

    options = {"radius": _BLUR_RADIUS, "mode": "nearest", "axes": (-2, -1)}
    return np.asarray(gaussian_filter(cube, blur, **options))


def shrink_mask(
    mask: NDArray[np.bool_],
    scale: float,
    blur: float | None = None,
) -> NDArray[np.bool_]:
    """Which pixels of ``imresize(blur_cube(image, blur), scale)`` come from
    `mask` (height, width) alone: no weight of the kernels is outside it."""
    if blur is not None:
        from scipy.ndimage import minimum_filter

        mask = minimum_filter(mask, 2 * _BLUR_RADIUS + 1, mode="nearest")
    sides = (math.ceil(side * scale) for side in mask.shape)
    rows, columns = (
        (_resizer(side, out, scale) != 0).astype(np.float64)
        for side, out in zip(mask.shape, sides, strict=True)
    )
    outside = (~mask).astype(np.float64)
    touched: NDArray[np.float64] = columns @ (rows @ outside).T
    return touched.T == 0


def check_scale(scale: Any) -> int:
    """`scale` as an int; HsisrError unless it is one of `Scale`."""
    if not isinstance(scale, Integral) or scale not in get_args(Scale):
        raise HsisrError(f"scale is {scale!r}; expected 2, 3, 4 or 8.")
    return int(scale)


def make_pair(
    hr: ArrayLike,
    scale: int,
    blur: float | None = None,
) -> tuple[_Array, _Array]:
    """Degrade an HR cube to its LR partner (paper, Section IV-B).

    HR (bands, height, width) is cropped at the bottom and right to a multiple
    of `scale`, blurred if `blur` is given (see `blur_cube`; the paper does
    not), then reduced. No noise is added. LR is not clipped, as in the
    authors' scripts: it can leave [0, 1] slightly.

    Returns LR (bands, height // scale, width // scale) and the crop of HR
    that belongs to it, both in the dtype of `hr`. HsisrError: `scale` is not
    one of `Scale`; `hr` is not a 3-D array of float32 or float64, has fewer
    than `scale` pixels a side, or holds NaN or inf.
    """
    scale = check_scale(scale)
    cube = np.asarray(hr)
    shape = cube.shape
    if cube.ndim != 3 or min(shape[1:]) < scale:
        raise HsisrError(
            f"The HR cube has shape {shape}; expected (bands, height, width), "
            f"at least {scale} by {scale} pixels."
        )
    if cube.dtype not in (np.float32, np.float64):
        raise HsisrError(
            f"The HR cube has values of type {cube.dtype}; expected float32 "
            "or float64 in [0, 1]. Divide counts by their full range first."
        )
    height, width = (side // scale * scale for side in shape[1:])
    cube = np.ascontiguousarray(cube[:, :height, :width])
    return imresize(blur_cube(cube, blur), scale=1 / scale), cube


def bicubic(lr: ArrayLike, scale: int) -> _Array:
    """The paper's first baseline: `imresize`; not clipped."""
    return imresize(lr, scale=check_scale(scale))
