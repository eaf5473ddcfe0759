"""Write a cube part by part, in any order of the parts: HDF5, .mat, .npy, TIFF and ENVI.

Every format is a head and one block of values at a known place, so a part is written with plain system calls.
A memory map or the HDF5 library would end the process when the disk fills up; a system call reports it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from filelock import lock_descriptor

from hsisr_core.base import atomic_path, atomic_text, remove_leftovers, write_json
from hsisr_core.errors import HsisrError
from hsisr_core.scenes.heads import (
    Product,
    describe,
    envi_header,
    write_hdf5_head,
    write_mat_head,
    write_npy_head,
    write_tiff_head,
)

Writer = Callable[[slice, slice, np.ndarray], None]
"""Writes rows and columns of all bands: values (bands, height, width), in the product's type."""

_ENVI = (".hdr", ".img")
_HEADS = {
    ".h5": write_hdf5_head,
    ".hdf5": write_hdf5_head,
    ".mat": write_mat_head,
    ".npy": write_npy_head,
    ".tif": write_tiff_head,
    ".tiff": write_tiff_head,
}
SUFFIXES = (*_HEADS, *_ENVI)


def output_files(path: Path) -> list[Path]:
    """Return the files that writing to `path` makes; the first one holds the values."""
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

    The files appear under their names only when the block ends without an error. A disk that is too small is
    reported before the first part. What a killed process left of the same file is removed.

    Raises
    ------
    HsisrError
        The suffix is unknown, the type does not fit the format, the folder cannot be written, or the disk is full.
    """
    values, *beside = output_files(path)
    suffix = path.suffix.lower()
    header = envi_header(product, path) if suffix in _ENVI else ""
    remove_leftovers(values)
    _check_space(values, product.nbytes)
    with atomic_path(values) as temporary:
        offset = _HEADS[suffix](temporary, product) if suffix in _HEADS else 0
        with open(temporary, "rb+") as file:
            # where there are no locks, no one takes this file for a leftover either
            with suppress(OSError):
                lock_descriptor(file.fileno(), blocking=False)

            def write(rows: slice, columns: slice, part: np.ndarray) -> None:
                lines, samples = product.shape[1:]
                if suffix == ".mat":
                    # the columns come before the rows
                    lines, samples, rows, columns, part = samples, lines, columns, rows, part.swapaxes(1, 2)
                part = np.ascontiguousarray(part, product.dtype)
                _write_part(file, offset, (lines, samples), rows.start, columns.start, part)

            yield write
        if suffix in _ENVI:
            beside[0].unlink(missing_ok=True)  # an older one must not describe the new values
    if suffix in _ENVI:
        atomic_text(beside[0], header)
    elif suffix == ".npy":
        described = {"wavelengths_nm": product.centres, **describe(product), "provenance": product.provenance}
        del described["wavelengths"]
        # as a text, because JSON has no NaN
        described["nodata"] = None if product.nodata is None else str(product.nodata)
        write_json(beside[0], described)


def _write_part(
    file: BinaryIO, offset: int, size: tuple[int, int], top: int, left: int, part: np.ndarray
) -> None:
    """Write a part into bands of `size`, the first of which begins at byte `offset` of the file."""
    height, width = size
    # whole lines lie one after the other: one call a band
    lines = part.reshape(len(part), 1, -1) if part.shape[2] == width else part
    for band in range(len(part)):
        for row, line in enumerate(lines[band], start=top):
            place = (band * height + row) * width + left
            file.seek(offset + place * part.itemsize)
            file.write(line.data)


def _check_space(path: Path, size: int) -> None:
    folder = next((parent for parent in path.absolute().parents if parent.is_dir()), Path("/"))
    free = shutil.disk_usage(folder).free
    if free < size:
        raise HsisrError(
            f"{path} will take {size / 1e9:.2f} GB, and the disk has {free / 1e9:.2f} GB free. Free some space, "
            "or name a file on another disk."
        )
