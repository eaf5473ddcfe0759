"""Write a cube part by part, in any order of the parts: HDF5, .mat, .npy, TIFF and ENVI.

Every format is a head and one block of values at a known place, so a part is written with plain system calls.
A memory map, GDAL or the HDF5 library would end the process, or say nothing, when the disk fills up; a system call
reports it.
"""

from __future__ import annotations

import json
import math
import shutil
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
import rasterio
from filelock import lock_descriptor
from numpy.typing import NDArray
from rasterio.errors import CRSError

from hsisr_core import __version__
from hsisr_core.base import atomic_path, atomic_text, remove_leftovers
from hsisr_core.errors import HsisrError
from hsisr_core.scenes.arrays import MATLAB_TYPES
from hsisr_core.scenes.raster import ENVI_TYPES, as_list, gdal, read_envi_header
from hsisr_core.scenes.scene import Georeference

Writer = Callable[[slice, slice, np.ndarray], None]
"""Writes rows and columns of all bands: values (bands, height, width), in the product's type."""

_ENVI = (".hdr", ".img")
_MATLAB_PREFACE = 512  # bytes before the HDF5 content of a .mat file
_MATLAB_5_BYTES = 2**31 - 2**16  # that a variable of a v5 file may have


@dataclass(frozen=True, eq=False)
class Product:
    """A cube that is about to be written."""

    # (bands, height, width), and the type of the values in the file
    shape: tuple[int, int, int]
    dtype: np.dtype
    # band centres in nm, (bands,); NaN if unknown
    wavelengths: NDArray[np.float64]
    # the value that stands for 1, and that of pixels without a measurement
    divisor: float
    nodata: float | None
    georeference: Georeference | None
    # how it was made: texts and numbers by name
    provenance: dict[str, Any]
    # what else the source says of its values and bands, by ENVI's names
    entries: dict[str, Any] = field(default_factory=dict)
    # name of the array, and whether a .mat file is to be of version 5
    key: str = "cube"
    matlab_5: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def centres(self) -> list[float] | None:
        """The wavelengths as a list; None if unknown."""
        return self.wavelengths.tolist() if np.isfinite(self.wavelengths).all() else None


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
    """
    values, *beside = output_files(path)
    suffix = path.suffix.lower()
    remove_leftovers(values)
    folder = next(parent for parent in values.absolute().parents if parent.is_dir())
    free = shutil.disk_usage(folder).free
    if free < product.nbytes:
        raise HsisrError(
            f"{values} will take {product.nbytes / 1e9:.2f} GB, and the disk has {free / 1e9:.2f} GB free. Free some "
            "space, or name a file on another disk."
        )
    with atomic_path(values) as temporary:
        offset, text = _HEADS[suffix](temporary, product)
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
        # an older one must not describe the new values
        for other in beside:
            other.unlink(missing_ok=True)
    for other in beside:
        atomic_text(other, text)


def _describe(product: Product) -> dict[str, Any]:
    """Return what is known of a cube, by the names that it has in a file."""
    place = product.georeference
    said = {
        "wavelengths": product.centres,
        "wavelength_units": product.centres and "nanometers",
        "divisor": product.divisor,
        "nodata": product.nodata,
        "geotransform": place and list(place.transform),
        "crs": place and place.crs,
        "entries": product.entries,
        "provenance": product.provenance,
    }
    return {name: value for name, value in said.items() if value not in (None, "", {})}


def _describe_flat(product: Product) -> dict[str, Any]:
    """As `_describe`, with JSON where a value has names of its own."""
    said = _describe(product)
    return {name: json.dumps(value) if isinstance(value, dict) else value for name, value in said.items()}


def _write_npy_head(path: Path, product: Product) -> tuple[int, str]:
    """Make a .npy file; return where its values go, and what is said of them beside it."""
    made = np.lib.format.open_memmap(path, "w+", product.dtype, product.shape)
    said = _describe(product)
    if "nodata" in said:
        # a text, because JSON has no NaN
        said["nodata"] = str(said["nodata"])
    return int(made.offset), json.dumps(said, indent=2) + "\n"


def _write_hdf5_head(path: Path, product: Product) -> tuple[int, str]:
    """Make an HDF5 file with a dataset `cube` (bands, height, width), whose attributes say what is known of it."""
    with h5py.File(path, "w") as file:
        item = _create_empty(file, "cube", product.shape, product.dtype)
        item.attrs.update(_describe_flat(product))
        return int(item.id.get_offset()), ""


def _write_mat_head(path: Path, product: Product) -> tuple[int, str]:
    """Make a .mat file with a variable, height x width x bands, and others that say what is known of it.

    Version 5 holds 2 GB; a larger cube is written as 7.3.
    """
    if product.dtype.name not in MATLAB_TYPES:
        raise HsisrError(f"MATLAB has no values of type {product.dtype}. Write float32, or another format.")
    kind, number, element = MATLAB_TYPES[product.dtype.name]
    bands, height, width = product.shape
    if product.matlab_5 and product.nbytes < _MATLAB_5_BYTES:
        from scipy import io  # not above: it takes memory that other formats need not

        io.savemat(path, _describe_flat(product))
        name, padding = product.key.encode("ascii"), -product.nbytes % 8
        # of the array: its flags, its dimensions, its name, and the type and size of its values
        head = struct.pack("<4I2I3iI2I", 6, 8, number, 0, 5, 12, height, width, bands, 0, 1, len(name))
        head += name + bytes(-len(name) % 8) + struct.pack("<2I", element, product.nbytes)
        with open(path, "ab") as file:
            file.write(struct.pack("<2I", 14, len(head) + product.nbytes + padding) + head)
            offset = file.tell()
            file.truncate(offset + product.nbytes + padding)
        return offset, ""
    with h5py.File(path, "w", userblock_size=_MATLAB_PREFACE) as stored:
        item = _create_empty(stored, product.key, (bands, width, height), product.dtype)
        item.attrs["MATLAB_class"] = np.bytes_(kind)
        # as MATLAB has them: a 1 x n row of characters or of doubles
        for title, value in _describe_flat(product).items():
            is_text = isinstance(value, str)
            row = np.frombuffer(value.encode("utf-16-le"), "<u2") if is_text else np.ravel(np.float64(value))
            other = stored.create_dataset(title, data=row[:, None])
            other.attrs["MATLAB_class"] = np.bytes_("char" if is_text else "double")
            if is_text:
                other.attrs["MATLAB_int_decode"] = np.int32(2)
        offset = int(item.id.get_offset())
    with open(path, "rb+") as raw:
        # version 0x0200, little-endian
        raw.write(b"MATLAB 7.3 MAT-file, written by hsisr".ljust(124) + b"\x00\x02IM")
    return offset, ""


def _create_empty(file: h5py.File, name: str, shape: tuple[int, int, int], dtype: np.dtype) -> h5py.Dataset:
    """Make a dataset of one piece that has its place in the file, but no values yet."""
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return file.create_dataset(name, shape, dtype, dcpl=settings)


def _write_raster_head(path: Path, product: Product, **options: Any) -> None:
    """Write an empty file with a place by GDAL."""
    bands, height, width = product.shape
    place = product.georeference
    if place is not None:
        options["transform"] = rasterio.Affine.from_gdal(*place.transform)
        with suppress(CRSError):
            options["crs"] = rasterio.CRS.from_user_input(place.crs) if place.crs else None
    profile = {"count": bands, "height": height, "width": width, "dtype": product.dtype.name}
    with rasterio.open(path, "w", **profile, **options):
        pass


def _write_tiff_head(path: Path, product: Product) -> tuple[int, str]:
    """Make a TIFF file whose values lie band after band, row after row."""
    bands, height, width = product.shape
    entries = dict(product.entries)
    with gdal(GDAL_PAM_ENABLED=False):
        _write_raster_head(path, product, driver="GTiff", interleave="band", blockysize=1, BIGTIFF="IF_SAFER")
        # a second time, because the empty file takes no space on the disk only without a no-data value
        with rasterio.open(path, "r+", driver="GTiff") as file:
            if product.nodata is not None:
                file.nodata = product.nodata
            if "scales" in entries:
                file.scales, file.offsets = entries.pop("scales"), entries.pop("offsets")
            for band, name in enumerate(as_list(entries.pop("band names", "")), start=1):
                file.set_band_description(band, name)
            for band, centre in enumerate(product.centres or (), start=1):
                file.update_tags(band, wavelength=f"{centre:.10g}", wavelength_units="nanometers")
            tags = {f"hsisr_{name}": _text(value) for name, value in product.provenance.items()}
            tags |= {"hsisr_divisor": f"{product.divisor:.17g}", "TIFFTAG_SOFTWARE": f"hsisr {__version__}"}
            tags |= {name.replace(" ", "_"): _text(value) for name, value in entries.items()}
            file.update_tags(**tags)
        with rasterio.open(path, driver="GTiff") as file:
            ends = ((1, 0), (bands, height - 1))
            places = [file.get_tag_item(f"BLOCK_OFFSET_0_{row}", "TIFF", bidx=band) for band, row in ends]
    first, last = map(int, places)
    assert last - first == product.nbytes - width * product.dtype.itemsize
    return first, ""


def _write_envi_head(path: Path, product: Product) -> tuple[int, str]:
    """Make the file of values; return its header, too, which GDAL begins."""
    entries, made = dict(product.entries), path.with_suffix(".hdr")
    if product.dtype.str[1:] not in ENVI_TYPES.values():
        raise HsisrError(f"ENVI has no type {product.dtype}. Write float32, or another format.")
    try:
        with gdal(GDAL_PAM_ENABLED=False):
            _write_raster_head(path, product, driver="ENVI")
        found = read_envi_header(made)
    finally:
        made.unlink(missing_ok=True)
    found["description"] = "{Made by hsisr upscale; see the entries that begin with hsisr}"
    found.pop("band names", None)
    if product.georeference is not None and "rotation" not in found.get("map info", "rotation"):
        # GDAL leaves it out for projections that ENVI has no name for
        _, a, _, _, d, _ = product.georeference.transform
        turned = f", rotation={math.degrees(math.atan2(d, a)):.15g}}}"
        found["map info"] = found["map info"].rstrip("}") + turned if d else found["map info"]
    if product.nodata is not None:
        found["data ignore value"] = f"{product.nodata:.17g}"
    if product.divisor != 1:
        found["reflectance scale factor"] = f"{product.divisor:.17g}"
    if product.centres is not None:
        found["wavelength units"] = "Nanometers"
        found["wavelength"] = _listed(product.centres, ".10g")
    if "scales" in entries:
        found["data gain values"] = _listed(entries.pop("scales"), ".17g")
        found["data offset values"] = _listed(entries.pop("offsets"), ".17g")
    found |= {name: text for name, text in entries.items() if not name.startswith("hsisr")}
    # braces and commas would make a list of a text
    words = str.maketrans("{}\n=", "() :")
    for name, value in product.provenance.items():
        found[f"hsisr {name.replace('_', ' ')}"] = _text(value).translate(words)
    return 0, "ENVI\n" + "".join(f"{name} = {value}\n" for name, value in found.items())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _listed(values: Iterable[float], digits: str) -> str:
    return "{" + ", ".join(format(value, digits) for value in values) + "}"


_HEADS = {
    **dict.fromkeys((".h5", ".hdf5"), _write_hdf5_head),
    ".mat": _write_mat_head,
    ".npy": _write_npy_head,
    **dict.fromkeys((".tif", ".tiff"), _write_tiff_head),
    **dict.fromkeys(_ENVI, _write_envi_head),
}
SUFFIXES = tuple(_HEADS)


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
