"""A file that holds one cube: what is known of it before its values are read, and how they are read in parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from hsisr_core.errors import HsisrError
from hsisr_core.scenes.scene import Georeference, Scene

# A cube lies in [0, 1]. Bicubic resizing overshoots a little, so this much beyond is still a cube.
LOWEST, HIGHEST = -0.1, 1.1

_BLOCK_BYTES = 1 << 24  # 16 MiB: large enough for the disk, small beside a scene


@dataclass(frozen=True)
class Stored:
    """An array in a closed file, which `read` opens for a part of it; `chunks` are the sizes of the file's pieces."""

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[tuple[slice, ...]], np.ndarray]
    chunks: tuple[int, ...] = (1, 1, 1)

    def __getitem__(self, part: tuple[slice, ...]) -> np.ndarray:
        return self.read(part)


@dataclass(frozen=True, eq=False)
class CubeFile:
    """A file that holds one cube, and what it says of it."""

    # what it is, for the reader: format, key, type of the values, order of the axes
    kind: str
    array: np.ndarray | Stored
    # which axes of the array are the bands, the rows and the columns
    axes: tuple[int, ...] = (0, 1, 2)
    # whether NaN may stand for no measurement without being declared
    is_raster: bool = False
    # the array's name, where arrays have one
    key: str = ""
    # MATLAB stores doubles in a smaller type if that holds them
    is_double: bool = False
    # nm, in the file's order
    wavelengths: NDArray[np.float64] | None = None
    # the value that stands for 1, and why
    divisor: float | None = None
    why: str = "declared in the file"
    # the value that is no measurement; and False where a pixel is none in all bands, (height, width)
    nodata: float | None = None
    measured: NDArray[np.bool_] | None = None
    # False where a pixel is not to be trusted, though it has values
    mask: NDArray[np.bool_] | None = None
    georeference: Georeference | None = None
    # for the reader: what was not understood or not applied
    notes: str = ""
    # what else the file says of its values and bands, by ENVI's names: texts, or a list with one entry per band
    entries: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(bands, height, width)."""
        bands, rows, cols = (self.array.shape[axis] for axis in self.axes)
        return bands, rows, cols

    def blocks(self) -> Iterator[tuple[slice, slice, slice, np.ndarray]]:
        """Give all values once, in whole chunks, about 16 MiB at a time: bands, rows, columns, and the values."""
        (length, lines, samples), array = self.array.shape, self.array
        chunks = array.chunks if isinstance(array, Stored) else (1, 1, 1)
        line = samples * array.dtype.itemsize
        first = max(_BLOCK_BYTES // (line * lines * chunks[0]), 1) * chunks[0]
        second = max(_BLOCK_BYTES // (line * first * chunks[1]), 1) * chunks[1]
        for start, below in product(range(0, length, first), range(0, lines, second)):
            part = (slice(start, min(start + first, length)), slice(below, min(below + second, lines)))
            whole = (*part, slice(0, samples))
            bands, rows, cols = (whole[axis] for axis in self.axes)
            # so that a band is read from one place of the memory
            yield bands, rows, cols, np.ascontiguousarray(array[whole].transpose(self.axes))

    def missing(self, values: np.ndarray, rows: slice, cols: slice) -> NDArray[np.bool_] | None:
        """Return where `values` of `rows` x `cols` are no measurement; None if they all are one."""
        missing = None
        if self.nodata is not None:
            # of the type of the values: -3.4e38 is another number in double precision
            value = values.dtype.type(self.nodata) if values.dtype.kind == "f" else self.nodata
            missing = np.isnan(values) if math.isnan(self.nodata) else values == value
        if self.measured is not None:
            outside = ~self.measured[rows, cols]
            missing = np.broadcast_to(outside, values.shape) if missing is None else missing | outside
        return missing if missing is not None and missing.any() else None


@dataclass(frozen=True, eq=False)
class OpenScene:
    """A scene whose values are read part by part; what is not described here is as in `Scene`."""

    file: CubeFile
    # indices of the chosen bands in the file
    order: NDArray[np.intp]
    name: str
    wavelengths: NDArray[np.float64]
    divisor: float
    source: str
    # least measured value of the chosen bands, before the division
    low: float
    # of each chosen band over its measured values, after the division; NaN: it has none
    means: NDArray[np.float32]
    # whether there are values to clip to the range of a cube
    clipped: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """(bands, height, width) of the chosen bands."""
        return (len(self.order), *self.file.shape[1:])

    @property
    def nodata(self) -> float | None:
        """The value that marks what is no measurement, NaN if the file has a mask instead; None: there is none."""
        masked = self.file.nodata is None and self.file.measured is not None
        return math.nan if masked else self.file.nodata

    @property
    def entries(self) -> dict[str, Any]:
        """What else the file says: of lists, and texts that are one ({a, b}), the part of the chosen bands."""
        found = dict(self.file.entries)
        for name, value in found.items():
            words = value.strip("{} \r\n").split(",") if isinstance(value, str) else value
            if not isinstance(value, str):
                found[name] = [words[band] for band in self.order]
            elif value.startswith("{") and len(words) == self.file.shape[0]:
                found[name] = "{" + ", ".join(words[band].strip() for band in self.order) + "}"
        return found

    @property
    def streamed(self) -> bool:
        """Whether the file is read part by part; False: its format made it necessary to read it whole."""
        return isinstance(self.file.array, Stored)

    def read(self, rows: slice, cols: slice) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
        """Read a part, in [0, 1], and where nothing is measured (None: nowhere): there it has the mean of its band."""
        part, axes = [slice(None)] * 3, self.file.axes
        part[axes[1]], part[axes[2]] = rows, cols
        values = self.file.array[tuple(part)].transpose(axes)
        if not np.array_equal(self.order, np.arange(len(values))):
            values = values[self.order]
        missing = self.file.missing(values, rows, cols)
        cube = np.empty(values.shape, np.float32)
        self._divide(values, cube)
        if missing is not None:
            # a band without any measurement has no mean
            np.copyto(cube, np.nan_to_num(self.means)[:, None, None], where=missing)
        return cube, missing

    def load(self) -> Scene:
        """Read all of the chosen bands; what is no measurement is zero, and its pixels are masked."""
        file, cube = self.file, np.zeros(self.shape, np.float32)
        mask = np.ones(self.shape[1:], np.bool_) if file.mask is None else file.mask.copy()
        for bands, rows, cols, block in file.blocks():
            missing = file.missing(block, rows, cols)
            for target, band in enumerate(self.order - bands.start):
                if 0 <= band < len(block):
                    out = cube[target, rows, cols]
                    self._divide(block[band], out)
                    # a band without any measurement masks nothing
                    if missing is not None:
                        out[missing[band]] = 0
                        mask[rows, cols] &= ~missing[band] | np.isnan(self.means[target])
        known = None if file.mask is None and mask.all() else mask
        return Scene(self.name, cube, self.wavelengths, self.divisor, self.source, known, file.georeference)

    def _divide(self, values: np.ndarray, out: np.ndarray) -> None:
        """Divide in double precision and round once, without an array of doubles; clip."""
        # what is no measurement may be as large as the type
        with np.errstate(over="ignore"):
            np.divide(values, self.divisor, out=out, dtype=np.float64, casting="same_kind")
        if self.clipped:
            np.clip(out, LOWEST, HIGHEST, out=out)


def survey(file: CubeFile) -> tuple[NDArray[Any], ...]:
    """Return the least, largest and mean finite value of each band, and its numbers of NaN and infinite values."""
    count = file.shape[0]
    low, high, total = np.full(count, math.inf), np.full(count, -math.inf), np.zeros(count)
    number, nan, infinite = np.zeros((3, count), np.int64)
    for band, values in _measured(file):
        if values.dtype.kind == "f" and not np.isfinite(np.sum(values, dtype=np.float64)):
            nan[band] += np.count_nonzero(np.isnan(values))
            infinite[band] += np.count_nonzero(np.isinf(values))
            values = values[np.isfinite(values)]
        if values.size:
            low[band], high[band] = min(low[band], values.min()), max(high[band], values.max())
            total[band] += np.sum(values, dtype=np.float64)
            number[band] += values.size
    means = np.divide(total, number, out=np.full(count, np.nan), where=number > 0)
    return low, high, means, nan, infinite


def count_outside(file: CubeFile, divisor: float) -> tuple[int, float]:
    """Return how many measured values lie beyond the range of a cube after the division, and their share."""
    outside, number = 0, 0
    for _, values in _measured(file):
        outside += int(np.count_nonzero((values < LOWEST * divisor) | (values > HIGHEST * divisor)))
        number += values.size
    return outside, outside / max(number, 1)


def _measured(file: CubeFile) -> Iterator[tuple[int, np.ndarray]]:
    """Give all measured values once, with the number of their band."""
    for bands, rows, cols, block in file.blocks():
        missing = file.missing(block, rows, cols)
        for index, band in enumerate(block):
            yield bands.start + index, band if missing is None else band[~missing[index]]


@contextmanager
def reading(path: Path, kind: str, advice: str = "") -> Iterator[None]:
    """Turn what a library raises for a damaged file into one error."""
    try:
        yield
    except HsisrError:
        raise
    # numpy, scipy, h5py and GDAL raise a dozen types: no list of them is complete
    except Exception as error:
        # HDF5 breaks its lines
        reason = " ".join(str(error).split())
        message = f"{path} cannot be read as {kind}: truncated or damaged ({reason}). {advice}"
        raise HsisrError(message.strip()) from error


def check_size(path: Path, shape: tuple[int, ...], dtype: np.dtype, plain: bool = False) -> None:
    """Refuse a file that claims more than its size; if not `plain`, a thousand times that, more than is compressed."""
    size, stored = math.prod(shape) * dtype.itemsize, path.stat().st_size
    if size > (stored if plain else 1000 * max(stored, 100_000)):
        raise HsisrError(f"{path} is truncated: it claims {size / 1e9:.3g} GB of values in {stored} bytes.")


def check_memory(path: Path, size: float) -> None:
    """Refuse to read `size` bytes into a machine that has less memory free."""
    size, free = size / 1e9, psutil.virtual_memory().available / 1e9
    if size > free:
        found = f"{path} takes {size:.3g} GB of memory, and {free:.3g} GB are free"
        raise HsisrError(f"{found}. Free some memory.")
