"""A file that holds one cube: what is known of it before its values are read, and how they are read in parts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from hsisr_core.errors import HsisrError
from hsisr_core.scenes.scene import Georeference, Scene

Block = tuple[slice, slice, slice, np.ndarray]
"""Bands, rows and columns of a part of the cube, and its values (bands, height, width)."""

_BLOCK_BYTES = 1 << 24  # 16 MiB: large enough for the disk, small beside a scene


@dataclass(frozen=True)
class Dataset:
    """A dataset of an HDF5 file that is closed."""

    path: Path
    name: str
    # of the file, for a message
    kind: str
    shape: tuple[int, ...]
    dtype: np.dtype

    @contextmanager
    def open(self) -> Iterator[h5py.Dataset]:
        with reading(self.path, self.kind), h5py.File(self.path, "r", locking=False) as file:
            yield file[self.name]


@dataclass(frozen=True, eq=False)
class CubeFile:
    """A file that holds one cube, and what it says of it."""

    # what it is, for the reader: format, key, type of the values, order of the axes
    kind: str
    # in memory, a memory map, or closed
    array: np.ndarray | Dataset
    # which axes of the array are the bands, the rows and the columns
    axes: tuple[int, int, int]
    # the array's name, where arrays have one
    key: str = ""
    # MATLAB stores doubles in a smaller type if that holds them
    is_double: bool = False
    # nm, in the file's order
    wavelengths: NDArray[np.float64] | None = None
    # the value that stands for 1, and why
    divisor: float | None = None
    why: str = "declared in the file"
    # the value of a pixel that is no measurement; and False where a pixel is none, (height, width)
    nodata: float | None = None
    mask: NDArray[np.bool_] | None = None
    georeference: Georeference | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(bands, height, width)."""
        bands, rows, cols = (self.array.shape[axis] for axis in self.axes)
        return bands, rows, cols

    def blocks(self) -> Iterator[Block]:
        """Give all values once, part by part, in whole chunks."""
        with self._open() as array:
            for first, second in _steps(array):
                part = (first, second, slice(0, array.shape[2]))
                bands, rows, cols = (part[axis] for axis in self.axes)
                yield bands, rows, cols, np.asarray(_map_anew(array)[part]).transpose(self.axes)

    def window(self, rows: slice, cols: slice) -> np.ndarray:
        """Read `rows` and `cols` of all bands, (bands, height, width), and no more of the file than that."""
        part = [slice(None)] * 3
        part[self.axes[1]], part[self.axes[2]] = rows, cols
        with self._open() as array:
            return np.array(_map_anew(array)[tuple(part)]).transpose(self.axes)

    def _open(self) -> AbstractContextManager[Any]:
        return nullcontext(self.array) if isinstance(self.array, np.ndarray) else self.array.open()


@dataclass(frozen=True, eq=False)
class OpenScene:
    """A scene whose values are read part by part; what is not described here is as in `Scene`."""

    file: CubeFile
    # indices of the chosen bands in the file, by wavelength
    order: NDArray[np.intp]
    name: str
    wavelengths: NDArray[np.float64]
    divisor: float
    source: str
    # least measured value of the file, before the division
    low: float
    # of each chosen band over its measured values, after the division; NaN: it has none
    mean: NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(bands, height, width) of the chosen bands."""
        return (len(self.order), *self.file.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """Type of the values in the file."""
        return self.file.array.dtype.newbyteorder("=")

    @property
    def nodata(self) -> float | None:
        """The value that marks a pixel as no measurement; None: there is none."""
        return self.file.nodata

    @property
    def georeference(self) -> Georeference | None:
        """Where the scene lies, if the file says so."""
        return self.file.georeference

    @property
    def streamed(self) -> bool:
        """Whether the file is read part by part; False: its format made it necessary to read it whole."""
        return isinstance(self.file.array, np.memmap | Dataset)

    def read(self, rows: slice, cols: slice) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
        """Read `rows` x `cols` of the chosen bands.

        Returns
        -------
        cube
            float32, (bands, height, width), in [0, 1]; what is no measurement has the mean of its band.
        missing
            bool, of the same shape, True where it is no measurement; None: nothing is missing.
        """
        values = self.file.window(rows, cols)
        if not np.array_equal(self.order, np.arange(len(values))):
            values = values[self.order]
        missing = _missing_in(values, self.nodata)
        cube = np.divide(values, self.divisor, dtype=np.float64).astype(np.float32)
        if missing is not None:
            empty = self.order[np.isnan(self.mean)]
            if empty.size:
                raise HsisrError(
                    f"{self.name}: band {empty[0] + 1} of the file has no measured value, only no-data "
                    f"({self.nodata:g}). Check the no-data value, or choose other bands."
                )
            np.copyto(cube, self.mean[:, None, None], where=missing)
        return cube, missing

    def load(self) -> Scene:
        """Read all of the chosen bands; what is no measurement is zero, and its pixels are masked."""
        file = self.file
        cube = np.zeros(self.shape, np.float32)
        mask = np.ones(self.shape[1:], np.bool_) if file.mask is None else file.mask.copy()
        for bands, rows, cols, block in file.blocks():
            missing = _missing_in(block, file.nodata)
            if missing is not None:
                mask[rows, cols] &= ~missing.any(axis=0)
                block = np.where(missing, block.dtype.type(0), block)
            chosen = np.flatnonzero((self.order >= bands.start) & (self.order < bands.stop))
            for target, source in _pairs(chosen, self.order[chosen] - bands.start):
                # in double precision and rounded once, without an array of doubles
                out = cube[target, rows, cols]
                np.divide(block[source], self.divisor, out=out, dtype=np.float64, casting="same_kind")
        known = None if file.mask is None and mask.all() else mask
        return Scene(self.name, cube, self.wavelengths, self.divisor, self.source, known, self.georeference)


def survey(file: CubeFile, where: str) -> tuple[float, float, NDArray[np.float64]]:
    """Return the least and the greatest measured value of the file, and the mean of each band (NaN: it has none)."""
    low, high, bad = math.inf, -math.inf, 0
    total, number = np.zeros(file.shape[0]), np.zeros(file.shape[0], np.int64)
    for bands, _, _, block in file.blocks():
        missing = _missing_in(block, file.nodata)
        measured = True if missing is None else ~missing
        values = block if missing is None else block[measured]
        if values.size == 0:
            continue
        least, greatest = float(values.min()), float(values.max())
        if not (math.isfinite(least) and math.isfinite(greatest)):
            bad += values.size - int(np.count_nonzero(np.isfinite(values)))
            continue
        low, high = min(low, least), max(high, greatest)
        total[bands] += np.sum(block, axis=(1, 2), dtype=np.float64, where=measured)
        number[bands] += block[0].size if missing is None else np.count_nonzero(measured, axis=(1, 2))
    size = math.prod(file.shape)
    if bad:
        raise HsisrError(
            f"{where}: {bad} of {size} values are NaN or infinite; expected finite numbers. Fix or leave out this "
            "scene; if NaN marks pixels without a measurement, hsisr upscale keeps them with --nodata nan."
        )
    if not number.any() or low == high == 0:
        raise HsisrError(f"{where}: all {size} values are zero or no-data; not an image. Leave it out.")
    return low, high, np.divide(total, number, out=np.full(len(total), np.nan), where=number > 0)


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn what a library raises for a damaged file into one error."""
    try:
        yield
    except HsisrError:
        raise
    except (
        Exception
    ) as error:  # numpy, scipy, h5py and tifffile raise a dozen types: no list of them is complete
        reason = " ".join(str(error).split())  # HDF5 breaks its lines
        raise HsisrError(
            f"{path} cannot be read as {kind} ({reason}): it is truncated, damaged or something else. "
            "Fetch or save it again."
        ) from error


def _missing_in(values: np.ndarray, nodata: float | None) -> NDArray[np.bool_] | None:
    """Return where `values` are no measurement; None if they all are one."""
    if nodata is None:
        return None
    missing = np.isnan(values) if math.isnan(nodata) else values == nodata
    return missing if missing.any() else None


def _pairs(targets: NDArray[np.intp], sources: NDArray[np.intp]) -> list[tuple[Any, Any]]:
    """Pair the bands to write with those to read: all at once if both follow one another, else one by one."""
    if len(sources) and bool((np.diff(sources) == 1).all() and (np.diff(targets) == 1).all()):
        return [(slice(targets[0], targets[-1] + 1), slice(sources[0], sources[-1] + 1))]
    return [(slice(t, t + 1), slice(s, s + 1)) for t, s in zip(targets, sources, strict=True)]


def _map_anew(array: Any) -> Any:
    """Return a memory map as a new one: the pages read through it leave memory when it does."""
    if not isinstance(array, np.memmap) or array.filename is None:
        return array
    order: Literal["C", "F"] = "C" if array.flags.c_contiguous else "F"
    return np.memmap(array.filename, array.dtype, "r", array.offset, array.shape, order)


def _steps(array: Any) -> Iterator[tuple[slice, slice]]:
    """Step along the first two axes in whole chunks, about `_BLOCK_BYTES` at a time."""
    length, lines, samples = array.shape
    chunks = getattr(array, "chunks", None) or (1, 1, 1)
    line = samples * array.dtype.itemsize
    first = max(_BLOCK_BYTES // (line * lines * chunks[0]), 1) * chunks[0]
    second = lines
    if first * lines * line > _BLOCK_BYTES:
        second = max(_BLOCK_BYTES // (line * first * chunks[1]), 1) * chunks[1]
    for start in range(0, length, first):
        for below in range(0, lines, second):
            yield slice(start, min(start + first, length)), slice(below, min(below + second, lines))
