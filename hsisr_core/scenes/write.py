"""Write a cube part by part, in any order of the parts: HDF5, .mat, .npy, TIFF and ENVI.

Every format is a head and one block of values, written with plain system calls: a memory map, GDAL or the HDF5
library would end the process, or say nothing, when the disk fills up.
"""

import json
import math
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import rasterio
from filelock import lock_descriptor
from rasterio.errors import CRSError

from hsisr_core import __version__
from hsisr_core.base import atomic_path, remove_leftovers
from hsisr_core.errors import HsisrError
from hsisr_core.scenes.bands import as_list
from hsisr_core.scenes.raster import ENVI_TYPES, GAINS, gdal, read_envi_header
from hsisr_core.scenes.scene import OpenScene

_ENVI = (".hdr", ".img")
# types of values in version 5, in the order of MATLAB's classes from 6 on, and the numbers of their values
_MATLAB_5_TYPES = ("f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
_MATLAB_5_VALUES = (9, 7, 1, 2, 3, 4, 5, 6, 12, 13)
_MATLAB_5_BYTES = 2**31 - 2**16  # that a variable of a v5 file may have


@dataclass(frozen=True, eq=False)
class Product:
    """A cube that is about to be written: `source`, with `scale` times the pixels a side."""

    source: OpenScene
    scale: int
    # of the values in the file
    dtype: np.dtype
    # how it was made: texts and numbers by name
    provenance: dict[str, Any]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(bands, height, width)."""
        bands, height, width = self.source.shape
        return bands, height * self.scale, width * self.scale

    def describe(self) -> dict[str, Any]:
        """Return what is known of the cube, by the names that it has in a file."""
        place, centres = self.source.file.georeference, self.source.wavelengths
        said: dict[str, Any] = {"divisor": self.source.divisor, "nodata": self.source.nodata}
        if np.isfinite(centres).all():
            said |= {"wavelengths": centres.tolist(), "wavelength_units": "nanometers"}
        if place is not None:
            # the corner stays
            sides = (1, self.scale, self.scale) * 2
            said |= {"geotransform": np.divide(place.transform, sides).tolist(), "crs": place.crs}
        said |= {"entries": json.dumps(self.source.entries), "provenance": json.dumps(self.provenance)}
        return {name: value for name, value in said.items() if value not in (None, "", "{}")}


def output_files(path: Path) -> list[Path]:
    """Return the files that writing to `path` makes; the first one holds the values."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise HsisrError(f"{path}: the suffix is {suffix!r}; expected one of {', '.join(SUFFIXES)}.")
    if suffix in _ENVI:
        return [path.with_suffix(".img"), path.with_suffix(".hdr")]
    return [path, path.with_name(path.name + ".json")] if suffix == ".npy" else [path]


@contextmanager
def cube_writer(path: Path, product: Product) -> Iterator[Callable[[slice, slice, np.ndarray], None]]:
    """Give what writes rows and columns of all bands to `path`, in its format; no file changes before the end."""
    values, *beside = output_files(path)
    suffix = path.suffix.lower()
    for made in (values, *beside):
        remove_leftovers(made)
    folder = next(parent for parent in values.absolute().parents if parent.is_dir())
    size, free = math.prod(product.shape) * product.dtype.itemsize / 1e9, shutil.disk_usage(folder).free / 1e9
    if free < size:
        found = f"{values} takes {size:.3g} GB; {free:.3g} GB are free"
        raise HsisrError(f"{found}. Free some space, or name another disk.")
    # left in reverse: the values get their name first
    with ExitStack() as stack:
        descriptions = [stack.enter_context(atomic_path(other)) for other in beside]
        temporary = stack.enter_context(atomic_path(values))
        offset, text = _HEADS[suffix](temporary, product)
        for description in descriptions:
            description.write_text(text, encoding="utf-8")
        with open(temporary, "rb+") as file:
            # where there are no locks, no one takes this file for a leftover either
            with suppress(OSError):
                lock_descriptor(file.fileno(), blocking=False)

            def write(rows: slice, columns: slice, part: np.ndarray) -> None:
                _, lines, samples = product.shape
                if suffix == ".mat":
                    # the columns come before the rows
                    lines, samples, rows, columns, part = samples, lines, columns, rows, part.swapaxes(1, 2)
                # line by line: a part that is not contiguous is not copied as a whole
                for band, row in np.ndindex(part.shape[:2]):
                    place = (band * lines + rows.start + row) * samples + columns.start
                    file.seek(offset + place * product.dtype.itemsize)
                    file.write(np.ascontiguousarray(part[band, row], product.dtype).data)

            yield write
        # an older one must not describe the new values
        for other in beside:
            other.unlink(missing_ok=True)


def _write_npy_head(path: Path, product: Product) -> tuple[int, str]:
    """Make a .npy file; return where its values go, and what is said of them beside it."""
    made, said = np.lib.format.open_memmap(path, "w+", product.dtype, product.shape), product.describe()
    if "nodata" in said:
        # a text, because JSON has no NaN
        said["nodata"] = str(said["nodata"])
    return int(made.offset), json.dumps(said | {"provenance": product.provenance}, indent=2) + "\n"


def _write_hdf5_head(path: Path, product: Product) -> tuple[int, str]:
    """Make an HDF5 file with a dataset `cube` (bands, height, width), whose attributes say what is known of it."""
    # of one piece that has its place in the file, but no values yet
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    with h5py.File(path, "w") as file:
        item = file.create_dataset("cube", product.shape, product.dtype, dcpl=settings)
        item.attrs.update(product.describe())
        return int(item.id.get_offset()), ""


def _write_mat_head(path: Path, product: Product) -> tuple[int, str]:
    """Make a .mat file of version 5 with a variable, height x width x bands, and what is known of it in others."""
    from scipy import io  # not above: it takes memory that other formats need not

    (bands, height, width), code = product.shape, product.dtype.str[1:]
    size, key = math.prod(product.shape) * product.dtype.itemsize, product.source.file.key.rpartition("/")[2]
    if code not in _MATLAB_5_TYPES:
        raise HsisrError(f"MATLAB has no values of type {product.dtype}. Write float32, or another format.")
    if size > _MATLAB_5_BYTES:
        raise HsisrError(f"{size / 1e9:.3g} GB do not fit in a .mat file. Name an .h5 with -o.")
    io.savemat(path, product.describe())
    padding, number = -size % 8, _MATLAB_5_TYPES.index(code)
    name = key.encode() if key.isidentifier() and key.isascii() else b"cube"
    # of the array: its flags, its dimensions, its name, and the type and size of its values
    head = struct.pack("<4I2I3iI2I", 6, 8, 6 + number, 0, 5, 12, height, width, bands, 0, 1, len(name))
    head += name + bytes(-len(name) % 8) + struct.pack("<2I", _MATLAB_5_VALUES[number], size)
    with open(path, "ab") as file:
        file.write(struct.pack("<2I", 14, len(head) + size + padding) + head)
        offset = file.tell()
        file.truncate(offset + size + padding)
    return offset, ""


def _write_tiff_head(path: Path, product: Product) -> tuple[int, str]:
    """Make a TIFF file whose values lie band after band, row after row."""
    tags = {f"hsisr_{name}": value for name, value in product.provenance.items()}
    tags |= {"hsisr_divisor": f"{product.source.divisor:.17g}", "TIFFTAG_SOFTWARE": f"hsisr {__version__}"}
    options = {"interleave": "band", "blockysize": 1, "BIGTIFF": "IF_SAFER"}
    return _write_raster(path, product, "GTiff", tags, **options), ""


def _write_envi_head(path: Path, product: Product) -> tuple[int, str]:
    """Make the file of values; return its header, too, which GDAL writes but for a part."""
    said, made = product.describe(), path.with_suffix(".hdr")
    # braces and commas would make a list of a text
    words = str.maketrans("{}\n=", "() :")
    tags = {f"hsisr_{name}": _as_text(value).translate(words) for name, value in product.provenance.items()}
    if said["divisor"] != 1:
        tags["reflectance_scale_factor"] = f"{said['divisor']:.17g}"
    if "wavelengths" in said:
        tags |= {"wavelength_units": "Nanometers", "wavelength": "{" + str(said["wavelengths"])[1:-1] + "}"}
    try:
        _write_raster(path, product, "ENVI", tags)
        found = read_envi_header(made)
    finally:
        made.unlink(missing_ok=True)
    found["description"] = "{Made by hsisr upscale; see the entries that begin with hsisr}"
    _, a, _, _, d, _ = said.get("geotransform", (0.0,) * 6)
    if d and "rotation" not in found["map info"]:
        # GDAL leaves it out for projections that ENVI has no name for
        rotation = math.degrees(math.atan2(d, a))
        found["map info"] = f"{found['map info'].rstrip('}')}, rotation={rotation:.15g}}}"
    return 0, "ENVI\n" + "".join(f"{name} = {value}\n" for name, value in found.items())


def _write_raster(path: Path, product: Product, driver: str, tags: dict[str, Any], **options: Any) -> int:
    """Let GDAL make a file of zeros that takes no space on the disk yet; return where its values begin."""
    said, entries = product.describe(), product.source.entries
    if product.dtype.str[1:] not in ENVI_TYPES.values():
        raise HsisrError(f"{driver} has no type {product.dtype}. Write float32, or another format.")
    options |= dict(zip(("count", "height", "width"), product.shape, strict=True), dtype=product.dtype.name)
    if "geotransform" in said:
        options["transform"] = rasterio.Affine.from_gdal(*said["geotransform"])
    with suppress(CRSError):
        options["crs"] = rasterio.CRS.from_user_input(said["crs"]) if "crs" in said else None
    with gdal(GDAL_PAM_ENABLED=False):
        rasterio.open(path, "w", driver=driver, **options).close()
        # a second time, because the file takes space where a no-data value is known at first
        with rasterio.open(path, "r+", driver=driver) as file:
            if "nodata" in said:
                file.nodata = said["nodata"]
            gains = [as_list(entries.get(name, "")) for name in GAINS]
            if {len(gain) for gain in gains} == {file.count}:
                file.scales, file.offsets = ([float(word) for word in gain] for gain in gains)
                entries = {name: text for name, text in entries.items() if name not in GAINS}
            for band, name in zip(file.indexes, as_list(entries.pop("band names", "")), strict=False):
                file.set_band_description(band, name)
            for band, centre in enumerate(said.get("wavelengths", ()), start=1):
                if driver == "GTiff":
                    file.update_tags(band, wavelength=f"{centre:.10g}", wavelength_units="nanometers")
            tags |= {name.replace(" ", "_"): text for name, text in entries.items()}
            domain = "ENVI" if driver == "ENVI" else None
            file.update_tags(ns=domain, **{name: _as_text(value) for name, value in tags.items()})
            return int(file.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1) or 0)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


_HEADS = {
    **dict.fromkeys((".h5", ".hdf5"), _write_hdf5_head),
    ".mat": _write_mat_head,
    ".npy": _write_npy_head,
    **dict.fromkeys((".tif", ".tiff"), _write_tiff_head),
    **dict.fromkeys(_ENVI, _write_envi_head),
}
SUFFIXES = tuple(_HEADS)
