"""Write a cube part by part, in any order of the parts: HDF5, .mat, .npy, TIFF and ENVI.

Every format is a head and one block of values at a known place, so a part is written with plain system calls.
A memory map or the HDF5 library would end the process when the disk fills up; a system call reports it.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import lock_descriptor
from numpy.typing import NDArray

from hsisr_core.base.files import atomic_path, remove_leftovers, write_json
from hsisr_core.errors import HsisrError
from hsisr_core.scenes.scene import Georeference

__all__ = ["SUFFIXES", "Block", "Product", "Writer", "cube_writer", "output_files"]

Writer = Callable[[slice, slice, np.ndarray], None]
"""Writes rows and columns of all bands: values (bands, height, width), in the product's type."""

_ENVI = (".hdr", ".img")
SUFFIXES = (".h5", ".hdf5", ".mat", ".npy", ".tif", ".tiff", *_ENVI)


@dataclass(frozen=True, eq=False)
class Product:
    """A cube that is about to be written.

    Attributes
    ----------
    shape
        (bands, height, width).
    dtype
        Type of the values in the file.
    wavelengths
        Band centres in nm, (bands,); NaN if unknown.
    divisor
        The value that stands for 1.
    nodata
        The value of pixels without a measurement.
    georeference
        Where the cube lies.
    provenance
        How it was made: texts and numbers by name.
    source
        The file it was made of: a head of the same format is taken over from it where that says more.
    scale
        How many times the pixels a side of `source` it has.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    wavelengths: NDArray[np.float64]
    divisor: float
    nodata: float | None
    georeference: Georeference | None
    provenance: dict[str, Any]
    source: Path | None = None
    scale: int = 1

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def centres(self) -> list[float] | None:
        """The wavelengths as a list; None if unknown."""
        return self.wavelengths.tolist() if np.isfinite(self.wavelengths).all() else None


class Block(NamedTuple):
    """Where the values lie in a file: bands, then rows, then columns, or columns before rows (MATLAB)."""

    offset: int
    columns_first: bool = False


def output_files(path: Path) -> list[Path]:
    """Return the files that writing to `path` makes; the first one holds the values.

    Raises
    ------
    HsisrError
        The suffix is none of `SUFFIXES`.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise HsisrError(
            f"{path} has the suffix {suffix!r}; expected one of {', '.join(SUFFIXES)}. Name another file."
        )
    if suffix in _ENVI:
        return [path.with_suffix(".img"), path.with_suffix(".hdr")]
    return [path, path.with_name(path.name + ".json")] if suffix == ".npy" else [path]


@contextmanager
def cube_writer(path: Path, product: Product) -> Iterator[Writer]:
    """Write a cube to `path` part by part, in the format that its suffix names.

    The files appear under their names only when the block ends without an error. The space they need is
    claimed from the disk before the first part, so a disk that is too small is told at once. What a killed process
    left of the same file is removed.

    Raises
    ------
    HsisrError
        The suffix is unknown, the type does not fit the format, the folder cannot be written, or the disk is full.
    """
    from hsisr_core.scenes import write_envi, write_hdf5, write_tiff  # they import this module

    values, *beside = output_files(path)
    suffix = path.suffix.lower()
    remove_leftovers(values)
    _check_space(values, product.nbytes)
    with atomic_path(values) as temporary:
        if suffix in _ENVI:
            head, block = write_envi.header(product, path), Block(0)
        elif suffix == ".npy":
            block = _write_npy_head(temporary, product)
        elif suffix in (".tif", ".tiff"):
            block = write_tiff.write_head(temporary, product)
        elif suffix == ".mat":
            block = write_hdf5.write_mat_head(temporary, product)
        else:
            block = write_hdf5.write_head(temporary, product)
        with _writing(temporary, block, product) as write:
            yield write
        if suffix in _ENVI:
            beside[0].unlink(missing_ok=True)  # an older one must not describe the new values
    if suffix in _ENVI:
        with atomic_path(beside[0]) as temporary:
            temporary.write_text(head, encoding="utf-8")
    elif suffix == ".npy":
        place = product.georeference
        described = {
            "wavelengths_nm": product.centres,
            "divisor": product.divisor,
            "nodata": None if product.nodata is None else str(product.nodata),
            "geotransform": place and list(place.transform),
            "crs": place and place.crs,
            "provenance": product.provenance,
        }
        write_json(beside[0], described)


@contextmanager
def _writing(path: Path, block: Block, product: Product) -> Iterator[Writer]:
    bands, height, width = product.shape
    line = height if block.columns_first else width
    item = product.dtype.itemsize
    with open(path, "rb+", buffering=0) as file:
        # where there are no locks, no one takes this file for a leftover either
        with suppress(OSError):
            lock_descriptor(file.fileno(), blocking=False)
        _claim(file.fileno(), block.offset + product.nbytes)

        def write(rows: slice, columns: slice, values: np.ndarray) -> None:
            if block.columns_first:
                rows, columns, values = columns, rows, values.swapaxes(1, 2)
            values = np.ascontiguousarray(values, product.dtype)
            # whole lines lie one after the other: one call a band
            lines = values.reshape(bands, 1, -1) if values.shape[2] == line else values
            for band in range(bands):
                for row, part in enumerate(lines[band], start=rows.start):
                    place = (band * (height * width // line) + row) * line + columns.start
                    _write_all(file.fileno(), part, block.offset + place * item)

        yield write


def _write_all(descriptor: int, values: np.ndarray, offset: int) -> None:
    view = values.data.cast("B")
    done = 0
    while done < len(view):
        done += os.pwrite(descriptor, view[done:], offset + done)


def _claim(descriptor: int, size: int) -> None:
    """Make the file `size` bytes long, with the space behind it where the system can."""
    try:
        os.posix_fallocate(descriptor, 0, size)
    except (AttributeError, OSError) as error:  # macOS has no such call; some file systems refuse it
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        os.ftruncate(descriptor, size)


def _check_space(path: Path, size: int) -> None:
    folder = next((parent for parent in path.absolute().parents if parent.is_dir()), Path("/"))
    free = shutil.disk_usage(folder).free
    if free < size:
        raise HsisrError(
            f"{path} will take {size / 1e9:.2f} GB, and the disk has {free / 1e9:.2f} GB free. Free some space, "
            "or name a file on another disk."
        )


def _write_npy_head(path: Path, product: Product) -> Block:
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(
            file,
            {
                "descr": np.lib.format.dtype_to_descr(product.dtype),
                "fortran_order": False,
                "shape": product.shape,
            },
        )
        return Block(file.tell())
