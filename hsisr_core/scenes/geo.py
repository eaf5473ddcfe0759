"""Open a cube in ENVI format or in a TIFF file; coordinate systems between the two."""

from __future__ import annotations

import math
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsisr_core.errors import HsisrError
from hsisr_core.scenes.cube import CubeFile, reading
from hsisr_core.scenes.scene import Georeference

_ENVI_SUFFIXES = ("", ".raw", ".img", ".dat", ".bin", ".bsq", ".bil", ".bip")
ENVI_TYPES = {1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 12: "u2", 13: "u4", 14: "i8", 15: "u8"}
# the axes of the raw values, slowest first, and where the bands, rows and columns are among them
_INTERLEAVES = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (2, 0, 1)}
_NANOMETRES = {"nanometers": 1.0, "nanometer": 1.0, "nm": 1.0, "micrometers": 1e3, "microns": 1e3, "um": 1e3}
# (name of GDAL's metadata item, factor to nm); the second is GDAL's own, the first what others write
_GDAL_WAVELENGTHS = {"wavelength": 1.0, "central_wavelength_um": 1e3}
_WGS84 = 4326
_NORTH, _SOUTH = 32600, 32700  # EPSG codes of UTM on WGS 84, without the zone


def envi_files(path: Path) -> tuple[Path, Path] | None:
    """Return the header and the raw file that belong together, given either; None: `path` is not an ENVI file."""
    if path.suffix.lower() == ".hdr":
        stem = path.with_suffix("")
        names = [stem.name + end for end in (*_ENVI_SUFFIXES, *(suffix.upper() for suffix in _ENVI_SUFFIXES))]
        for name in names:
            if (path.parent / name).is_file():
                return path, path.parent / name
        tried = ", ".join(stem.name + suffix for suffix in _ENVI_SUFFIXES)
        raise HsisrError(f"{path} has no file of values beside it; expected one of {tried}. Put it there.")
    for header in (path.with_name(path.name + ".hdr"), path.with_suffix(".hdr")):
        if path.suffix.lower() in _ENVI_SUFFIXES and header.is_file():
            return header, path
    return None


def read_envi_header(header: Path) -> dict[str, Any]:
    """Read an ENVI header: texts and lists of texts by name."""
    from spectral.io import envi  # a quarter of a second to import

    with reading(header, "an ENVI header"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about capital letters in names
        return dict(envi.read_envi_header(str(header)))


def open_envi(header: Path, raw: Path) -> CubeFile:
    """Open an ENVI cube; the header is read by the package `spectral`, the values as a memory map.

    Of the header, `wavelength` with its units, `reflectance scale factor`, `data ignore value` and
    `map info` are used; `bbl` (bad bands) is only reported.
    """
    entries = read_envi_header(header)
    entries.setdefault("header offset", 0)
    names = ("bands", "lines", "samples", "header offset", "data type")
    count, height, width, offset, number = (_number(entries, name, header, int) for name in names)
    interleave = str(entries.get("interleave", "")).lower()
    if number not in ENVI_TYPES:
        known = ", ".join(map(str, ENVI_TYPES))
        raise HsisrError(f"{header}: data type is {number}; expected one of {known}. Convert the file.")
    if 0 in (count, height, width):
        raise HsisrError(f"{header}: bands, lines or samples is 0; expected at least 1. Fix the header.")
    if interleave not in _INTERLEAVES:
        raise HsisrError(f"{header}: interleave is {interleave!r}; expected bsq, bil or bip. Fix the header.")
    order = ">" if str(entries.get("byte order", "0")).strip() == "1" else "<"
    dtype = np.dtype(order + ENVI_TYPES[number])
    expected, found = offset + count * height * width * dtype.itemsize, raw.stat().st_size
    if found < expected or str(entries.get("file compression", "0")).strip() == "1":
        raise HsisrError(
            f"{raw} has {found} bytes; {header.name} says {expected} (or more), not compressed. It is truncated, "
            "compressed or belongs to another header. Fetch it again."
        )
    axes = _INTERLEAVES[interleave]
    shape = tuple((count, height, width)[axes.index(axis)] for axis in range(3))
    declared = {"reflectance scale factor", "data ignore value"} & entries.keys()
    optional = {name: _number(entries, name, header) for name in declared}
    bad = entries.get("bbl")
    marked = sum(float(value) == 0 for value in bad) if isinstance(bad, list) and len(bad) == count else 0
    return CubeFile(
        kind=f"ENVI file, {interleave}, {dtype.name}"
        + (f", {marked} bands marked bad (kept)" if marked else ""),
        array=np.memmap(raw, dtype, "r", offset, shape),
        axes=axes,
        wavelengths=_envi_wavelengths(entries, count),
        divisor=optional.get("reflectance scale factor"),
        nodata=optional.get("data ignore value"),
        georeference=_envi_georeference(entries, header),
    )


def _number(entries: dict[str, Any], name: str, header: Path, kind: Callable[[Any], Any] = float) -> Any:
    """An entry of the header as a number; a whole one (`kind` is int) is not negative."""
    try:
        value = kind(entries[name])
        if kind is int and value < 0:
            raise ValueError
    except (KeyError, TypeError, ValueError) as error:
        found = repr(entries[name]) if name in entries else "missing"
        expected = "a whole number" if kind is int else "a number"
        raise HsisrError(f"{header}: {name} is {found}; expected {expected}. Fix the header.") from error
    return value


def _envi_wavelengths(entries: dict[str, Any], count: int) -> NDArray[np.float64] | None:
    """Band centres in nm; without units, values below 30 are micrometres, as no sensor has 30 nm."""
    try:
        centres = np.array([float(value) for value in entries.get("wavelength", [])])
    except (TypeError, ValueError):
        return None
    if centres.size != count or not np.isfinite(centres).all() or centres.min() <= 0:
        return None
    units = str(entries.get("wavelength units", "unknown")).strip().lower()
    if units in _NANOMETRES:
        return np.asarray(centres * _NANOMETRES[units])
    if units not in ("unknown", "none", ""):
        return None  # wavenumbers, GHz, an index: no wavelength in nm
    return centres * 1e3 if centres.max() < 30 else centres


def _envi_georeference(entries: dict[str, Any], header: Path) -> Georeference | None:
    """From `map info`: projection, reference pixel (counted from 1), its place, pixel size, more."""
    info = entries.get("map info")
    if not isinstance(info, list) or len(info) < 7:
        return None
    try:
        column, row, x, y, dx, dy = map(float, info[1:7])
    except ValueError as error:
        raise HsisrError(f"{header}: map info is {info!r}; expected numbers after a name. Fix it.") from error
    turned = next((item.partition("=")[2] for item in info[7:] if item.lower().startswith("rotation")), "0")
    angle = math.radians(float(turned or 0))
    a, b, d, e = dx * math.cos(angle), dy * math.sin(angle), dx * math.sin(angle), -dy * math.cos(angle)
    origin = x - (column - 1) * a - (row - 1) * b, y - (column - 1) * d - (row - 1) * e
    wkt = entries.get("coordinate system string")
    crs = ",".join(wkt) if isinstance(wkt, list) else str(wkt or ", ".join([info[0], *info[7:]]))
    return Georeference((origin[0], a, b, origin[1], d, e), crs)


def open_tiff(path: Path) -> CubeFile:
    """Open a TIFF file: its bands are samples of a pixel, or pages.

    From a GeoTIFF, the place on the ground, GDAL's `nodata` value and the wavelengths in GDAL's metadata are
    taken. Files without compression, or with deflate, are read without further packages.
    """
    import tifffile  # not above: it takes memory that scenes of other kinds need not

    with reading(path, "a TIFF file"), tifffile.TiffFile(path) as file:
        series = file.series[0]
        axes, array = series.axes, _tiff_array(path, series)
        page: Any = file.pages[0]
        tags = {tag.name: tag.value for tag in page.tags.values()}
        keys = dict(page.geotiff_tags or {})
        nodata = float(tags["GDAL_NODATA"]) if "GDAL_NODATA" in tags else None
    if array.ndim != 3 or "Y" not in axes or "X" not in axes or array.dtype.kind not in "iuf":
        raise HsisrError(
            f"{path} holds {array.dtype.name} values with the axes {axes} of {'x'.join(map(str, array.shape))}; "
            "expected real numbers with three axes: bands, height and width. Export all bands into one file."
        )
    rows, cols = axes.index("Y"), axes.index("X")
    order = (3 - rows - cols, rows, cols)
    return CubeFile(
        kind=f"{'GeoTIFF' if keys else 'TIFF'} file, {array.dtype.name}, axes {axes}",
        array=array,
        axes=order,
        wavelengths=_gdal_wavelengths(str(tags.get("GDAL_METADATA", "")), array.shape[order[0]]),
        nodata=nodata,
        georeference=_tiff_georeference(keys),
    )


def _tiff_array(path: Path, series: Any) -> np.ndarray:
    """The values in the file's type: a memory map if they lie in one piece, else in memory."""
    if series.dataoffset is not None and series.dtype is not None:
        # checked by hand: a memory map of a truncated file ends the process when it is read
        if series.dataoffset + series.nbytes > path.stat().st_size:
            raise HsisrError(f"{path} is truncated at {path.stat().st_size} bytes. Fetch it again.")
        stored = series.dtype.newbyteorder(series.keyframe.parent.byteorder)
        return np.memmap(path, stored, "r", series.dataoffset, tuple(series.shape))
    try:
        return np.asarray(series.asarray())
    except Exception as error:  # several types, and only the text says which
        if "imagecodecs" not in str(error) and not isinstance(error, ModuleNotFoundError):
            raise
        raise HsisrError(
            f"{path} is compressed with {series.keyframe.compression.name}, which needs another package. Run: "
            "pip install imagecodecs, or convert it: gdal_translate -co COMPRESS=DEFLATE IN OUT."
        ) from error


def _gdal_wavelengths(metadata: str, count: int) -> NDArray[np.float64] | None:
    """Band centres in nm from GDAL's XML: one item per band, numbered by `sample` from 0."""
    if not metadata or "<!" in metadata:  # a document type could define entities without end
        return None
    try:
        items = list(ElementTree.fromstring(metadata.strip("\0 \n")))
    except ElementTree.ParseError:
        return None
    centres, factors = np.full(count, np.nan), np.ones(count)
    for item in items:
        name, sample, text = item.get("name", "").lower(), item.get("sample", ""), (item.text or "").strip()
        if not sample.isdigit() or int(sample) >= count:
            continue
        if name == "wavelength_units":
            factors[int(sample)] = _NANOMETRES.get(text.lower(), np.nan)
        elif name in _GDAL_WAVELENGTHS:
            try:
                centres[int(sample)] = float(text) * _GDAL_WAVELENGTHS[name]
            except ValueError:
                return None
    centres *= factors
    return centres if np.isfinite(centres).all() and centres.min() > 0 else None


def _tiff_georeference(keys: dict[str, Any]) -> Georeference | None:
    """From the GeoTIFF tags (OGC 19-008r4, section 7.4 and annex B.6)."""
    names = ("ModelTransformation", "ModelTiepoint", "ModelPixelScale")
    matrix, tie, scale = map(keys.get, names)
    if matrix is not None:
        m = np.ravel(np.asarray(matrix, np.float64))
        t = (m[3], m[0], m[1], m[7], m[4], m[5])
    elif tie is not None and scale is not None and len(tie) == 6:
        column, row, _, x, y, _ = tie
        dx, dy = scale[0], -scale[1]
        t = (x - column * dx, dx, 0.0, y - row * dy, 0.0, dy)
    else:
        return None
    if int(keys.get("GTRasterTypeGeoKey", 1)) == 2:  # the place is that of a pixel's middle, not its corner
        t = (t[0] - (t[1] + t[2]) / 2, t[1], t[2], t[3] - (t[4] + t[5]) / 2, t[4], t[5])
    codes = (keys.get("ProjectedCSTypeGeoKey"), keys.get("GeographicTypeGeoKey"))
    code = next((int(value) for value in codes if value is not None and int(value) != 32767), None)
    a, b, c, d, e, f = map(float, t)
    return Georeference((a, b, c, d, e, f), f"EPSG:{code}" if code else str(keys.get("GTCitationGeoKey", "")))


def epsg_code(crs: str) -> tuple[int | None, bool]:
    """Return the EPSG code of `crs` (as in `Georeference`), None if it does not say, and whether it is projected."""
    if match := re.fullmatch(r"UTM, *(\d+), *(North|South), *WGS[- ]?84(,.*)?", crs.strip(), re.IGNORECASE):
        return (_NORTH if match[2].lower() == "north" else _SOUTH) + int(match[1]), True
    if re.fullmatch(r"Geographic Lat/Lon(, *WGS[- ]?84(,.*)?)", crs.strip(), re.IGNORECASE):
        return _WGS84, False
    # the last authority of a WKT is that of the whole
    if match := re.search(r'AUTHORITY\["EPSG", *"?(\d+)"?\]\s*\]\s*$', crs):
        return int(match[1]), not crs.lstrip().startswith("GEOGCS")
    if match := re.fullmatch(r"EPSG:(\d+)", crs):
        return int(match[1]), not 4000 <= int(match[1]) < 5000  # geographic ones of GeoTIFF 1.0 (annex B)
    return None, True


def envi_words(crs: str) -> tuple[list[str], list[str]]:
    """Return what ENVI's `map info` says of `crs` before and after its numbers."""
    code, _ = epsg_code(crs)
    if code == _WGS84:
        return ["Geographic Lat/Lon"], ["WGS-84", "units=Degrees"]
    for base, half in ((_NORTH, "North"), (_SOUTH, "South")):
        if code is not None and 1 <= code - base <= 60:
            return ["UTM"], [str(code - base), half, "WGS-84", "units=Meters"]
    return ["Arbitrary"], []
