"""Open a cube in ENVI format or in a TIFF file, through rasterio (GDAL), or in a folder of gray PNGs."""

import math
import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from logging import INFO, LogRecord, getLogger
from logging.handlers import BufferingHandler
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from hsisr_core.errors import HsisrError
from hsisr_core.scenes.bands import as_list, choose_wavelengths, find_numbers, list_wavelengths, scale_of
from hsisr_core.scenes.scene import CubeFile, Georeference, Stored, check_size, reading

CAVE_DIVISOR = 65535.0  # fixed, not the maximum of the image (PROTOCOL: evaluation scripts of the group)

_CAVE_BANDS, _PNG_NAME = 31, re.compile(r"(.+)_(\d+)\.png", re.IGNORECASE)
_ENDS = ("", ".raw", ".img", ".dat", ".bin", ".bsq", ".bil", ".bip", ".rfl", ".pix")
ENVI_TYPES = {1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 12: "u2", 13: "u4", 14: "i8", 15: "u8"}
_INTERLEAVES = {"bsq": "bands lines samples", "bil": "lines bands samples", "bip": "lines samples bands"}
_LAYOUT = ("samples", "lines", "bands", "header offset", "data type", "interleave", "byte order")
_PLACE = ("map info", "projection info", "coordinate system string", "geo points", "pixel size")
_READ = (*_LAYOUT, *_PLACE, "description", "file type", "wavelength", "wavelength units", "data ignore value")
GAINS = "data gain values", "data offset values"
_NUMBERS = ("reflectance scale factor", "data ignore value", "bbl", "map info", *GAINS)
# of ENVI's entries, those that a TIFF file may have as tags
_KEPT = ("fwhm", "bbl", "default bands", "sensor type", "acquisition time", *GAINS)
_KINDS = {"GTiff": "a TIFF file", "EHdr": "an ESRI file"}
# what GDAL says where it leaves out metadata that it does not understand, or pages
_LEFT_OUT = re.compile(r'Expected key|"(Geo|GDAL)\w*".*(ignored|truncated)|looping|read directory at offset')
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@contextmanager
def gdal(**settings: Any) -> Iterator[list[LogRecord]]:
    """Set what GDAL may open, for the time of a block; give what it says, but for what is not in UTF-8."""
    hooks, log = (sys.excepthook, sys.unraisablehook), getLogger("rasterio._env")
    said, level = BufferingHandler(1000), log.level
    # no other file than masks and metadata beside one, no network
    settings |= {"CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none", "GDAL_CACHEMAX": 64}
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN=True, **settings), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        sys.excepthook = lambda *_: None
        sys.unraisablehook = lambda raised: hooks[1](raised) if raised.exc_type is KeyboardInterrupt else None
        log.addHandler(said)
        log.setLevel(INFO)
        try:
            yield said.buffer
        finally:
            log.setLevel(level)
            log.removeHandler(said)
            sys.excepthook, sys.unraisablehook = hooks


def header_and_values(path: Path) -> tuple[Path, Path]:
    """Return the header and the raw file that belong together, given either."""
    if path.suffix.lower() != ".hdr":
        headers = [Path(f"{stem}{end}") for stem in (path, path.with_suffix("")) for end in (".hdr", ".HDR")]
        for header in filter(Path.is_file, headers):
            return header, path
        known = "expected a CAVE folder, .mat, ENVI (.hdr beside the values), .tif, .npy or HDF5 (.h5)"
        raise HsisrError(f"{path} is not a scene that can be read; {known}.")
    stem = path.name[: -len(".hdr")]
    names = [stem + end for end in (*_ENDS, *(end.upper() for end in _ENDS))]
    files = [path.parent / name for name in dict.fromkeys(names) if (path.parent / name).is_file()]
    if not files:
        tried = ", ".join(stem + end for end in _ENDS)
        raise HsisrError(f"{path} has no file of values beside it; expected one of {tried}. Put it there.")
    if len(files) > 1:
        *_, expected = _find_layout(read_envi_header(path), path)
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
        raise HsisrError(f"{header} is not an ENVI header. Convert the file: gdal_translate -of ENVI.")
    text = re.sub(r"^\s*;.*$", "", text, flags=re.MULTILINE)
    entries = re.findall(r"^([^=\n]+?)[ \t]*=[ \t]*(\{[^}]*\}|[^\r\n]*)", text, flags=re.MULTILINE)
    found = {name.strip().lower(): value.strip() for name, value in entries}
    return {name: value for name, value in found.items() if value}


def _find_layout(
    entries: dict[str, str], header: Path
) -> tuple[list[str], tuple[int, ...], np.dtype, int, int]:
    """Return the axes in the order of the file, their sizes, the values' type, and where they begin and end."""
    try:
        stored = _INTERLEAVES[entries["interleave"].lower()].split()
        shape = tuple(int(entries[name]) for name in stored)
        kind, offset = ENVI_TYPES[int(entries["data type"])], int(entries.get("header offset", 0))
        if min(shape) < 1 or offset < 0:
            raise ValueError
    except (KeyError, ValueError) as error:
        found = ", ".join(f"{name} is {entries.get(name, 'missing')!r}" for name in _LAYOUT)
        kinds = ", ".join(map(str, ENVI_TYPES))
        rule = f"whole numbers of at least 1, a type of {kinds}, and bsq, bil or bip"
        raise HsisrError(f"{header}: {found}; expected {rule}. Fix the header.") from error
    dtype = np.dtype((">" if entries.get("byte order") == "1" else "<") + kind)
    return stored, shape, dtype, offset, offset + math.prod(shape) * dtype.itemsize


def open_with_header(path: Path, *_: object) -> CubeFile:
    """Open a cube whose header is a file of its own, ENVI's or ESRI's; either of the two can be given."""
    header, raw = header_and_values(path)
    if re.match(r"(?i)\s*(BYTEORDER|LAYOUT|N(ROWS|COLS|BANDS|BITS))\s", header.read_text("latin-1")):
        return open_tiff(raw, driver="EHdr", kind=f"ESRI file ({header.name})")
    entries = read_envi_header(header)
    stored, shape, dtype, offset, expected = _find_layout(entries, header)
    if (size := raw.stat().st_size) < expected or entries.get("file compression", "0") == "1":
        wrong = "It is truncated, compressed or of another header. Fetch it again"
        raise HsisrError(f"{raw} has {size} bytes; {header.name} says {expected} (or more). {wrong}.")
    # GDAL takes a word in its place for 0
    said = {**entries, "map info": as_list(entries.get("map info", ""))[1:7]}
    numbers = {name: find_numbers(said, [name], str(header)) for name in _NUMBERS}
    centres, note = choose_wavelengths(list_wavelengths(entries), int(entries["bands"]))
    if bad := numbers["bbl"].count(0):
        note += f"; {bad} bands marked bad (kept)"
    if any(name in entries for name in GAINS):
        note += "; gains and offsets of the bands are kept, not applied"
    return CubeFile(
        kind=f"ENVI file, {entries['interleave'].lower()}, {dtype.name}",
        # mapped anew for each part, so that what was read leaves memory
        array=Stored(shape, dtype, lambda part: np.memmap(raw, dtype, "r", offset, shape)[part]),
        axes=tuple(stored.index(name) for name in ("bands", "lines", "samples")),
        is_raster=True,
        wavelengths=centres,
        divisor=scale_of(numbers["reflectance scale factor"]),
        nodata=next(iter(numbers["data ignore value"]), None),
        georeference=place_envi(entries, header) if "map info" in entries else None,
        notes=note,
        entries={name: text for name, text in entries.items() if name not in _READ and name[:5] != "hsisr"},
    )


def place_envi(entries: dict[str, str], header: Path) -> Georeference | None:
    """Let GDAL say where an ENVI file lies, from a file of one pixel: it does not read all encodings and names."""
    pixel = dict.fromkeys(("samples", "lines", "bands", "data type"), "1") | {"interleave": "bsq"}
    pixel |= {name: " ".join(entries[name].split()) for name in _PLACE if name in entries}
    lines = ["ENVI", *(f"{name} = {text}" for name, text in pixel.items()), ""]
    with TemporaryDirectory(prefix="hsisr-") as folder, reading(header, "an ENVI header"), gdal():
        made = Path(folder) / "pixel"
        made.write_bytes(bytes(8))
        made.with_suffix(".hdr").write_text("\n".join(lines), encoding="utf-8")
        with rasterio.open(made, driver="ENVI") as file:
            return _place(file)


@contextmanager
def _open_file(path: Path, driver: str, page: int = 0) -> Iterator[Any]:
    """Open a file, or a page of it, with rasterio; metadata that GDAL leaves out is an error."""
    name = f"GTIFF_DIR:{page}:{path.absolute()}" if page else path.absolute()
    with reading(path, _KINDS[driver]), gdal() as said, rasterio.open(name, driver=driver) as file:
        yield file
        for warning in filter(_LEFT_OUT.search, (record.getMessage() for record in said)):
            raise ValueError(warning.split(" in ", 1)[-1])


def open_tiff(path: Path, *_: object, driver: str = "GTiff", kind: str = "TIFF file") -> CubeFile:
    """Open a TIFF file, or one of another `driver` of GDAL, whose bands are samples of a pixel, or pages."""
    for beside in (Path(f"{path}{end}") for end in (".msk", ".MSK", ".ovr", ".OVR")):
        if beside.is_file() and beside.read_bytes()[:4] not in _TIFF_STARTS:
            raise HsisrError(f"{beside} is not a TIFF file, so it is not opened. Remove it.")
    with _open_file(path, driver) as file:
        paged = file.count == 1 and len(file.subdatasets) > 1
        count, dtype = len(file.subdatasets) if paged else file.count, np.dtype(file.dtypes[0])
        if dtype.kind not in "iuf" or count == 1:
            raise HsisrError(f"{path}: {dtype.name} values in {count} bands; expected real ones in several.")
        check_size(path, (count, *file.shape), dtype, driver != "GTiff")
        measured, alpha = _tiff_mask(file)
        shape = (count - alpha, *file.shape)
        together = not paged and file.interleaving is not None and file.interleaving.value != "BAND"
        chunks = (shape[0] if together else 1, *file.block_shapes[0])
        centres, note = choose_wavelengths(_list_wavelengths(file, shape[0]), shape[0])
        own, nodata, place = file.tags() | file.tags(ns="ENVI"), file.nodata, _place(file)
        names, scales, offsets = (of[: shape[0]] for of in (file.descriptions, file.scales, file.offsets))
    entries = {name: own[name.replace(" ", "_")] for name in _KEPT if name.replace(" ", "_") in own}
    if any(names):
        entries["band names"] = "{" + ", ".join(text or "" for text in names) + "}"
    divisors = find_numbers(own, ("hsisr_divisor",), str(path))
    if any(scale != 1 for scale in scales) or any(offsets):
        note += "; scales and offsets of the bands are kept, not applied"
        for name, values in zip(GAINS, (scales, offsets), strict=True):
            entries[name] = "{" + ", ".join(map(str, values)) + "}"
        if len({*scales}) == 1 and scales[0] < 1:
            divisors.append(scales[0])
    if place is not None and driver == "GTiff":
        kind = f"Geo{kind}"
    if alpha:
        note += "; the alpha band is the mask"

    def read(part: tuple[slice, ...]) -> np.ndarray:
        bands, window = range(shape[0])[part[0]], Window.from_slices(*part[1:])
        if not paged:
            with _open_file(path, driver) as file:
                return np.asarray(file.read([band + 1 for band in bands], window=window))
        values = np.empty((len(bands), round(window.height), round(window.width)), dtype)
        for band, out in zip(bands, values, strict=True):
            with _open_file(path, driver, band + 1) as page:
                page.read(1, window=window, out=out)
        return values

    return CubeFile(
        kind=f"{kind}, {dtype.name}, bands as {'pages' if paged else 'samples'}",
        array=Stored(shape, dtype, read, chunks),
        is_raster=True,
        wavelengths=centres,
        divisor=scale_of(divisors),
        nodata=None if nodata is None else float(nodata),
        measured=measured,
        georeference=place,
        notes=note,
        entries=entries,
    )


def _list_wavelengths(file: Any, count: int) -> list[Any]:
    """Wavelengths in the names or the metadata of the bands, or in the metadata of the file."""
    # in the name of a band: "Band 1 (420.0 Nanometers)", "420.5 nm" or "420.5"
    name = re.compile(r"(?<![\d.])(\d+\.\d+|\d{3,})\s*([^\W\d]*)\)?$")
    found = (name.search((text or "").strip()) for text in file.descriptions[:count])
    named = [match for match in found if match]
    in_names = [([match[1] for match in named], named[0][2])] if len(named) == count else []
    # GDAL rounds those of IMAGERY to whole nm where it makes them itself
    spaces = [file.tags(band, ns="IMAGERY") | file.tags(band) for band in file.indexes[:count]]
    tags = [{name.lower(): text for name, text in own.items()} for own in spaces]
    units = " and ".join({own.get("wavelength_units", "") for own in tags})
    names = {"wavelength": units, "central_wavelength_um": "um"}
    lists = [([own[name] for own in tags if name in own], unit) for name, unit in names.items()]
    lists += [*list_wavelengths(file.tags()), *list_wavelengths(file.tags(ns="ENVI"))]
    # GDAL writes the wavelengths of an ENVI file as whole numbers in the metadata, and exactly with units in the names
    lists = in_names + lists if in_names and in_names[0][1] else lists + in_names
    return [listed for listed in lists if listed[0]]


def _tiff_mask(file: Any) -> tuple[NDArray[np.bool_] | None, bool]:
    """Where pixels are measured, by the mask or an alpha band of the file, and whether the last band is alpha."""
    if file.count > 1 and file.colorinterp[-1] == ColorInterp.alpha:
        alpha = file.read(file.count)
        # a fourth band is often called so, and is one of the spectrum
        if set(np.unique(alpha).tolist()) <= {0, 1, 255, 65535}:
            return alpha > 0, True
    flags = file.mask_flag_enums[0]
    if MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
        measured = file.read_masks(1) > 0
        return (None if measured.all() else measured), False
    return None, False


def _place(file: Any) -> Georeference | None:
    """Where the scene lies; a coordinate system is its EPSG code where it says so, else WKT."""
    transform, crs = tuple(map(float, file.transform.to_gdal())), file.crs
    if not np.isfinite(transform).all():
        raise ValueError("its place is not finite")
    if crs is None:
        return None if file.transform.is_identity else Georeference(transform)
    code = crs.to_epsg()
    is_code = code and crs == rasterio.CRS.from_epsg(code)
    return Georeference(transform, f"EPSG:{code}" if is_code else str(crs.to_wkt()))


def band_pngs(folder: Path) -> list[tuple[int, str, Path]]:
    """Return number, scene and file of each band in a folder, in band order."""
    named = [(_PNG_NAME.fullmatch(file.name), file) for file in visible(folder) if file.is_file()]
    return sorted((int(match[2]), match[1], file) for match, file in named if match)


def visible(folder: Path) -> list[Path]:
    """Return what lies in `folder`, by name, without hidden files such as macOS's "._X_01.png"."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise HsisrError(f"{folder} cannot be read: {error.strerror}. Check its permissions.") from error


def png_files(path: Path) -> list[Path]:
    """Return the PNGs of the bands in the folder `path`, in band order; stray files are left out."""
    # CAVE's zip nests X_ms/X_ms/
    inner = path / path.absolute().name
    folder = inner if inner.is_dir() and not band_pngs(path) else path
    found = band_pngs(folder)
    if not found:
        scenes = ", ".join(entry.name for entry in visible(path) if entry.is_dir() and band_pngs(entry))
        way = f"Name one of the scenes in it: {scenes}." if scenes else "Check the path."
        raise HsisrError(f"{path} holds no band PNGs, named like X_01.png to X_{_CAVE_BANDS}.png. {way}")
    numbers, names, files = zip(*found, strict=True)
    if len(set(names)) > 1:
        raise HsisrError(f"{folder} mixes bands of {', '.join(sorted({*names}))}. Keep one scene per folder.")
    first, last = (1, _CAVE_BANDS) if _is_cave(files) else (min(numbers), max(numbers))
    there, expected = Counter(numbers), Counter(range(first, last + 1))
    if there != expected:
        both = expected - there, there - expected
        missing, extra = (", ".join(map(str, some)) or "none" for some in both)
        said = f"expected bands {first} to {last}, one PNG each; missing: {missing}; extra: {extra}"
        raise HsisrError(f"{folder}: {said}. Fetch the scene again, or move the extra files away.")
    return list(files)


def open_pngs(path: Path, *_: object) -> CubeFile:
    """Read the PNGs of a folder, 16-bit gray; those of CAVE have known wavelengths and a fixed divisor."""
    files = png_files(path)
    images = []
    for file in files:
        # in memory, because Pillow takes as much for a chunk of a file as it claims to have
        data = file.read_bytes()
        with reading(file, "a PNG"), Image.open(BytesIO(data), formats=["PNG"]) as image:
            # of a PNG, Pillow gives these to 16-bit gray only
            if image.mode not in ("I;16", "I"):
                raise HsisrError(f"{file} has pixels of the kind {image.mode}; expected 16-bit gray.")
            check_size(file, image.size, np.dtype(np.uint16))
            # Pillow does not look for the end
            if b"IEND\xaeB`\x82" not in data:
                raise HsisrError(
                    f"{file} is truncated: the end of the PNG is missing. Fetch the scene again."
                )
            images.append(np.asarray(image).astype(np.uint16, copy=False))
    sizes = Counter("x".join(map(str, image.shape)) for image in images)
    if len(sizes) > 1:
        raise HsisrError(f"{path}: the PNGs have {', '.join(sizes)} pixels; expected one size.")
    is_cave = _is_cave(files)
    return CubeFile(
        kind=f"{'CAVE folder' if is_cave else 'Folder'}: {len(files)} 16-bit gray PNGs",
        array=np.stack(images),
        wavelengths=np.linspace(400, 700, _CAVE_BANDS) if is_cave else None,
        divisor=CAVE_DIVISOR if is_cave else None,
        why="",
    )


def _is_cave(files: Sequence[Path]) -> bool:
    """Whether the PNGs are CAVE's: 31 of them, or named as it names them, X_ms_01.png."""
    return len(files) == _CAVE_BANDS or bool(re.search(r"_ms_\d+$", files[0].stem))
