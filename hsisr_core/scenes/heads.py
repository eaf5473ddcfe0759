"""The heads of the files that `cube_writer` writes: all that is in them but the values."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import h5py
import numpy as np
from numpy.typing import NDArray

from hsisr_core import __version__
from hsisr_core.errors import HsisrError
from hsisr_core.scenes.geo import ENVI_TYPES, envi_files, envi_words, epsg_code, read_envi_header
from hsisr_core.scenes.scene import Georeference

_MATLAB_PREFACE = 512  # bytes before the HDF5 content of a .mat file
_MATLAB_CLASSES = {"float64": "double", "float32": "single"}

_BIG = 4_000_000_000  # bytes: classic TIFF ends at 4 GiB
_PIXEL_SCALE, _TIE_POINT, _MATRIX, _KEYS, _DOUBLES, _TEXTS = 33550, 33922, 34264, 34735, 34736, 34737
_GDAL_METADATA, _GDAL_NODATA = 42112, 42113
_RASTER_TYPE, _AREA = 1025, 1
Tag = tuple[int, str, int, Any, bool]


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
    # the file it was made of: where it has the format that is written, the place is described as there
    source: Path | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def centres(self) -> list[float] | None:
        """The wavelengths as a list; None if unknown."""
        return self.wavelengths.tolist() if np.isfinite(self.wavelengths).all() else None


def write_npy_head(path: Path, product: Product) -> int:
    """Write the head of a .npy file; return where its values go."""
    head = {
        "descr": np.lib.format.dtype_to_descr(product.dtype),
        "fortran_order": False,
        "shape": product.shape,
    }
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, head)
        return file.tell()


def describe(product: Product) -> dict[str, Any]:
    """Return what a file says of its values, by name; None: it is not known."""
    place = product.georeference
    return {
        "wavelengths": product.centres,
        "divisor": product.divisor,
        "nodata": product.nodata,
        "geotransform": place and list(place.transform),
        "crs": place and (place.crs or None),
        "provenance": json.dumps(product.provenance),
    }


def write_hdf5_head(path: Path, product: Product) -> int:
    """Write an HDF5 file with an empty dataset `cube` (bands, height, width); return where its values go.

    Its attributes are `wavelengths` (nm), `divisor`, `nodata`, `geotransform` (GDAL's order), `crs` and
    `provenance` (JSON), as far as they are known.
    """
    with h5py.File(path, "w") as file:
        item = _create_empty(file, "cube", product.shape, product.dtype)
        for name, value in describe(product).items():
            if value is not None:
                item.attrs[name] = value
        return int(item.id.get_offset())


def write_mat_head(path: Path, product: Product) -> int:
    """Write a .mat file (7.3) with an empty variable `cube`, height x width x bands; return where its values go.

    What `write_hdf5_head` writes as attributes are variables here.
    """
    bands, height, width = product.shape
    kind = _MATLAB_CLASSES.get(product.dtype.name, product.dtype.name)
    if product.dtype.kind not in "iuf" or kind.startswith("float"):
        raise HsisrError(f"MATLAB has no values of type {product.dtype}. Write float32, or another format.")
    with h5py.File(path, "w", userblock_size=_MATLAB_PREFACE) as file:
        item = _create_empty(file, "cube", (bands, width, height), product.dtype)
        item.attrs["MATLAB_class"] = np.bytes_(kind)
        for name, value in describe(product).items():
            if value is not None:
                _write_variable(file, name, value)
        offset = item.id.get_offset()
    text = b"MATLAB 7.3 MAT-file, written by hsisr".ljust(124)
    with open(path, "rb+") as raw:
        raw.write(text + b"\x00\x02IM")  # version 0x0200, little-endian
    return int(offset)


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


def write_tiff_head(path: Path, product: Product) -> int:
    """Write an empty TIFF file; return where its values go.

    GDAL's metadata hold the wavelengths (`wavelength`, `wavelength_units`) and the provenance; the place on
    the ground is in GeoTIFF's tags (OGC 19-008r4). The keys of the coordinate system are the source's own if it
    is a GeoTIFF; else an EPSG code if one is known, and the source's text if none is.
    """
    import tifffile  # not above: it takes memory that other formats need not

    tags: list[Tag] = [(_GDAL_METADATA, "s", 0, _gdal_metadata(product), True)]
    if product.nodata is not None:
        tags.append((_GDAL_NODATA, "s", 0, f"{product.nodata:.17g}", True))
    if product.georeference is not None:
        tags += _tiff_place(product.georeference)
        tags += _source_keys(product.source) or _crs_keys(product.georeference.crs)
    with tifffile.TiffWriter(path, bigtiff=product.nbytes > _BIG, byteorder="<") as file:
        file.write(
            shape=product.shape,
            dtype=product.dtype,
            photometric="minisblack",
            planarconfig="separate" if product.shape[0] > 1 else None,
            software=f"hsisr {__version__}",
            description="",
            metadata=None,
            extratags=tags,
        )
    with tifffile.TiffFile(path) as file:
        page: Any = file.pages[0]
        return int(page.dataoffsets[0])


def _gdal_metadata(product: Product) -> str:
    """GDAL's metadata: texts in XML, one item each; ASCII, as TIFF allows no more."""
    items = [
        f'<Item name="hsisr_{name}">{escape(value if isinstance(value, str) else json.dumps(value))}</Item>'
        for name, value in product.provenance.items()
    ]
    for band, centre in enumerate(product.centres or ()):
        items.append(f'<Item name="wavelength" sample="{band}">{centre:.10g}</Item>')
        items.append(f'<Item name="wavelength_units" sample="{band}">nanometers</Item>')
    text = f"<GDALMetadata>{''.join(items)}</GDALMetadata>"
    return text.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _tiff_place(georeference: Georeference) -> list[Tag]:
    t = georeference.transform
    if t[2] == t[4] == 0 and t[1] > 0 > t[5]:
        return [
            (_PIXEL_SCALE, "d", 3, (t[1], -t[5], 0.0), True),
            (_TIE_POINT, "d", 6, (0.0, 0.0, 0.0, t[0], t[3], 0.0), True),
        ]
    matrix = (t[1], t[2], 0.0, t[0], t[4], t[5], 0.0, t[3], *(0.0,) * 4, 0.0, 0.0, 0.0, 1.0)
    return [(_MATRIX, "d", 16, matrix, True)]


def _source_keys(source: Path | None) -> list[Tag]:
    """The keys of the coordinate system in `source`, if it is a GeoTIFF."""
    if source is None or source.suffix.lower() not in (".tif", ".tiff"):
        return []
    import tifffile

    with tifffile.TiffFile(source) as file:
        page: Any = file.pages[0]
        tags = {tag.code: tag.value for tag in page.tags.values()}
    keys = list(tags.get(_KEYS, ()))
    for start in range(4, len(keys), 4):
        if keys[start] == _RASTER_TYPE:
            keys[start + 3] = _AREA  # the transform counts from the corners of pixels
    if not keys:
        return []
    found: list[Tag] = [(_KEYS, "H", len(keys), tuple(keys), True)]
    if _DOUBLES in tags:
        found.append((_DOUBLES, "d", len(tags[_DOUBLES]), tuple(tags[_DOUBLES]), True))
    if _TEXTS in tags:
        found.append((_TEXTS, "s", 0, tags[_TEXTS], True))
    return found


def _crs_keys(crs: str) -> list[Tag]:
    """The keys for a coordinate system given as text."""
    code, projected = epsg_code(crs)
    if code is not None:
        model, key = (1, 3072) if projected else (2, 2048)
        keys = (1, 1, 0, 3, 1024, 0, 1, model, _RASTER_TYPE, 0, 1, _AREA, key, 0, 1, code)
        return [(_KEYS, "H", len(keys), keys, True)]
    text = crs.encode("ascii", "replace").decode("ascii").replace("|", "/") + "|"
    keys = (1, 1, 0, 3, 1024, 0, 1, 32767, _RASTER_TYPE, 0, 1, _AREA, 1026, _TEXTS, len(text), 0)
    return [(_KEYS, "H", len(keys), keys, True), (_TEXTS, "s", 0, text, True)]


def envi_header(product: Product, path: Path) -> str:
    """Return the header for the values of `product`, band after band, little-endian.

    `map info` and `coordinate system string` are in the words of the source if it is an ENVI file.
    `path` is for the message.
    """
    types = {np.dtype(kind).name: number for number, kind in ENVI_TYPES.items()}
    if product.dtype.name not in types:
        raise HsisrError(f"{path}: ENVI has no type {product.dtype}. Write float32, or another format.")
    bands, height, width = product.shape
    entries: dict[str, Any] = {
        "description": "{Made by hsisr upscale; see the entries that begin with hsisr}",
        "samples": width,
        "lines": height,
        "bands": bands,
        "header offset": 0,
        "file type": "ENVI Standard",
        "data type": types[product.dtype.name],
        "interleave": "bsq",
        "byte order": 0,
    }
    if product.nodata is not None:
        entries["data ignore value"] = f"{product.nodata:.17g}"
    if product.divisor != 1:
        entries["reflectance scale factor"] = f"{product.divisor:.17g}"
    if product.centres is not None:
        entries["wavelength units"] = "Nanometers"
        entries["wavelength"] = _listed(f"{centre:.10g}" for centre in product.centres)
    if product.georeference is not None:
        entries |= _envi_place(product, product.georeference)
    for name, value in product.provenance.items():
        text = value if isinstance(value, str) else json.dumps(value)
        # braces and commas would make a list of it
        entries[f"hsisr {name.replace('_', ' ')}"] = text.translate(str.maketrans("{}\n=", "() :"))
    return "ENVI\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())


def _listed(values: Iterable[str]) -> str:
    return "{" + ", ".join(values) + "}"


def _envi_place(product: Product, georeference: Georeference) -> dict[str, str]:
    """`map info` in the words of the source's header, if it has one, else in those for the coordinate system."""
    x, a, b, y, d, e = georeference.transform
    before, after = envi_words(georeference.crs)
    wkt = georeference.crs if georeference.crs.startswith(("PROJCS", "GEOGCS")) else ""
    source = product.source
    found = None if source is None or source.is_dir() else envi_files(source)
    if found is not None:
        header = read_envi_header(found[0])
        info, wkt = header["map info"], georeference.crs if "coordinate system string" in header else ""
        before, after = info[:1], [word for word in info[7:] if not word.lower().startswith("rotation")]
    angle = math.degrees(math.atan2(d, a))
    numbers = [f"{value:.17g}" for value in (1, 1, x, y, math.hypot(a, d), math.hypot(b, e))]
    turned = [f"rotation={angle:.10g}"] if angle else []
    place = {"map info": _listed([*before, *numbers, *after, *turned])}
    if wkt and (found is not None or before == ["Arbitrary"]):
        place["coordinate system string"] = "{" + wkt + "}"
    elif before == ["Arbitrary"] and georeference.crs:
        place["hsisr crs"] = georeference.crs
    return place
