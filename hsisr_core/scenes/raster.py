"""Open a cube in ENVI format or in a TIFF file, through rasterio (GDAL)."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from hsisr_core.errors import HsisrError
from hsisr_core.scenes.bands import Spectrum, to_nanometres
from hsisr_core.scenes.cube import CubeFile, reading
from hsisr_core.scenes.scene import Georeference

# one driver for each file, no other file but masks and metadata beside it, no network
_GDAL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": True,
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none",
    "GDAL_CACHEMAX": 64,
}
_ENDS = ("", ".raw", ".img", ".dat", ".bin", ".bsq", ".bil", ".bip", ".rfl", ".pix")
ENVI_TYPES = {1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 12: "u2", 13: "u4", 14: "i8", 15: "u8"}
_LAYOUT = ("samples", "lines", "bands", "header offset", "data type", "interleave", "byte order")
_PLACE = ("map info", "projection info", "coordinate system string", "geo points", "pixel size")
_READ = (*_LAYOUT, *_PLACE, "description", "file type", "wavelength", "wavelength units", "data ignore value")
# of ENVI's entries, those that a TIFF file may have as tags
_KEPT = (
    "fwhm",
    "bbl",
    "default bands",
    "sensor type",
    "acquisition time",
    "data gain values",
    "data offset values",
)
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@contextmanager
def gdal(**settings: Any) -> Iterator[None]:
    """Set what GDAL may open, for the time of a block."""
    with rasterio.Env(**_GDAL, **settings), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def envi_files(path: Path) -> tuple[Path, Path] | None:
    """Return the header and the raw file that belong together, given either; None: `path` is not an ENVI file."""
    if path.suffix.lower() != ".hdr":
        headers = [path.with_name(path.name + end) for end in (".hdr", ".HDR")]
        headers += [path.with_suffix(end) for end in (".hdr", ".HDR")]
        found = next((header for header in headers if header.is_file()), None)
        return None if found is None else (found, path)
    stem = path.name[: -len(".hdr")]
    names = [stem + end for end in (*_ENDS, *(end.upper() for end in _ENDS))]
    files = [path.parent / name for name in dict.fromkeys(names) if (path.parent / name).is_file()]
    if not files:
        tried = ", ".join(stem + end for end in _ENDS)
        raise HsisrError(f"{path} has no file of values beside it; expected one of {tried}. Put it there.")
    if len(files) > 1:
        expected = _envi_size(read_envi_header(path), path)
        files.sort(key=lambda file: file.stat().st_size != expected)
    return path, files[0]


def read_envi_header(header: Path) -> dict[str, str]:
    """Read the entries of an ENVI header, in whatever encoding: texts by name; a list keeps its braces."""
    data = header.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    if not text.lstrip().startswith("ENVI"):
        raise HsisrError(
            f"{header} cannot be read as an ENVI header: its first line is not ENVI. Convert the file with "
            "gdal_translate -of ENVI, or fetch it again."
        )
    text = re.sub(r"^\s*;.*$", "", text, flags=re.MULTILINE)
    entries = re.findall(r"^([^=\n]+?)[ \t]*=[ \t]*(\{[^}]*\}|[^\r\n]*)", text, flags=re.MULTILINE)
    found = {name.strip().lower(): value.strip() for name, value in entries}
    return {name: value for name, value in found.items() if value}


def as_list(text: str) -> list[str]:
    """Split a list of a header, {a, b}."""
    return [word.strip() for word in text.strip("{} \r\n").split(",") if word.strip()]


def _envi_size(entries: dict[str, str], header: Path) -> int:
    """Check what the header says of the layout; return the bytes of its file."""
    names = ("bands", "lines", "samples", "header offset", "data type")
    defaults = {"header offset": "0", "byte order": "0"}
    entries |= {name: value for name, value in defaults.items() if name not in entries}
    count, height, width, offset, number = (_number(entries, name, header, int) for name in names)
    if number not in ENVI_TYPES:
        known = ", ".join(map(str, ENVI_TYPES))
        raise HsisrError(f"{header}: data type is {number}; expected one of {known}. Convert the file.")
    if 0 in (count, height, width):
        raise HsisrError(f"{header}: bands, lines or samples is 0; expected at least 1. Fix the header.")
    interleave = entries.get("interleave", "").lower()
    if interleave not in ("bsq", "bil", "bip"):
        raise HsisrError(f"{header}: interleave is {interleave!r}; expected bsq, bil or bip. Fix the header.")
    return int(offset + count * height * width * np.dtype(ENVI_TYPES[number]).itemsize)


def _number(entries: dict[str, str], name: str, header: Path, kind: Callable[[Any], Any] = float) -> Any:
    """An entry of the header as a number; a whole one (`kind` is int) is not negative."""
    try:
        value = kind(entries[name])
        if kind is int and value < 0:
            raise ValueError
    except (KeyError, ValueError) as error:
        found = repr(entries[name]) if name in entries else "missing"
        expected = "a whole number" if kind is int else "a number"
        raise HsisrError(f"{header}: {name} is {found}; expected {expected}. Fix the header.") from error
    return value


@dataclass(frozen=True)
class Raster:
    """The bands of a file that GDAL reads, which is closed."""

    path: Path
    driver: str
    # of ENVI: what GDAL needs of the header
    header: str | None = None
    shape: tuple[int, ...] = ()
    dtype: np.dtype = np.dtype("u1")  # noqa: RUF009
    # number of pages that are a band each; 0: the bands are samples of the first page
    pages: int = 0

    @contextmanager
    def open_file(self, page: int = 0) -> Iterator[Any]:
        """Open the file, or one of its pages, with rasterio."""
        kind = f"{'an ENVI' if self.driver == 'ENVI' else 'a TIFF'} file"
        with ExitStack() as stack:
            stack.enter_context(reading(self.path, kind))
            stack.enter_context(gdal())
            name = str(self.path.absolute())
            if self.header is not None:
                # GDAL reads neither all encodings nor all names: it gets a header of its own
                link = Path(stack.enter_context(TemporaryDirectory(prefix="hsisr-"))) / "values"
                link.symlink_to(name)
                link.with_suffix(".hdr").write_text(self.header, encoding="utf-8")
                name = str(link)
            name = f"GTIFF_DIR:{page}:{name}" if page else name
            yield stack.enter_context(rasterio.open(name, driver=self.driver))

    @contextmanager
    def open(self) -> Iterator[_Bands]:
        """Open the values for reading in parts."""
        if self.pages:
            yield _Bands(self, None, (1, self.shape[1], self.shape[2]))
            return
        with self.open_file() as file:
            height, width = file.block_shapes[0]
            whole = file.interleaving is not None and file.interleaving.value != "BAND"
            yield _Bands(self, file, (self.shape[0] if whole else 1, height, width))


@dataclass(frozen=True)
class _Bands:
    """An open `Raster`, read by slices of bands, rows and columns."""

    raster: Raster
    file: Any
    chunks: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.raster.shape

    @property
    def dtype(self) -> np.dtype:
        return self.raster.dtype

    def __getitem__(self, part: tuple[slice, slice, slice]) -> np.ndarray:
        bands, rows, cols = (range(*item.indices(size)) for item, size in zip(part, self.shape, strict=True))
        window = Window(cols.start, rows.start, len(cols), len(rows))
        if self.file is not None:
            return np.asarray(self.file.read([band + 1 for band in bands], window=window))
        values = np.empty((len(bands), len(rows), len(cols)), self.dtype)
        for band, out in zip(bands, values, strict=True):
            with self.raster.open_file(band + 1) as page:
                out[...] = page.read(1, window=window)
        return values


def open_envi(header: Path, raw: Path) -> CubeFile:
    """Open an ENVI cube: its header is read here, its values and its place by GDAL.

    The wavelengths, `reflectance scale factor` and `data ignore value` are used; `bbl` (bad bands) is reported, and
    what is not read is kept for the output.
    """
    entries = read_envi_header(header)
    expected, found = _envi_size(entries, header), raw.stat().st_size
    if found < expected or entries.get("file compression", "0") == "1":
        raise HsisrError(
            f"{raw} has {found} bytes; {header.name} says {expected} (or more), not compressed. It is truncated, "
            "compressed or belongs to another header. Fetch it again."
        )
    info = as_list(entries.get("map info", ""))
    try:
        _ = [float(word) for word in info[1:7]]
    except ValueError as error:
        raise HsisrError(f"{header}: map info is {info!r}; expected numbers after a name. Fix it.") from error
    lines = [f"{name} = {' '.join(entries[name].split())}" for name in (*_LAYOUT, *_PLACE) if name in entries]
    raster = Raster(raw, "ENVI", "\n".join(["ENVI", *lines, ""]))
    with raster.open_file() as file:
        shape, dtype = (file.count, *file.shape), np.dtype(file.dtypes[0])
        place = _place(file) if info else None
    count = shape[0]
    kept = {name: value for name, value in entries.items() if name not in _READ and name[:5] != "hsisr"}
    scale = (
        _number(entries, "reflectance scale factor", header)
        if "reflectance scale factor" in entries
        else None
    )
    nodata = _number(entries, "data ignore value", header) if "data ignore value" in entries else None
    centres, note = None, ""
    if "wavelength" in entries:
        centres, note = to_nanometres(
            as_list(entries["wavelength"]), entries.get("wavelength units", ""), count
        )
    bad = [word for word in as_list(entries.get("bbl", "")) if word.strip("0.") == ""]
    if bad:
        note += f"; {len(bad)} bands marked bad (kept)"
    if "data gain values" in entries or "data offset values" in entries:
        note += "; gains and offsets of the bands are kept, not applied"
    return CubeFile(
        kind=f"ENVI file, {entries['interleave'].lower()}, {dtype.name}",
        array=Raster(raw, "ENVI", raster.header, shape, dtype),
        axes=(0, 1, 2),
        wavelengths=centres,
        divisor=scale,
        nodata=nodata,
        georeference=place,
        notes=note,
        entries=kept,
    )


def open_tiff(path: Path) -> CubeFile:
    """Open a TIFF file: its bands are samples of a pixel, or pages.

    Taken are the place on the ground, the no-data value or mask, scale and offset, and the wavelengths in metadata
    of the bands, of the file, or in the names of the bands.
    """
    for end in (".msk", ".ovr"):
        beside = path.with_name(path.name + end)
        if beside.is_file() and beside.read_bytes()[:4] not in _TIFF_STARTS:
            raise HsisrError(f"{beside} is not a TIFF file, so it is not opened. Remove it.")
    raster = Raster(path, "GTiff")
    with raster.open_file() as file:
        pages = len(file.subdatasets) if file.count == 1 else 0
        shape, dtype = (pages or file.count, *file.shape), np.dtype(file.dtypes[0])
        sizes = "x".join(map(str, shape))
        if dtype.kind not in "iuf" or shape[0] == 1:
            raise HsisrError(
                f"{path} holds {dtype.name} values of {sizes} (bands, height, width); expected real numbers in "
                "several bands. Export all bands into one file."
            )
        centres, note = _tiff_wavelengths(file)
        entries, divisor, more = _tiff_entries(file)
        measured, alpha = _tiff_mask(file)
        nodata, place = file.nodata, _place(file)
    if alpha:
        shape = (shape[0] - 1, *shape[1:])
        centres = None if centres is None else centres[:-1]
        more += "; the alpha band is the mask"
    return CubeFile(
        kind=f"{'TIFF' if place is None else 'GeoTIFF'} file, {dtype.name}, "
        f"bands as {'pages' if pages else 'samples'}",
        array=Raster(path, "GTiff", None, shape, dtype, pages),
        axes=(0, 1, 2),
        wavelengths=centres,
        divisor=divisor,
        why="the scale in the file",
        nodata=None if nodata is None else float(nodata),
        measured=measured,
        georeference=place,
        notes=note + more,
        entries=entries,
    )


def _tiff_wavelengths(file: Any) -> Spectrum:
    """Wavelengths from the metadata of the bands, of the file, or the names of the bands, whichever is first."""
    count, bands = file.count, file.indexes
    tags = [{name.lower(): text for name, text in file.tags(band).items()} for band in bands]
    found: Spectrum = (None, "")
    if any("wavelength" in own for own in tags):
        values = [own.get("wavelength") for own in tags if "wavelength" in own]
        units = {own.get("wavelength_units", "") for own in tags}
        found = to_nanometres(values, units.pop() if len(units) == 1 else "several", count)
    # GDAL rounds these to whole nm where it makes them itself
    micrometres = [file.tags(band, ns="IMAGERY").get("CENTRAL_WAVELENGTH_UM") for band in bands]
    older = [own.get("central_wavelength_um") for own in tags]
    for values in (micrometres, older):
        if found[0] is None and all(values):
            found = to_nanometres(values, "um", count)
    if found[0] is None:
        for own in (file.tags(), file.tags(ns="ENVI")):
            lower = {name.lower(): text for name, text in own.items()}
            if "wavelength" in lower:
                found = to_nanometres(as_list(lower["wavelength"]), lower.get("wavelength_units", ""), count)
    named = [item for item in (_named_wavelength(text or "") for text in file.descriptions) if item]
    exact: Spectrum = (None, "")
    if len(named) == count:
        exact = to_nanometres([value for value, _ in named], named[0][1], count)
    # GDAL writes the wavelengths of an ENVI file as whole numbers in the metadata, and exactly in the names
    if exact[0] is not None and (
        found[0] is None or np.abs(exact[0] - found[0]).max() < 1.0 or "units" in found[1]
    ):
        return exact
    return found


def _named_wavelength(name: str) -> tuple[str, str] | None:
    """The wavelength and its unit in the name of a band: "Band 1 (420.0 Nanometers)", "420.5 nm" or "420.5"."""
    match = re.search(r"(?<![\d.])(\d+\.\d+|\d{3,})\s*([^\W\d]*)\)?$", name.strip())
    return (match[1], match[2]) if match else None


def _tiff_entries(file: Any) -> tuple[dict[str, Any], float | None, str]:
    """What the reader of the output needs, the divisor and a note."""
    entries: dict[str, Any] = {}
    if any(file.descriptions):
        entries["band names"] = "{" + ", ".join(text or "" for text in file.descriptions) + "}"
    own = file.tags() | file.tags(ns="ENVI")
    entries |= {name: own[name.replace(" ", "_")] for name in _KEPT if name.replace(" ", "_") in own}
    declared = own.get("hsisr_divisor")
    divisor, note = None if declared is None else scale_of(float(declared)), ""
    if any(scale != 1 for scale in file.scales) or any(file.offsets):
        entries["scales"], entries["offsets"] = list(file.scales), list(file.offsets)
        if divisor is None and len(set(file.scales)) == 1 and 0 < file.scales[0] < 1:
            divisor = float(f"{1 / file.scales[0]:.12g}")
        note = "; scales and offsets of the bands are kept, not applied"
    return entries, divisor, note


def _tiff_mask(file: Any) -> tuple[NDArray[np.bool_] | None, bool]:
    """Where pixels are measured, by the mask or an alpha band of the file, and whether the last band is alpha."""
    if file.count > 1 and file.colorinterp[-1] == ColorInterp.alpha:
        alpha = file.read(file.count)
        # a fourth band is often called so, and is one of the spectrum
        if set(np.unique(alpha).tolist()) <= {
            0,
            1,
            255,
            int(np.iinfo(alpha.dtype).max) if alpha.dtype.kind in "iu" else 1,
        }:
            return alpha > 0, True
    if MaskFlags.per_dataset in file.mask_flag_enums[0] and MaskFlags.alpha not in file.mask_flag_enums[0]:
        measured = file.read_masks(1) > 0
        return (None if measured.all() else measured), False
    return None, False


def _place(file: Any) -> Georeference | None:
    """Where the scene lies; a coordinate system is its EPSG code where it says so, else WKT."""
    if file.transform.is_identity and file.crs is None:
        return None
    a, b, c, d, e, f = (float(value) for value in file.transform.to_gdal())
    return Georeference((a, b, c, d, e, f), crs_text(file.crs))


def crs_text(crs: Any) -> str:
    """Return a coordinate system as text: EPSG:code, else WKT, empty if there is none."""
    if crs is None:
        return ""
    code = crs.to_epsg()
    return f"EPSG:{code}" if code and crs == rasterio.CRS.from_epsg(code) else str(crs.to_wkt())


def scale_of(value: float) -> float | None:
    """Return the value that stands for 1, given a factor (0.0001) or its inverse (10000)."""
    if not math.isfinite(value) or value <= 0:
        return None
    return value if value >= 1 else float(f"{1 / value:.12g}")
