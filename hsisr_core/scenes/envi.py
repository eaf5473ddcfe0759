"""Open a cube in ENVI format: a text header (.hdr) and raw values in one of three orders."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsisr_core.errors import HsisrError
from hsisr_core.scenes.cube_file import CubeFile, array_blocks, array_window
from hsisr_core.scenes.scene import MINIMUM_SIDE, Georeference

__all__ = ["envi_files", "open_envi"]

_SUFFIXES = ("", ".raw", ".img", ".dat", ".bin", ".bsq", ".bil", ".bip")
_TYPES = {1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 12: "u2", 13: "u4", 14: "i8", 15: "u8"}
# the axes of the raw values, slowest first, and where the bands, rows and columns are among them
_INTERLEAVES = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (2, 0, 1)}
_NANOMETRES = {"nanometers": 1.0, "nanometer": 1.0, "nm": 1.0, "micrometers": 1e3, "microns": 1e3, "um": 1e3}


def envi_files(path: Path) -> tuple[Path, Path] | None:
    """Return the header and the raw file that belong together, given either; None: `path` is no ENVI file.

    Raises
    ------
    HsisrError
        It is a header without its raw file.
    """
    if path.suffix.lower() == ".hdr":
        stem = path.with_suffix("")
        names = [stem.name + end for end in (*_SUFFIXES, *(suffix.upper() for suffix in _SUFFIXES))]
        for name in names:
            if (path.parent / name).is_file():
                return path, path.parent / name
        tried = ", ".join(stem.name + suffix for suffix in _SUFFIXES)
        raise HsisrError(f"{path} has no file of values beside it; expected one of {tried}. Put it there.")
    for header in (path.with_name(path.name + ".hdr"), path.with_suffix(".hdr")):
        if path.suffix.lower() in _SUFFIXES and header.is_file():
            return header, path
    return None


def open_envi(header: Path, raw: Path) -> CubeFile:
    """Open an ENVI cube; the header is read by the package `spectral`, the values as a memory map.

    Of the header, `wavelength` with its units, `reflectance scale factor`, `data ignore value` and
    `map info` are used; `bbl` (bad bands) is only reported.

    Raises
    ------
    HsisrError
        The header is no ENVI header, lacks an entry or has a wrong one; the raw file has another size.
    """
    from spectral.io import envi  # a quarter of a second to import

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about capital letters in names
            entries: dict[str, Any] = envi.read_envi_header(str(header))
    except Exception as error:  # its own three classes, and UnicodeDecodeError
        raise HsisrError(f"{header} is no ENVI header ({' '.join(str(error).split())}). Check it.") from error
    size = {name: _whole(entries, name, header) for name in ("bands", "lines", "samples")}
    offset = _whole(entries, "header offset", header, default=0)
    number, interleave = _whole(entries, "data type", header), str(entries.get("interleave", "")).lower()
    if number not in _TYPES:
        known = ", ".join(map(str, _TYPES))
        raise HsisrError(
            f"{header}: data type is {number}; expected real numbers, one of {known}. Convert the file."
        )
    if interleave not in _INTERLEAVES:
        raise HsisrError(
            f"{header}: interleave is {interleave!r}; expected bsq, bil or bip. Mend the header."
        )
    count, height, width = size["bands"], size["lines"], size["samples"]
    if min(height, width) < MINIMUM_SIDE or count < 1:
        raise HsisrError(
            f"{header}: {height} lines, {width} samples and {count} bands are too small; expected at least "
            f"{MINIMUM_SIDE} pixels a side. Leave out this scene."
        )
    dtype = np.dtype((">" if str(entries.get("byte order", "0")).strip() == "1" else "<") + _TYPES[number])
    expected, found = offset + count * height * width * dtype.itemsize, raw.stat().st_size
    if found < expected or str(entries.get("file compression", "0")).strip() == "1":
        raise HsisrError(
            f"{raw} has {found} bytes; {header.name} says {expected} (or more), not compressed. It is truncated, "
            "compressed or belongs to another header. Fetch it again."
        )
    axes = _INTERLEAVES[interleave]
    stored = tuple((count, height, width)[axes.index(axis)] for axis in range(3))
    array = np.memmap(raw, dtype, "r", offset, stored)
    bad = entries.get("bbl")
    marked = sum(float(value) == 0 for value in bad) if isinstance(bad, list) and len(bad) == count else 0
    return CubeFile(
        kind=f"ENVI file, {interleave}, {dtype.name}"
        + (f", {marked} bands marked bad (kept)" if marked else ""),
        shape=(count, height, width),
        is_integer=dtype.kind in "iu",
        blocks=array_blocks(array, axes),
        window=array_window(array, axes),
        wavelengths=_wavelengths(entries, count),
        divisor=_number(entries, "reflectance scale factor", header),
        nodata=_number(entries, "data ignore value", header),
        georeference=_georeference(entries, header),
    )


def _whole(entries: dict[str, Any], name: str, header: Path, default: int | None = None) -> int:
    text = entries.get(name, default)
    try:
        value = int(text)  # type: ignore[arg-type]  # None and lists end below, with a sentence
        if value < 0:
            raise ValueError
    except (TypeError, ValueError) as error:
        found = "missing" if text is None else repr(text)
        raise HsisrError(f"{header}: {name} is {found}; expected a whole number. Mend the header.") from error
    return value


def _number(entries: dict[str, Any], name: str, header: Path) -> float | None:
    if name not in entries:
        return None
    try:
        return float(entries[name])
    except (TypeError, ValueError) as error:
        raise HsisrError(
            f"{header}: {name} is {entries[name]!r}; expected a number. Mend the header."
        ) from error


def _wavelengths(entries: dict[str, Any], count: int) -> NDArray[np.float64] | None:
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


def _georeference(entries: dict[str, Any], header: Path) -> Georeference | None:
    """From `map info`: projection, reference pixel (counted from 1), its place, pixel size, more."""
    info = entries.get("map info")
    if not isinstance(info, list) or len(info) < 7:
        return None
    try:
        column, row, x, y, dx, dy = map(float, info[1:7])
    except ValueError as error:
        raise HsisrError(
            f"{header}: map info is {info!r}; expected numbers after its name. Mend it."
        ) from error
    turned = next((item.partition("=")[2] for item in info[7:] if item.lower().startswith("rotation")), "0")
    angle = math.radians(float(turned or 0))
    a, b, d, e = dx * math.cos(angle), dy * math.sin(angle), dx * math.sin(angle), -dy * math.cos(angle)
    origin = x - (column - 1) * a - (row - 1) * b, y - (column - 1) * d - (row - 1) * e
    wkt = entries.get("coordinate system string")
    crs = ",".join(wkt) if isinstance(wkt, list) else str(wkt or ", ".join([info[0], *info[7:]]))
    return Georeference((origin[0], a, b, origin[1], d, e), crs)
