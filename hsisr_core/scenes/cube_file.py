"""A file that holds one cube: what is known of it before its values are read, and how they come in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hsisr_core.errors import HsisrError
from hsisr_core.scenes.scene import MINIMUM_SIDE, Georeference

__all__ = [
    "Block",
    "CubeFile",
    "Values",
    "array_blocks",
    "array_window",
    "divide",
    "find_band_axis",
    "read_values",
]

Block = tuple[slice, slice, slice, np.ndarray]
"""Bands, rows and columns of a part of the cube, and its values (bands, height, width)."""

_BLOCK_BYTES = 1 << 24  # 16 MiB: large enough for the disk, small beside a scene
_HELD_EXACTLY = {"uint8", "int8", "uint16", "int16", "float16", "float32"}  # by float32


@dataclass(frozen=True, eq=False)
class CubeFile:
    """A file that holds one cube.

    Attributes
    ----------
    kind
        What it is, for the reader: format, key, type of the values, order of the axes.
    shape
        (bands, height, width).
    is_integer
        Whether the values count as integers.
    blocks
        Called, it gives all values once, part by part; each call starts anew.
    window
        Called with rows and columns, it reads these of all bands, (bands, height, width), and no more of the
        file than that; None: the format must be read as a whole.
    key
        Name of the array in the file, if arrays have names there.
    wavelengths
        Band centres in nm in the file's order, (bands,); None: the file does not tell them.
    divisor
        The value that stands for 1, if the file declares it.
    nodata
        The value that marks a pixel as no measurement, if the file declares one.
    mask
        bool, (height, width), False where the file says that a pixel is no measurement.
    georeference
        Where it lies on the ground.
    """

    kind: str
    shape: tuple[int, int, int]
    is_integer: bool
    blocks: Callable[[], Iterator[Block]]
    window: Callable[[slice, slice], np.ndarray] | None = None
    key: str = ""
    wavelengths: NDArray[np.float64] | None = None
    divisor: float | None = None
    nodata: float | None = None
    mask: NDArray[np.bool_] | None = None
    georeference: Georeference | None = None


@dataclass(frozen=True, eq=False)
class Values:
    """The values of a file, as `read_values` gives them.

    Attributes
    ----------
    cube
        float32, (bands, height, width): the chosen bands, not divided.
    low, high
        Least and greatest value of all bands of the file.
    exact
        Whether `cube` holds the chosen values to the last bit.
    mask
        False where the file says that a pixel is no measurement, from its mask and its nodata value.
    """

    cube: NDArray[np.float32]
    low: float
    high: float
    exact: bool
    mask: NDArray[np.bool_] | None


def read_values(file: CubeFile, order: NDArray[np.intp], where: str) -> Values:
    """Read the bands `order` of the file, in this order, into one float32 cube; look at all bands.

    Raises
    ------
    HsisrError
        Values are NaN or infinite, or all are zero; `where` names them in the message.
    """
    count, height, width = file.shape
    cube = np.zeros((len(order), height, width), np.float32)
    mask = file.mask if file.nodata is None else np.ones((height, width), np.bool_)
    low, high, bad, exact = np.inf, -np.inf, 0, True
    for bands, rows, cols, block in file.blocks():
        if mask is not None and file.nodata is not None:
            block, measured = _without_nodata(block, file.nodata)
            mask[rows, cols] &= measured
        least, greatest = float(block.min()), float(block.max())
        if not (np.isfinite(least) and np.isfinite(greatest)):
            bad += block.size - int(np.count_nonzero(np.isfinite(block)))
        low, high = min(low, least), max(high, greatest)
        _place(cube, order, (bands, rows, cols), block)
        if exact and block.dtype.name not in _HELD_EXACTLY:
            exact = np.array_equal(block, block.astype(np.float32))
    if bad:
        raise HsisrError(
            f"{where}: {bad} of {count * height * width} values are NaN or infinite; expected finite numbers. "
            "Mend or leave out this scene."
        )
    if low == high == 0:
        raise HsisrError(
            f"{where}: all {count * height * width} values are zero; not an image. Leave out this scene."
        )
    if file.mask is not None and file.nodata is not None:
        assert mask is not None
        mask &= file.mask
    if mask is not None and file.mask is None and mask.all():
        mask = None  # no pixel had the value that the file declares
    return Values(cube, low, high, exact, mask)


def divide(file: CubeFile, values: Values, order: NDArray[np.intp], divisor: float) -> NDArray[np.float32]:
    """Return the cube of `values`, which were read with the same `order`, divided by `divisor`, in place.

    The division is in double precision and rounded once. Values that float32 does not hold are read again,
    because they were rounded already.
    """
    if values.exact:
        for band in values.cube:
            np.divide(band, divisor, out=band, dtype=np.float64, casting="same_kind")
    else:
        for bands, rows, cols, block in file.blocks():
            if file.nodata is not None:
                block, _ = _without_nodata(block, file.nodata)
            _place(values.cube, order, (bands, rows, cols), np.divide(block, divisor, dtype=np.float64))
    return values.cube


def _place(
    cube: NDArray[np.float32], order: NDArray[np.intp], where: tuple[slice, slice, slice], block: np.ndarray
) -> None:
    """Put the values of a block where its chosen bands belong in `cube`."""
    bands, rows, cols = where
    chosen = np.flatnonzero((order >= bands.start) & (order < bands.stop))
    if len(chosen) == bands.stop - bands.start and bool((np.diff(order[chosen]) == 1).all()):
        cube[chosen[0] : chosen[-1] + 1, rows, cols] = block
    else:
        for index in chosen:
            cube[index, rows, cols] = block[order[index] - bands.start]


def _without_nodata(block: np.ndarray, nodata: float) -> tuple[np.ndarray, NDArray[np.bool_]]:
    """Return the block with zero for `nodata`, and where no band has it, (height, width)."""
    missing = np.isnan(block) if np.isnan(nodata) else block == nodata
    if not missing.any():
        return block, ~missing.any(axis=0)
    return np.where(missing, block.dtype.type(0), block), ~missing.any(axis=0)


def array_blocks(
    opened: Callable[[], AbstractContextManager[Any]] | np.ndarray, axes: Sequence[int]
) -> Callable[[], Iterator[Block]]:
    """Return the `blocks` of an array in memory, a memory map or an HDF5 dataset.

    Parameters
    ----------
    opened
        The array; or a function that opens one (with `shape`, `dtype` and slicing, and `chunks` if it has).
    axes
        Which axes of it are the bands, the rows and the columns.
    """

    def blocks() -> Iterator[Block]:
        with nullcontext(opened) if isinstance(opened, np.ndarray) else opened() as array:
            chunks = getattr(array, "chunks", None) or (1, 1, 1)
            steps = _steps(array.shape, chunks, array.dtype.itemsize)
            for first in range(0, array.shape[0], steps[0]):
                for second in range(0, array.shape[1], steps[1]):
                    part = (
                        slice(first, min(first + steps[0], array.shape[0])),
                        slice(second, min(second + steps[1], array.shape[1])),
                        slice(0, array.shape[2]),
                    )
                    values = np.asarray(_mapped_anew(array)[part]).transpose(axes)
                    bands, rows, cols = (part[axis] for axis in axes)
                    yield bands, rows, cols, values

    return blocks


def array_window(
    opened: Callable[[], AbstractContextManager[Any]] | np.ndarray, axes: Sequence[int]
) -> Callable[[slice, slice], np.ndarray]:
    """Return the `window` of an array; the parameters are those of `array_blocks`."""

    def window(rows: slice, cols: slice) -> np.ndarray:
        part = [slice(None)] * 3
        part[axes[1]], part[axes[2]] = rows, cols
        with nullcontext(_mapped_anew(opened)) if isinstance(opened, np.ndarray) else opened() as array:
            return np.array(array[tuple(part)]).transpose(axes)

    return window


def _mapped_anew(array: Any) -> Any:
    """Return a memory map as a new one: the pages read through it leave memory when it does."""
    if not isinstance(array, np.memmap) or array.filename is None:
        return array
    order: Literal["C", "F"] = "C" if array.flags.c_contiguous else "F"
    return np.memmap(array.filename, array.dtype, "r", array.offset, array.shape, order)


def _steps(shape: tuple[int, ...], chunks: tuple[int, ...], itemsize: int) -> tuple[int, int]:
    """How far to go at once along the first two axes: whole chunks, and about `_BLOCK_BYTES` at a time."""
    plane = shape[1] * shape[2] * itemsize
    first = max(_BLOCK_BYTES // (plane * chunks[0]), 1) * chunks[0]
    line = first * shape[2] * itemsize
    second = max(_BLOCK_BYTES // (line * chunks[1]), 1) * chunks[1]
    return first, shape[1] if first * plane <= _BLOCK_BYTES else second


def find_band_axis(shape: tuple[int, ...], given: int | None, where: str) -> int:
    """Return which of three axes is the bands: the one `given`, else the shortest, first or last.

    Raises
    ------
    HsisrError
        There are not three axes; `given` is none of them; the shortest is the middle one or not the only
        one; the other two have fewer than 4 pixels.
    """
    sizes = "x".join(map(str, shape))
    if len(shape) != 3 or 0 in shape:
        raise HsisrError(
            f"{where} has the shape {sizes or '()'}; expected three axes: bands, height and width."
        )
    if given is not None and (isinstance(given, bool) or given not in (0, 1, 2)):
        raise HsisrError(f"band_axis={given!r}: expected 0, 1 or 2, the axis of {where} that is the bands.")
    axis = int(np.argmin(shape)) if given is None else given
    if given is None and (axis == 1 or sorted(shape)[0] == sorted(shape)[1]):
        raise HsisrError(
            f"{where} has the shape {sizes}, which does not tell the axis of the bands; expected the first or "
            "the last to be the shortest. Say which with band_axis=0, 1 or 2."
        )
    if min(side for i, side in enumerate(shape) if i != axis) < MINIMUM_SIDE:
        raise HsisrError(
            f"{where} has the shape {sizes} with the bands in axis {axis}: too small; expected at least "
            f"{MINIMUM_SIDE} pixels a side. Check the order of its axes, or leave out this scene."
        )
    return axis
