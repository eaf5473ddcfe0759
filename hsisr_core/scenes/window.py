"""Open a scene without reading it: parts of it are read when asked for, so memory does not grow with it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hsisr_core.errors import HsisrError
from hsisr_core.scenes.bands import BandChoice
from hsisr_core.scenes.cube_file import CubeFile, array_blocks, array_window
from hsisr_core.scenes.read import (
    arrange_bands,
    choose_divisor,
    locate_scene,
    open_file,
    read_scene,
    scene_name,
)
from hsisr_core.scenes.scene import Georeference, check_range

__all__ = ["OpenScene", "open_scene"]


@dataclass(frozen=True, eq=False)
class OpenScene:
    """A scene whose values are read part by part.

    Attributes
    ----------
    name, wavelengths, divisor, source, georeference
        As those of `Scene`.
    shape
        (bands, height, width) of the chosen bands.
    dtype
        Type of the values in the file.
    low
        Least measured value of the file, before the division.
    mean
        float32, (bands,): mean of each chosen band over its measured values, after the division.
    nodata
        The value that marks a pixel as no measurement; None: there is none.
    streamed
        Whether the file is read part by part; False: its format made it necessary to read it whole.
    window
        Called with rows and columns, it gives the file's own values (bands, height, width).
    """

    name: str
    shape: tuple[int, int, int]
    wavelengths: NDArray[np.float64]
    divisor: float
    source: str
    georeference: Georeference | None
    dtype: np.dtype
    low: float
    mean: NDArray[np.float32]
    nodata: float | None
    streamed: bool
    window: Callable[[slice, slice], np.ndarray]

    def read(self, rows: slice, cols: slice) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
        """Read `rows` x `cols` of the chosen bands.

        Returns
        -------
        cube
            float32, (bands, height, width), in [0, 1]; what is no measurement has the mean of its band.
        missing
            bool, of the same shape, True where it is no measurement; None: nothing is missing.
        """
        values = self.window(rows, cols)
        missing = missing_in(values, self.nodata)
        cube = np.divide(values, self.divisor, dtype=np.float64).astype(np.float32)
        if missing is not None:
            np.copyto(cube, self.mean[:, None, None], where=missing)
        return cube, missing


def open_scene(
    path: str | os.PathLike[str],
    *,
    key: str | None = None,
    bands: BandChoice = None,
    divisor: float | None = None,
    band_axis: int | None = None,
    nodata: float | None = None,
) -> OpenScene:
    """Open any scene that `read_scene` reads, by the same rules; look at all its values once.

    ENVI, .npy, HDF5, .mat v7.3 and uncompressed TIFF are read part by part. A CAVE folder, .mat v5, a
    compressed TIFF and the embedded cube are read whole.

    Parameters
    ----------
    path, key, bands, divisor, band_axis
        As those of `read_scene`.
    nodata
        The value that marks a pixel as no measurement (NaN is possible), instead of what the file declares.

    Raises
    ------
    HsisrError
        As `read_scene`; NaN or infinity where no-data is not said to be NaN; nothing was measured in a band.
    """
    place = locate_scene(path, key, divisor, band_axis)
    if place is None or place.is_dir():
        scene = read_scene(path, bands=bands, divisor=divisor)
        counts = np.rint(scene.cube * np.float64(scene.divisor)).astype(np.uint16)
        file = CubeFile("", counts.shape, True, array_blocks(counts, (0, 1, 2)), divisor=scene.divisor)
        order, centres, notes = np.arange(scene.bands), scene.wavelengths, ""
        name, where, streamed = scene.name, str(path), False
    else:
        file = open_file(place, key, band_axis)
        order, centres, notes = arrange_bands(place, file, bands, None)
        name, where, streamed = scene_name(place), str(place), file.window is not None
    if nodata is not None:
        file = replace(file, nodata=nodata)
    low, high, means = _look_through(file, where)
    divisor, why = choose_divisor(file, divisor, low, high)
    check_range(where, low, high, divisor)
    whole = file.window or _held(file)
    every = np.array_equal(order, np.arange(file.shape[0]))

    def window(rows: slice, cols: slice) -> np.ndarray:
        values = whole(rows, cols)
        return values if every else values[order]

    corner = window(slice(0, 1), slice(0, 1))
    return OpenScene(
        name=name,
        shape=(len(order), file.shape[1], file.shape[2]),
        wavelengths=centres,
        divisor=divisor,
        source=f"{file.kind}, divided by {divisor:.9g} ({why}){notes}." if file.kind else scene.source,
        georeference=file.georeference,
        dtype=corner.dtype.newbyteorder("="),
        low=low,
        mean=(means[order] / divisor).astype(np.float32),
        nodata=file.nodata,
        streamed=streamed,
        window=window,
    )


def missing_in(values: np.ndarray, nodata: float | None) -> NDArray[np.bool_] | None:
    """Return where `values` are no measurement; None if they all are one."""
    if nodata is None:
        return None
    missing = np.isnan(values) if math.isnan(nodata) else values == nodata
    return missing if missing.any() else None


def _look_through(file: CubeFile, where: str) -> tuple[float, float, NDArray[np.float64]]:
    """Return the least and the greatest measured value of the file, and the mean of each of its bands."""
    low, high, bad = math.inf, -math.inf, 0
    total, number = np.zeros(file.shape[0]), np.zeros(file.shape[0], np.int64)
    for bands, _, _, block in file.blocks():
        missing = missing_in(block, file.nodata)
        measured = True if missing is None else ~missing
        finite = np.isfinite(block) if block.dtype.kind == "f" else None
        if finite is not None and not finite.all(where=measured):
            bad += int(np.count_nonzero(~finite & measured))
            continue
        low = min(low, float(np.min(block, where=measured, initial=_extreme(block.dtype, "max"))))
        high = max(high, float(np.max(block, where=measured, initial=_extreme(block.dtype, "min"))))
        total[bands] += np.sum(block, axis=(1, 2), dtype=np.float64, where=measured)
        number[bands] += block[0].size if missing is None else np.count_nonzero(~missing, axis=(1, 2))
    if bad:
        raise HsisrError(
            f"{where}: {bad} of {math.prod(file.shape)} values are NaN or infinite; expected finite numbers. "
            "If NaN marks pixels without a measurement, say so (--nodata nan): they are then kept."
        )
    if not number.all():
        empty = int(np.flatnonzero(number == 0)[0])
        raise HsisrError(
            f"{where}: band {empty + 1} of the file has no measured value, only no-data ({file.nodata:g}). "
            "Check the no-data value, or leave out this scene."
        )
    if low == high == 0:
        raise HsisrError(f"{where}: all values are zero; not an image. Leave out this scene.")
    return low, high, total / number


def _extreme(dtype: np.dtype, which: str) -> float | int:
    limits = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    return getattr(limits, which)


def _held(file: CubeFile) -> Callable[[slice, slice], np.ndarray]:
    """Read the whole file, in its own type, and return the window on it."""
    array: np.ndarray | None = None
    for bands, rows, cols, block in file.blocks():
        if array is None:
            array = np.empty(file.shape, block.dtype)
        array[bands, rows, cols] = block
    assert array is not None
    return array_window(array, (0, 1, 2))
