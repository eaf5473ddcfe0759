"""Read or open a scene: a CAVE folder, a file of one of five formats, or the embedded Indian Pines cube."""

from __future__ import annotations

import importlib.util
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from h5py import is_hdf5
from numpy.typing import NDArray

from hsisr_core.errors import HsisrError
from hsisr_core.scenes.arrays import is_store, open_hdf5, open_mat, open_npy
from hsisr_core.scenes.cave import CAVE_DIVISOR, cave_files, open_cave
from hsisr_core.scenes.cube import CubeFile, OpenScene, survey
from hsisr_core.scenes.geo import envi_files, open_envi, open_tiff
from hsisr_core.scenes.scene import MINIMUM_SIDE, Scene

BandChoice = int | str | Sequence[int] | NDArray[np.intp] | None
Wavelengths = Sequence[float] | NDArray[np.float64] | None

INDIAN_PINES = "indian-pines"

_HDF5 = (".h5", ".hdf5", ".hdf", ".he5")
_TIFF = (".tif", ".tiff")
_SCENE_SUFFIXES = (".mat", ".npy", ".hdr", *_HDF5, *_TIFF)

# A cube lies in [0, 1]. Bicubic resizing overshoots a little, so this much beyond is still a cube.
_LOWEST, _HIGHEST = -0.1, 1.1

_INDIAN_PINES_BANDS = 31
# A round number above the largest count. A statistic of the image, such as its maximum, would bring
# knowledge of the test region into the training.
_INDIAN_PINES_DIVISOR = 10000.0


@dataclass(frozen=True)
class _KnownKey:
    """How the array of a published dataset is scaled, and its first and last band (nm) by number of bands."""

    dataset: str
    divisor: float | None  # None: the maximum of the whole image
    ranges: dict[int, tuple[float, float]]


_KNOWN_KEYS = {
    # the dataset's README; the paper says 400-700
    "ref": _KnownKey("Harvard", None, {31: (420, 720)}),
    "hsi": _KnownKey("Foster 2015", None, {33: (400, 720)}),
    "reflectances": _KnownKey("Foster 2002 and 2004", None, {31: (410, 710), 33: (400, 720)}),
    "Omsi": _KnownKey("CAVE conversions", CAVE_DIVISOR, {31: (400, 700)}),
    "NRD": _KnownKey("CAVE conversions", CAVE_DIVISOR, {31: (400, 700)}),
}


def read_scene(
    path: str | os.PathLike[str],
    *,
    key: str | None = None,
    bands: BandChoice = None,
    divisor: float | None = None,
    wavelengths: Wavelengths = None,
    name: str | None = None,
    band_axis: int | None = None,
) -> Scene:
    """Read one scene as a float32 cube (bands, height, width) in [0, 1].

    Parameters
    ----------
    path
        One of:

        - a CAVE folder: 31 16-bit gray PNGs `X_01.png` to `X_31.png`, in the folder or one folder
          deeper; other files are ignored. Value = PNG / 65535; 400 to 700 nm in steps of 10.
        - a .mat file, v5 or v7.3, with a height x width x bands array (the last axis is the bands).
          Keys of published datasets (`ref`, `hsi`, `reflectances`, `Omsi`, `NRD`) have their divisor and
          wavelengths in a table. With `ref`, the mask `lbl` is read.
        - an ENVI file: its header (.hdr) or its raw values; a TIFF or GeoTIFF; a .npy; an HDF5 file.
          Wavelengths, nodata value, mask and georeference are taken where the file has them; bands are
          sorted by wavelength. Of a .npy and of HDF5 the shortest axis is the bands.
        - "indian-pines": the cube that the package tensorly ships. Bands sorted by wavelength, because
          the list steps back at three places (chapter 01 shows them); divided by 10000, a round
          number above the largest count.

        Files are divided by what the table or the file declares. Where neither does, integers and floats
        beyond 1.1 are divided by the maximum of the whole image, and other floats are left as they are.
    key
        Name of the array in a .mat or HDF5 file. None: the only 3-D numeric one.
    bands
        None: all, but 31 of the 200 of Indian Pines. "all": all. A number n: n spread evenly from the
        first to the last. A list: these, 0-based, in increasing order.
    divisor
        The file's value that stands for 1, instead of the rules above.
    wavelengths
        Centres in nm of all bands of the file, instead of the rules above.
    name
        Name of the scene, instead of the folder or file name without `_ms`, `_256`, `_ms_256`.
    band_axis
        Which axis of a .npy or HDF5 array is the bands (0, 1 or 2), instead of the shortest.

    Raises
    ------
    HsisrError
        The path is missing or not one of these; bands are missing, damaged or of the wrong type; values are
        NaN, infinite, all zero or outside [-0.1, 1.1]; the scene is smaller than 4 pixels a side.

    Notes
    -----
    The divisors are those of the group's later evaluation scripts: fixed for CAVE, the maximum of the
    whole image, before any crop, for Harvard and Foster.
    """
    scene = open_scene(
        path, key=key, bands=bands, divisor=divisor, wavelengths=wavelengths, band_axis=band_axis
    ).load()
    if not scene.cube.any():
        raise HsisrError(f"{path}: all {scene.bands} chosen bands are zero. Choose other bands.")
    return scene if name is None else replace(scene, name=name)


def open_scene(
    path: str | os.PathLike[str],
    *,
    key: str | None = None,
    bands: BandChoice = None,
    divisor: float | None = None,
    wavelengths: Wavelengths = None,
    band_axis: int | None = None,
    nodata: float | None = None,
) -> OpenScene:
    """Open any scene that `read_scene` reads, by the same rules; look at all its values once.

    ENVI, .npy, HDF5, .mat v7.3 and uncompressed TIFF are read part by part. A CAVE folder, .mat v5, a
    compressed TIFF and the embedded cube are read whole.

    Parameters
    ----------
    path, key, bands, divisor, wavelengths, band_axis
        As those of `read_scene`.
    nodata
        The value that marks a pixel as no measurement (NaN is possible), instead of what the file declares.

    Raises
    ------
    HsisrError
        As `read_scene`.
    """
    embedded = dataset_name(path) is not None
    _check_options(path, "" if embedded else Path(path).suffix.lower(), key, divisor, band_axis)
    if embedded:
        name, where, file = INDIAN_PINES, INDIAN_PINES, _open_indian_pines()
        bands = _INDIAN_PINES_BANDS if bands is None else bands
    else:
        place = existing(path)
        name, where, file = scene_name(place), str(place), _open_file(place, key, band_axis)
    if nodata is not None:
        file = replace(file, nodata=nodata)
    count, height, width = file.shape
    if min(height, width) < MINIMUM_SIDE or count < 1:
        raise HsisrError(
            f"{where} is {height}x{width} pixels; expected at least {MINIMUM_SIDE} a side. "
            "Check the order of its axes, or leave out this scene."
        )
    order, centres, notes = _arrange_bands(file, bands, wavelengths, where)
    low, high, means = survey(file, where)
    divisor, why = _choose_divisor(file, divisor, low, high)
    _check_range(where, low, high, divisor)
    source = f"{file.kind}, divided by {divisor:.9g}{why and f' ({why})'}{notes}."
    mean = (means[order] / divisor).astype(np.float32)
    return OpenScene(file, order, name, centres, divisor, source, low, mean)


def _check_options(
    path: str | os.PathLike[str], suffix: str, key: str | None, divisor: float | None, band_axis: int | None
) -> None:
    is_number = isinstance(divisor, int | float | np.number) and not isinstance(divisor, bool)
    if divisor is not None and not (is_number and 0 < divisor < math.inf):
        raise HsisrError(f"divisor={divisor!r}: expected a positive number, the value that stands for 1.")
    if key is not None and suffix not in (".mat", *_HDF5):
        raise HsisrError(
            f"key={key!r} names an array of a .mat or HDF5 file, which {path} is not. Leave key out."
        )
    if band_axis is not None and suffix not in (".npy", *_HDF5):
        raise HsisrError(
            f"band_axis={band_axis!r} is for .npy and HDF5 files; {path} says itself which axis is the bands. "
            "Leave band_axis out."
        )


def dataset_name(path: str | os.PathLike[str]) -> str | None:
    """Return the name of the embedded dataset that `path` stands for, or None if it is a path."""
    if not isinstance(path, str):
        return None
    if path.strip().lower().replace("_", "-") == INDIAN_PINES:
        return INDIAN_PINES
    if path and (Path(path).name != path or Path(path).suffix or Path(path).expanduser().exists()):
        return None
    raise HsisrError(
        f"Unknown dataset {path!r}, and no file or folder of that name here. Known: {INDIAN_PINES}; "
        "or give the path of a scene."
    )


def existing(path: str | os.PathLike[str]) -> Path:
    """Return `path` as a Path (with ~ expanded), or raise `HsisrError` if nothing is there."""
    found = Path(path).expanduser()
    if not found.exists():
        raise HsisrError(f"{found} does not exist. Check the path.")
    return found


def scene_name(path: str | os.PathLike[str]) -> str:
    """Return the name of the scene at `path`: its last part without suffix, `_ms`, `_256` or `_ms_256`."""
    path = Path(path).absolute()
    stem = path.stem if path.suffix.lower() in _SCENE_SUFFIXES else path.name
    return re.sub(r"(?<=.)(_ms)?(_256)?$", "", stem)


def is_scene_file(path: Path) -> bool:
    """Whether the file `path` looks like a scene (of an ENVI scene, its header); a store is none."""
    suffix = path.suffix.lower()
    if suffix in _HDF5:
        return is_hdf5(path) and not is_store(path)
    return suffix in _SCENE_SUFFIXES and path.is_file()


def scene_files(path: str | os.PathLike[str]) -> list[Path]:
    """Return the files that `read_scene(path)` reads: 31 PNGs, one or two files, or the one in tensorly."""
    if dataset_name(path) is not None:
        return [_indian_pines_file()]
    path = existing(path)
    if path.is_dir():
        return cave_files(path)
    return [path] if path.suffix.lower() == ".mat" else [*(envi_files(path) or (path,))]


def _open_file(path: Path, key: str | None, band_axis: int | None) -> CubeFile:
    """Open a CAVE folder, or a file by its suffix."""
    suffix = path.suffix.lower()
    if path.is_dir():
        return open_cave(path)
    if suffix == ".mat":
        return open_mat(path, key)
    if suffix == ".npy":
        return open_npy(path, band_axis)
    if suffix in _HDF5:
        return open_hdf5(path, key, band_axis)
    if suffix in _TIFF:
        return open_tiff(path)
    envi = envi_files(path)
    if envi is None:
        raise HsisrError(
            f"{path} is not a scene that can be read; expected a CAVE folder, .mat, ENVI (.hdr beside the values), "
            ".tif, .npy or HDF5 (.h5). Convert it to one of these."
        )
    return open_envi(*envi)


def _open_indian_pines() -> CubeFile:
    _indian_pines_file()
    from tensorly.datasets import load_indian_pines  # half a second to import

    data = load_indian_pines()
    ticks = np.asarray(data.ticks[1], np.float64)
    order = np.argsort(ticks, kind="stable")
    counts = np.ascontiguousarray(np.moveaxis(np.asarray(data.tensor), 2, 0)[order], np.uint16)
    return CubeFile(
        kind="Indian Pines (AVIRIS, doi:10.4231/R7RX991C) as shipped with tensorly, sorted by wavelength",
        array=counts,
        axes=(0, 1, 2),
        wavelengths=ticks[order],
        divisor=_INDIAN_PINES_DIVISOR,
        why="",
    )


def _indian_pines_file() -> Path:
    package = importlib.util.find_spec("tensorly")
    if package is not None and package.origin is not None:
        file = Path(package.origin).parent / "datasets" / "data" / "Indian_pines_corrected.npy"
        if file.is_file():
            return file
    raise HsisrError("The Indian Pines cube is not installed. Run: pip install 'tensorly>=0.9'.")


def _arrange_bands(
    file: CubeFile, bands: BandChoice, wavelengths: Wavelengths, where: str
) -> tuple[NDArray[np.intp], NDArray[np.float64], str]:
    """Return the chosen bands in the file, by wavelength; their wavelengths in nm; and what was done, in words."""
    count, notes = file.shape[0], ""
    if wavelengths is not None:
        centres, order = _check_wavelengths(wavelengths, count, where), np.arange(count)
    else:
        known = _KNOWN_KEYS.get(file.key)
        centres = np.full(count, np.nan) if file.wavelengths is None else file.wavelengths
        if file.wavelengths is None and known is not None and count in known.ranges:
            centres = np.linspace(*known.ranges[count], count)
        # a stable sort leaves unknown wavelengths (NaN) as they are
        order = np.argsort(centres, kind="stable")
        centres = centres[order]
        if bool((np.diff(order) < 0).any()):
            notes = "; bands sorted by wavelength"
        if bool((np.diff(centres) == 0).any()):
            centres = np.full(count, np.nan)
            notes += "; wavelengths left out, because some are there twice"
    chosen = _choose_bands(bands, count, where)
    if len(chosen) < count:
        notes += f"; {len(chosen)} of {count} bands"
    return order[chosen], centres[chosen], notes


def _check_wavelengths(given: Wavelengths, count: int, where: str) -> NDArray[np.float64]:
    """Return the wavelengths that a caller gives for all bands of the file."""
    try:
        centres = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise HsisrError(f"wavelengths={given!r}: expected numbers in nm.") from error
    if centres.shape != (count,):
        raise HsisrError(
            f"{where} has {count} bands, but {centres.size} wavelengths are given. "
            "Give one per band of the file, in nm."
        )
    if not (np.isfinite(centres).all() and bool((np.diff(centres) > 0).all())):
        raise HsisrError(f"wavelengths={given!r}: expected finite numbers in nm that increase strictly.")
    return centres


def _choose_bands(bands: BandChoice, count: int, where: str) -> NDArray[np.intp]:
    """Return the 0-based indices that `bands` (see `read_scene`) stands for among `count`."""
    if bands is None or (isinstance(bands, str) and bands == "all"):
        return np.arange(count)
    if isinstance(bands, int | np.integer) and not isinstance(bands, bool):
        if not 1 <= bands <= count:
            raise HsisrError(f"bands={bands}: {where} has {count}. Give 1 to {count}, a list, or 'all'.")
        return np.linspace(0, count - 1, int(bands)).round().astype(np.intp)
    chosen = np.asarray(bands)
    if chosen.ndim != 1 or chosen.size == 0 or chosen.dtype.kind not in "iu":
        raise HsisrError(f"bands={bands!r}: expected a number, a list of 0-based indices, or 'all'.")
    if chosen.min() < 0 or chosen.max() >= count or bool((np.diff(chosen.astype(np.int64)) <= 0).any()):
        raise HsisrError(
            f"bands={list(chosen)}: expected increasing indices from 0 to {count - 1}, because {where} has "
            f"{count} bands."
        )
    return chosen.astype(np.intp)


def _choose_divisor(file: CubeFile, given: float | None, low: float, high: float) -> tuple[float, str]:
    """Return the divisor for values from `low` to `high`, and the reason."""
    if given is not None:
        return float(given), "as asked"
    if file.divisor is not None and 0 < file.divisor < math.inf:
        return file.divisor, file.why
    scaled = (file.array.dtype.kind == "f" or file.is_double) and low >= _LOWEST and high <= _HIGHEST
    known = _KNOWN_KEYS.get(file.key)
    if known is not None and known.divisor is not None:
        return (1.0, "already in [0, 1]") if scaled else (known.divisor, f"full range of {known.dataset}")
    if known is None and scaled:
        return 1.0, "already in [0, 1]"
    # An image without a positive value has no maximum to divide by; the range check then says so.
    return (high if high > 0 else 1.0), "the maximum of the whole image"


def _check_range(where: str, low: float, high: float, divisor: float) -> None:
    """Check that values from `low` to `high`, divided by `divisor`, lie in [-0.1, 1.1]."""
    if low / divisor < _LOWEST or high / divisor > _HIGHEST:
        raise HsisrError(
            f"{where}: values run from {low:.6g} to {high:.6g}, which is {low / divisor:.6g} to "
            f"{high / divisor:.6g} after division by {divisor:.6g}; expected [0, 1] within 0.1. "
            "Pass divisor= with the value that stands for 1."
        )
