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
from collections.abc import Callable, Iterator
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
from hsisr_core.base import atomic_path, atomic_text, remove_leftovers, write_json
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

    Raises
    ------
    HsisrError
        The suffix is unknown, the type does not fit the format, the folder cannot be written, or the disk is full.
    """
    values, *beside = output_files(path)
    suffix = path.suffix.lower()
    remove_leftovers(values)
    _check_space(values, product.nbytes)
    header = ""
    with atomic_path(values) as temporary:
        if suffix in _ENVI:
            header = _write_envi_head(temporary, product, path)
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
        described = {
            "wavelengths_nm": product.centres,
            **_describe(product),
            "provenance": product.provenance,
        }
        del described["wavelengths"]
        # as a text, because JSON has no NaN
        described["nodata"] = None if product.nodata is None else str(product.nodata)
        write_json(beside[0], described)


def _write_npy_head(path: Path, product: Product) -> int:
    """Write the head of a .npy file; return where its values go."""
    head = {
        "descr": np.lib.format.dtype_to_descr(product.dtype),
        "fortran_order": False,
        "shape": product.shape,
    }
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, head)
        return file.tell()


def _describe(product: Product) -> dict[str, Any]:
    """Return what a file says of its values, by name; None: it is not known."""
    place = product.georeference
    return {
        "wavelengths": product.centres,
        "wavelength_units": product.centres and "nanometers",
        "divisor": product.divisor,
        "nodata": product.nodata,
        "geotransform": place and list(place.transform),
        "crs": place and (place.crs or None),
        "entries": json.dumps(product.entries) if product.entries else None,
        "provenance": json.dumps(product.provenance),
    }


def _write_hdf5_head(path: Path, product: Product) -> int:
    """Write an HDF5 file with an empty dataset `cube` (bands, height, width); return where its values go.

    Its attributes are `wavelengths` (nm), `divisor`, `nodata`, `geotransform` (GDAL's order), `crs`, `entries` (what
    else the source says) and `provenance` (both JSON), as far as they are known.
    """
    with h5py.File(path, "w") as file:
        item = _create_empty(file, "cube", product.shape, product.dtype)
        for name, value in _describe(product).items():
            if value is not None:
                item.attrs[name] = value
        return int(item.id.get_offset())


def _write_mat_head(path: Path, product: Product) -> int:
    """Write a .mat file with an empty variable, height x width x bands; return where its values go.

    What is an attribute in HDF5 is a variable here. Version 5 holds 2 GB; a larger cube is written as 7.3.
    """
    if product.dtype.name not in MATLAB_TYPES:
        raise HsisrError(f"MATLAB has no values of type {product.dtype}. Write float32, or another format.")
    kind, number, element = MATLAB_TYPES[product.dtype.name]
    bands, height, width = product.shape
    variables = {name: value for name, value in _describe(product).items() if value is not None}
    if product.matlab_5 and product.nbytes < _MATLAB_5_BYTES:
        from scipy import io  # not above: it takes memory that other formats need not

        io.savemat(path, variables)
        name = product.key.encode("ascii")
        head = struct.pack("<4I", 6, 8, number, 0) + struct.pack("<2I3iI", 5, 12, height, width, bands, 0)
        head += struct.pack("<2I", 1, len(name)) + name + bytes(-len(name) % 8)
        head += struct.pack("<2I", element, product.nbytes)
        padding = -product.nbytes % 8
        with open(path, "ab") as file:
            file.write(struct.pack("<2I", 14, len(head) + product.nbytes + padding) + head)
            offset = file.tell()
            file.truncate(offset + product.nbytes + padding)
        return offset
    with h5py.File(path, "w", userblock_size=_MATLAB_PREFACE) as stored:
        item = _create_empty(stored, product.key, (bands, width, height), product.dtype)
        item.attrs["MATLAB_class"] = np.bytes_(kind)
        for title, value in variables.items():
            _write_variable(stored, title, value)
        offset = int(item.id.get_offset())
    text = b"MATLAB 7.3 MAT-file, written by hsisr".ljust(124)
    with open(path, "rb+") as raw:
        raw.write(text + b"\x00\x02IM")  # version 0x0200, little-endian
    return offset


def _create_empty(file: h5py.File, name: str, shape: tuple[int, int, int], dtype: np.dtype) -> h5py.Dataset:
    """Make a dataset of one piece that has its place in the file, but no values yet."""
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return file.create_dataset(name, shape, dtype, dcpl=settings)


def _write_variable(file: h5py.File, name: str, value: Any) -> None:
    """A variable as MATLAB keeps it: a 1 x n row of characters or of doubles."""
    text = isinstance(value, str)
    codes = np.frombuffer(value.encode("utf-16-le"), "<u2") if text else np.ravel(np.float64(value))
    item = file.create_dataset(name, data=codes[:, None])
    item.attrs["MATLAB_class"] = np.bytes_("char" if text else "double")
    if text:
        item.attrs["MATLAB_int_decode"] = np.int32(2)


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


def _write_tiff_head(path: Path, product: Product) -> int:
    """Write an empty TIFF file; return where its values go: band after band, row after row.

    Metadata of the bands hold `wavelength` and `wavelength_units`, those of the file the provenance and what else the
    source says.
    """
    bands, height, width = product.shape
    with gdal(GDAL_PAM_ENABLED=False):
        _write_raster_head(path, product, driver="GTiff", interleave="band", blockysize=1, BIGTIFF="IF_SAFER")
        entries = dict(product.entries)
        tags = {f"hsisr_{name}": _text(value) for name, value in product.provenance.items()}
        tags |= {"hsisr_divisor": f"{product.divisor:.17g}", "TIFFTAG_SOFTWARE": f"hsisr {__version__}"}
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
            file.update_tags(
                **tags, **{name.replace(" ", "_"): _text(value) for name, value in entries.items()}
            )
        with rasterio.open(path, driver="GTiff") as file:
            first, last = (
                int(file.get_tag_item(f"BLOCK_OFFSET_0_{row}", "TIFF", bidx=band))
                for band, row in ((1, 0), (bands, height - 1))
            )
    assert last - first == product.nbytes - width * product.dtype.itemsize
    return first


def _write_envi_head(temporary: Path, product: Product, path: Path) -> str:
    """Make the file of values; return its header, which GDAL begins.  `path` is for the message."""
    entries = dict(product.entries)
    made = temporary.with_suffix(".hdr")
    if product.dtype.str[1:] not in ENVI_TYPES.values():
        raise HsisrError(f"{path}: ENVI has no type {product.dtype}. Write float32, or another format.")
    try:
        with gdal(GDAL_PAM_ENABLED=False):
            _write_raster_head(temporary, product, driver="ENVI")
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
        found["wavelength"] = _listed(f"{centre:.10g}" for centre in product.centres)
    if "scales" in entries:
        found["data gain values"] = _listed(f"{value:.17g}" for value in entries.pop("scales"))
        found["data offset values"] = _listed(f"{value:.17g}" for value in entries.pop("offsets"))
    # braces and commas would make a list of a text
    words = str.maketrans("{}\n=", "() :")
    found |= {name: text for name, text in entries.items() if not name.startswith("hsisr")}
    found |= {
        f"hsisr {name.replace('_', ' ')}": _text(value).translate(words)
        for name, value in product.provenance.items()
    }
    return "ENVI\n" + "".join(f"{name} = {value}\n" for name, value in found.items())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _listed(values: Any) -> str:
    return "{" + ", ".join(values) + "}"


_HEADS = {
    ".h5": _write_hdf5_head,
    ".hdf5": _write_hdf5_head,
    ".mat": _write_mat_head,
    ".npy": _write_npy_head,
    ".tif": _write_tiff_head,
    ".tiff": _write_tiff_head,
}
SUFFIXES = (*_HEADS, *_ENVI)


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
