"""Read a scene from a CAVE folder, a MATLAB file or the embedded Indian Pines cube."""

from __future__ import annotations

import importlib.util
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hsisr_core.data.readers_cave import CAVE_BANDS, CAVE_DIVISOR, cave_files, read_cave
from hsisr_core.data.readers_mat import MatArray, read_mat
from hsisr_core.data.scene import HIGHEST, LOWEST, Scene, check_range, value_range
from hsisr_core.errors import HsisrError

__all__ = [
    "INDIAN_PINES",
    "BandChoice",
    "dataset_name",
    "existing",
    "read_scene",
    "scene_files",
    "scene_name",
]

INDIAN_PINES = "indian-pines"

BandChoice = int | str | Sequence[int] | NDArray[np.intp] | None
Wavelengths = Sequence[float] | NDArray[np.float64] | None

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
          wavelengths in a table. Of others, integers and floats beyond 1.1 are divided by the maximum of
          the whole image, other floats are left as they are, and the wavelengths are unknown.
        - "indian-pines": the cube that the package tensorly ships. Bands sorted by wavelength, because
          the list steps back at three places (chapter 01 shows them); divided by 10000, a round
          number above the largest count.
    key
        Name of the array in a .mat file. None: the only 3-D numeric one.
    bands
        None: all, but 31 of the 200 of Indian Pines. "all": all. A number n: n spread evenly from the
        first to the last. A list: these, 0-based, in increasing order.
    divisor
        The file's value that stands for 1, instead of the rules above.
    wavelengths
        Centres in nm of all bands of the file, instead of the rules above.
    name
        Name of the scene, instead of the folder or file name without `_ms`, `_256`, `_ms_256`.

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
    if divisor is not None and not (
        isinstance(divisor, int | float | np.number)
        and not isinstance(divisor, bool)
        and 0 < divisor < math.inf
    ):
        raise HsisrError(f"divisor={divisor!r}: expected a positive number, the value that stands for 1.")
    dataset = dataset_name(path)
    if key is not None and (dataset is not None or Path(path).is_dir()):
        raise HsisrError(f"key={key!r} names an array of a .mat file, and {path} is none. Leave key out.")
    if dataset is not None:
        scene = _read_indian_pines(bands, divisor, wavelengths)
    else:
        path = existing(path)
        if path.is_dir():
            scene = _read_cave_scene(path, bands, divisor, wavelengths)
        else:
            scene = _read_mat_scene(path, key, bands, divisor, wavelengths)
    if not scene.cube.any():
        raise HsisrError(f"{path}: all {scene.bands} chosen bands are zero. Choose other bands.")
    return scene if name is None else Scene(name, scene.cube, scene.wavelengths, scene.divisor, scene.source)


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
    """Return the name of the scene at `path`: its last part without `.mat`, `_ms`, `_256` or `_ms_256`."""
    path = Path(path).absolute()
    stem = path.stem if path.suffix.lower() == ".mat" else path.name
    return re.sub(r"(?<=.)(_ms)?(_256)?$", "", stem)


def scene_files(path: str | os.PathLike[str]) -> list[Path]:
    """Return the files that `read_scene(path)` reads: 31 PNGs, one .mat, or the file in tensorly."""
    if dataset_name(path) is not None:
        return [_indian_pines_file()]
    path = existing(path)
    return cave_files(path) if path.is_dir() else [path]


def _read_cave_scene(path: Path, bands: BandChoice, divisor: float | None, wavelengths: Wavelengths) -> Scene:
    divisor = CAVE_DIVISOR if divisor is None else float(divisor)
    chosen = _choose_bands(bands, CAVE_BANDS, str(path))
    centres = _centres(wavelengths, np.linspace(400, 700, CAVE_BANDS), str(path))
    cube = read_cave(path, chosen, divisor)
    low, high = value_range(str(path), cube)
    check_range(str(path), low * divisor, high * divisor, divisor)
    source = f"CAVE folder: {CAVE_BANDS} 16-bit gray PNGs, divided by {divisor:.9g}{_of(chosen, CAVE_BANDS)}."
    return Scene(scene_name(path), cube, centres[chosen], divisor, source)


def _read_mat_scene(
    path: Path, key: str | None, bands: BandChoice, divisor: float | None, wavelengths: Wavelengths
) -> Scene:
    mat = read_mat(path, key)
    count = mat.array.shape[2]
    chosen = _choose_bands(bands, count, str(path))
    low, high = value_range(str(path), mat.array)
    divisor, why = (float(divisor), "as asked") if divisor is not None else _mat_divisor(mat, low, high)
    check_range(str(path), low, high, divisor)
    centres = _centres(wavelengths, _known_wavelengths(mat.key, count), str(path))
    cube = _divide(mat.array, chosen, divisor)
    source = (
        f"MATLAB {mat.version} file, key {mat.key!r}, {mat.kind}, divided by {divisor:.9g} ({why})"
        f"{_of(chosen, count)}."
    )
    return Scene(scene_name(path), cube, centres[chosen], divisor, source)


def _read_indian_pines(bands: BandChoice, divisor: float | None, wavelengths: Wavelengths) -> Scene:
    _indian_pines_file()
    from tensorly.datasets import load_indian_pines  # half a second to import

    data = load_indian_pines()
    array, ticks = np.asarray(data.tensor), np.asarray(data.ticks[1], np.float64)
    order = np.argsort(ticks, kind="stable")
    divisor = _INDIAN_PINES_DIVISOR if divisor is None else float(divisor)
    chosen = _choose_bands(_INDIAN_PINES_BANDS if bands is None else bands, len(ticks), INDIAN_PINES)
    centres = _centres(wavelengths, ticks[order], INDIAN_PINES)
    check_range(INDIAN_PINES, *value_range(INDIAN_PINES, array), divisor)
    cube = _divide(array, order[chosen], divisor)
    source = (
        "Indian Pines (AVIRIS, doi:10.4231/R7RX991C) as shipped with tensorly, sorted by wavelength, "
        f"divided by {divisor:.9g}{_of(chosen, len(ticks))}."
    )
    return Scene(INDIAN_PINES, cube, centres[chosen], divisor, source)


def _indian_pines_file() -> Path:
    package = importlib.util.find_spec("tensorly")
    if package is not None and package.origin is not None:
        file = Path(package.origin).parent / "datasets" / "data" / "Indian_pines_corrected.npy"
        if file.is_file():
            return file
    raise HsisrError("The Indian Pines cube is not installed. Run: pip install 'tensorly>=0.9'.")


def _mat_divisor(mat: MatArray, low: float, high: float) -> tuple[float, str]:
    """Return the divisor for values from `low` to `high`, by the rules of `read_scene`, and the reason."""
    scaled = not mat.is_integer and low >= LOWEST and high <= HIGHEST
    known = _KNOWN_KEYS.get(mat.key)
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


def _centres(given: Wavelengths, default: NDArray[np.float64], where: str) -> NDArray[np.float64]:
    """Return the wavelengths of all bands of the file: `given` if any, else `default`."""
    if given is None:
        return default
    try:
        centres = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise HsisrError(f"wavelengths={given!r}: expected numbers in nm.") from error
    if centres.shape != default.shape:
        raise HsisrError(
            f"{where} has {default.size} bands, but {centres.size} wavelengths are given. "
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


def _divide(array: np.ndarray, bands: NDArray[np.intp], divisor: float) -> NDArray[np.float32]:
    """Return (bands, height, width) float32 from (height, width, bands), band by band to save memory."""
    cube = np.empty((len(bands), *array.shape[:2]), np.float32)
    for index, band in enumerate(bands):
        cube[index] = np.divide(array[:, :, band], divisor, dtype=np.float64)
    return cube


def _of(chosen: NDArray[np.intp], count: int) -> str:
    return "" if len(chosen) == count else f"; {len(chosen)} of {count} bands"
