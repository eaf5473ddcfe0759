"""The heads of an HDF5 file and of a MATLAB 7.3 file, which is HDF5 with a preface and its axes reversed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hsisr_core.errors import HsisrError
from hsisr_core.scenes.write import Block, Product

__all__ = ["write_head", "write_mat_head"]

_PREFACE = 512  # bytes before the HDF5 content of a .mat file
_CLASSES = {"float64": "double", "float32": "single"}


def write_head(path: Path, product: Product) -> Block:
    """Write an HDF5 file with an empty dataset `cube` (bands, height, width); return where its values go.

    Its attributes are `wavelengths` (nm), `divisor`, `nodata`, `geotransform` (GDAL's order), `crs` and
    `provenance` (JSON), as far as they are known.
    """
    with h5py.File(path, "w") as file:
        item = _empty(file, "cube", product.shape, product.dtype)
        for name, value in _described(product).items():
            item.attrs[name] = value
        offset = item.id.get_offset()
    return Block(offset)


def write_mat_head(path: Path, product: Product) -> Block:
    """Write a .mat file (7.3) with an empty variable `cube`, height x width x bands; return where its values go.

    What `write_head` writes as attributes are variables here.

    Raises
    ------
    HsisrError
        MATLAB has no such type.
    """
    bands, height, width = product.shape
    kind = _CLASSES.get(product.dtype.name, product.dtype.name)
    if product.dtype.kind not in "iuf" or kind.startswith("float"):
        raise HsisrError(f"MATLAB has no values of type {product.dtype}. Write float32, or another format.")
    with h5py.File(path, "w", userblock_size=_PREFACE) as file:
        item = _empty(file, "cube", (bands, width, height), product.dtype)
        item.attrs["MATLAB_class"] = np.bytes_(kind)
        for name, value in _described(product).items():
            _variable(file, name, value)
        offset = item.id.get_offset()
    text = b"MATLAB 7.3 MAT-file, written by hsisr".ljust(124)
    with open(path, "rb+") as raw:
        raw.write(text + b"\x00\x02IM")  # version 0x0200, little-endian
    return Block(offset, columns_first=True)


def _described(product: Product) -> dict[str, Any]:
    place = product.georeference
    values = {
        "wavelengths": product.centres and np.array(product.centres),
        "divisor": product.divisor,
        "nodata": product.nodata,
        "geotransform": place and np.array(place.transform),
        "crs": place and (place.crs or None),
        "provenance": json.dumps(product.provenance),
    }
    return {name: value for name, value in values.items() if value is not None}


def _empty(file: h5py.File, name: str, shape: tuple[int, int, int], dtype: np.dtype) -> h5py.Dataset:
    """Make a dataset of one piece that has its place in the file, but no values yet."""
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple(shape)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(dtype), space, settings)
    return file[name]


def _variable(file: h5py.File, name: str, value: Any) -> None:
    """A variable as MATLAB keeps it: a 1 x n row of characters or of doubles."""
    text = isinstance(value, str)
    codes = (
        np.frombuffer(value.encode("utf-16-le"), "<u2") if text else np.ravel(np.asarray(value, np.float64))
    )
    item = file.create_dataset(name, data=codes[:, None])
    item.attrs["MATLAB_class"] = np.bytes_("char" if text else "double")
    if text:
        item.attrs["MATLAB_int_decode"] = np.int32(2)
