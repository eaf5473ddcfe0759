"""Read a scene from a CAVE folder, a file of one of five formats or the embedded Indian Pines cube."""

from __future__ import annotations

import importlib.util
import math
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from h5py import is_hdf5
from numpy.typing import NDArray

from hsisr_core.errors import HsisrError
from hsisr_core.scenes.arrays import is_store, open_hdf5, open_npy
from hsisr_core.scenes.bands import BandChoice, Wavelengths, band_centres, choose_bands, share_of
from hsisr_core.scenes.cave import CAVE_BANDS, CAVE_DIVISOR, cave_files, read_cave
from hsisr_core.scenes.cube_file import CubeFile, array_blocks, divide, read_values
from hsisr_core.scenes.envi import envi_files, open_envi
from hsisr_core.scenes.mat import open_mat
from hsisr_core.scenes.scene import HIGHEST, LOWEST, Scene, check_range
from hsisr_core.scenes.tiff import open_tiff

__all__ = [
    "INDIAN_PINES",
    "BandChoice",
    "arrange_bands",
    "choose_divisor",
    "dataset_name",
    "existing",
    "is_scene_file",
    "locate_scene",
    "open_file",
    "read_scene",
    "scene_files",
    "scene_name",
]

INDIAN_PINES = "indian-pines"

_HDF5 = (".h5", ".hdf5", ".hdf", ".he5")
_TIFF = (".tif", ".tiff")
_SCENE_SUFFIXES = (".mat", ".npy", ".hdr", *_HDF5, *_TIFF)

_INDIAN_PINES_BANDS = 31
# A round number above the largest count. A statistic of the image, such as its maximum, would carry
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

    Returns
    -------
    Scene

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
    place = locate_scene(path, key, divisor, band_axis)
    if place is None:
        scene = _read_indian_pines(bands, divisor, wavelengths)
    elif place.is_dir():
        scene = _read_cave_scene(place, bands, divisor, wavelengths)
    else:
        scene = _read_file(place, open_file(place, key, band_axis), bands, divisor, wavelengths)
    if not scene.cube.any():
        raise HsisrError(f"{path}: all {scene.bands} chosen bands are zero. Choose other bands.")
    return scene if name is None else replace(scene, name=name)


def locate_scene(
    path: str | os.PathLike[str], key: str | None, divisor: float | None, band_axis: int | None
) -> Path | None:
    """Check what `read_scene` is given, and return the scene's file or folder; None: the embedded cube."""
    if divisor is not None and not (
        isinstance(divisor, int | float | np.number)
        and not isinstance(divisor, bool)
        and 0 < divisor < math.inf
    ):
        raise HsisrError(f"divisor={divisor!r}: expected a positive number, the value that stands for 1.")
    dataset = dataset_name(path)
    suffix = "" if dataset is not None else Path(path).suffix.lower()
    if key is not None and suffix not in (".mat", *_HDF5):
        raise HsisrError(
            f"key={key!r} names an array of a .mat or HDF5 file, and {path} is none. Leave key out."
        )
    if band_axis is not None and suffix not in (".npy", *_HDF5):
        raise HsisrError(
            f"band_axis={band_axis!r} is for .npy and HDF5 files; {path} says itself which axis is the bands. "
            "Leave band_axis out."
        )
    return None if dataset is not None else existing(path)


def dataset_name(path: str | os.PathLike[str]) -> str | None:
    """Return the name of the embedded dataset that `path` stands for, or None if it is a path.

    Raises
    ------
    HsisrError
        It is a bare word that is neither a dataset nor a file or folder here.
    """
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


def open_file(path: Path, key: str | None, band_axis: int | None) -> CubeFile:
    """Open a scene's file by its suffix, without reading its values; raises what `read_scene` does."""
    suffix = path.suffix.lower()
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
            f"{path} is no scene that can be read; expected a CAVE folder, .mat, ENVI (.hdr beside the values), "
            ".tif, .npy or HDF5 (.h5). Convert it to one of these."
        )
    return open_envi(*envi)


def _read_cave_scene(path: Path, bands: BandChoice, divisor: float | None, wavelengths: Wavelengths) -> Scene:
    divisor = CAVE_DIVISOR if divisor is None else float(divisor)
    chosen = choose_bands(bands, CAVE_BANDS, str(path))
    centres = band_centres(wavelengths, np.linspace(400, 700, CAVE_BANDS), str(path))
    cube = read_cave(path, chosen, divisor)
    low, high = float(cube.min()), float(cube.max())
    if high == 0:
        raise HsisrError(f"{path}: all {cube.size} values are zero; not an image. Leave out this scene.")
    check_range(str(path), low * divisor, high * divisor, divisor)
    source = (
        f"CAVE folder: {CAVE_BANDS} 16-bit gray PNGs, divided by {divisor:.9g}{share_of(chosen, CAVE_BANDS)}."
    )
    return Scene(scene_name(path), cube, centres[chosen], divisor, source)


def _read_file(
    path: Path, file: CubeFile, bands: BandChoice, divisor: float | None, wavelengths: Wavelengths
) -> Scene:
    chosen, centres, notes = arrange_bands(path, file, bands, wavelengths)
    values = read_values(file, chosen, str(path))
    divisor, why = choose_divisor(file, divisor, values.low, values.high)
    check_range(str(path), values.low, values.high, divisor)
    cube = divide(file, values, chosen, divisor)
    source = f"{file.kind}, divided by {divisor:.9g} ({why}){notes}."
    return Scene(scene_name(path), cube, centres, divisor, source, values.mask, file.georeference)


def arrange_bands(
    path: Path, file: CubeFile, bands: BandChoice, wavelengths: Wavelengths
) -> tuple[NDArray[np.intp], NDArray[np.float64], str]:
    """Choose the bands of `file` by the rules of `read_scene`.

    Returns
    -------
    order
        Indices of the chosen bands in the file, by wavelength.
    centres
        Their wavelengths in nm, NaN if unknown.
    notes
        What was done, for the end of a sentence.
    """
    count = file.shape[0]
    centres = _known_wavelengths(file.key, count) if file.wavelengths is None else file.wavelengths
    # a stable sort leaves unknown wavelengths (NaN) as they are; given ones must be in order
    order = np.argsort(centres, kind="stable") if wavelengths is None else np.arange(count)
    notes = "; bands sorted by wavelength" if bool((np.diff(order) < 0).any()) else ""
    centres = centres[order]
    if wavelengths is None and bool((np.diff(centres) == 0).any()):
        centres, notes = (
            np.full(count, np.nan),
            f"{notes}; wavelengths left out, because some are there twice",
        )
    centres = band_centres(wavelengths, centres, str(path))
    chosen = choose_bands(bands, count, str(path))
    return order[chosen], centres[chosen], f"{notes}{share_of(chosen, count)}"


def _read_indian_pines(bands: BandChoice, divisor: float | None, wavelengths: Wavelengths) -> Scene:
    _indian_pines_file()
    from tensorly.datasets import load_indian_pines  # half a second to import

    data = load_indian_pines()
    array, ticks = np.asarray(data.tensor), np.asarray(data.ticks[1], np.float64)
    order = np.argsort(ticks, kind="stable")
    divisor = _INDIAN_PINES_DIVISOR if divisor is None else float(divisor)
    chosen = choose_bands(_INDIAN_PINES_BANDS if bands is None else bands, len(ticks), INDIAN_PINES)
    centres = band_centres(wavelengths, ticks[order], INDIAN_PINES)
    height, width, count = array.shape
    file = CubeFile("", (count, height, width), True, array_blocks(array, (2, 0, 1)))
    values = read_values(file, order[chosen], INDIAN_PINES)
    check_range(INDIAN_PINES, values.low, values.high, divisor)
    cube = divide(file, values, order[chosen], divisor)
    source = (
        "Indian Pines (AVIRIS, doi:10.4231/R7RX991C) as shipped with tensorly, sorted by wavelength, "
        f"divided by {divisor:.9g}{share_of(chosen, len(ticks))}."
    )
    return Scene(INDIAN_PINES, cube, centres[chosen], divisor, source)


def _indian_pines_file() -> Path:
    package = importlib.util.find_spec("tensorly")
    if package is not None and package.origin is not None:
        file = Path(package.origin).parent / "datasets" / "data" / "Indian_pines_corrected.npy"
        if file.is_file():
            return file
    raise HsisrError("The Indian Pines cube is not installed. Run: pip install 'tensorly>=0.9'.")


def choose_divisor(file: CubeFile, given: float | None, low: float, high: float) -> tuple[float, str]:
    """Return the divisor for values from `low` to `high`, by the rules of `read_scene`, and the reason."""
    if given is not None:
        return float(given), "as asked"
    if file.divisor is not None and 0 < file.divisor < math.inf:
        return file.divisor, "declared in the file"
    scaled = not file.is_integer and low >= LOWEST and high <= HIGHEST
    known = _KNOWN_KEYS.get(file.key)
    if known is not None and known.divisor is not None:
        return (1.0, "already in [0, 1]") if scaled else (known.divisor, f"full range of {known.dataset}")
    if known is None and scaled:
        return 1.0, "already in [0, 1]"
    # An image without a positive value has no maximum to divide by; the range check then tells.
    return (high if high > 0 else 1.0), "the maximum of the whole image"


def _known_wavelengths(key: str, count: int) -> NDArray[np.float64]:
    known = _KNOWN_KEYS.get(key)
    if known is None or count not in known.ranges:
        return np.full(count, np.nan)
    return np.linspace(*known.ranges[count], count)
