"""A scene: one hyperspectral image, in memory (`Scene`) or in a file that is read part by part (`OpenScene`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from hsisr_core.errors import HsisrError

# Pixels a side. Below this the bicubic kernel alone (4 taps) is larger than the scene.
MINIMUM_SIDE = 4
# A cube lies in [0, 1]. Bicubic resizing overshoots a little, so this much beyond is still a cube.
LOWEST, HIGHEST = -0.1, 1.1

_BLOCK_BYTES = 1 << 24  # 16 MiB: large enough for the disk, small beside a scene

Bounds = tuple[int, int] | None


@dataclass(frozen=True)
class Georeference:
    """Where a scene lies on the ground."""

    # six numbers in GDAL's order: the corner (column, row) of a pixel is at x = t[0] + column * t[1] + row * t[2] and
    # y = t[3] + column * t[4] + row * t[5]
    transform: tuple[float, ...]
    # EPSG code, or WKT where there is none; empty if the file does not say
    crs: str = ""


@dataclass(frozen=True, eq=False)
class Scene:
    """One hyperspectral image.

    Attributes
    ----------
    name
        Name of the scene, as splits and stores know it.
    cube
        float32, (bands, height, width), in [0, 1] (an overshoot of 0.1 is allowed).
    wavelengths
        float64, (bands,), band centres in nm, in the order of the bands; where detectors overlap, they do not
        increase, and a band that was not measured may have 0. All NaN when unknown; see `wavelengths_known`.
    divisor
        The value of the file is `cube * divisor`.
    source
        A sentence on how the scene was read (key, type, divisor).
    mask
        bool, (height, width), False where the file says that a pixel is no measurement; None: it does not.
    georeference
        Where the scene lies, if the file says so. A store does not keep it.
    """

    name: str
    cube: NDArray[np.float32]
    wavelengths: NDArray[np.float64]
    divisor: float
    source: str
    mask: NDArray[np.bool_] | None = None
    georeference: Georeference | None = None

    def __post_init__(self) -> None:
        where, cube, nm, mask = f"Scene {self.name}", self.cube, self.wavelengths, self.mask
        if not self.name or "/" in self.name or self.name.startswith("."):
            raise HsisrError(f"{where!r} is not usable: give a name without '/' or a leading dot.")
        if cube.ndim != 3 or cube.dtype != np.float32:
            raise HsisrError(f"{where}: the cube is {cube.dtype} of {cube.shape}; expected float32, 3-D.")
        if nm.dtype != np.float64 or nm.shape != (self.bands,):
            raise HsisrError(f"{where}: {nm.size} wavelengths of {nm.dtype}; expected float64 for each band.")
        if mask is not None and (mask.dtype != np.bool_ or mask.shape != cube.shape[1:]):
            raise HsisrError(f"{where}: a mask of {mask.dtype}, {mask.shape}; expected bool, as the cube.")
        if not np.isnan(nm).all() and not (np.isfinite(nm) & (nm >= 0)).all():
            raise HsisrError(f"{where}: wavelengths must be positive, in nm, or all be NaN (unknown).")

    @property
    def bands(self) -> int:
        """Number of bands."""
        return int(self.cube.shape[0])

    @property
    def height(self) -> int:
        """Number of rows (pixels)."""
        return int(self.cube.shape[1])

    @property
    def width(self) -> int:
        """Number of columns (pixels)."""
        return int(self.cube.shape[2])

    @property
    def wavelengths_known(self) -> bool:
        """Whether the band centres are known; if not, `wavelengths` is all NaN."""
        return bool(np.isfinite(self.wavelengths).all())

    def crop(self, rows: Bounds = None, cols: Bounds = None) -> Scene:
        """Return the part `rows` x `cols`, each (start, stop) in pixels or None for all, as a copy without a place."""
        top, bottom = span(rows, self.height, f"rows of scene {self.name}")
        left, right = span(cols, self.width, f"columns of scene {self.name}")
        mask = None if self.mask is None else self.mask[top:bottom, left:right].copy()
        return replace(self, cube=self.cube[:, top:bottom, left:right].copy(), mask=mask, georeference=None)


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
    # what else the file says of its values and bands, by ENVI's names
    entries: dict[str, str] = field(default_factory=dict)

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
    def entries(self) -> dict[str, str]:
        """What else the file says: of lists with an entry per band, {a, b}, the part of the chosen bands."""
        found = dict(self.file.entries)
        for name, text in found.items():
            words = text.strip("{} \r\n").split(",")
            if text.startswith("{") and len(words) == self.file.shape[0]:
                found[name] = "{" + ", ".join(words[band].strip() for band in self.order) + "}"
        return found

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
        raise HsisrError(f"{path} takes {size:.3g} GB of memory, and {free:.3g} GB are free. Free some.")


def span(bounds: Bounds, size: int, what: str) -> tuple[int, int]:
    """Return (start, stop) for `bounds` in an axis of `size` pixels, which `what` names; None: the whole axis."""
    start, stop = bounds or (0, size)
    if not 0 <= start < stop <= size:
        raise HsisrError(f"{what}: {start} to {stop} is not a part of 0 to {size}. Give a part inside it.")
    return start, stop
