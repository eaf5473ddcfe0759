"""Read or open a scene: a CAVE folder, a file of one of five formats, or the embedded Indian Pines cube."""

import importlib.util
import math
import os
import re
import reprlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from h5py import is_hdf5
from numpy.typing import NDArray

from hsisr_core.errors import HsisrError
from hsisr_core.scenes import raster
from hsisr_core.scenes.arrays import is_store, open_arrays
from hsisr_core.scenes.bands import BandChoice, Wavelengths, choose_bands
from hsisr_core.scenes.scene import HIGHEST, LOWEST, MINIMUM_SIDE, CubeFile, OpenScene, Scene, check_memory

INDIAN_PINES = "indian-pines"
_HDF5 = (".h5", ".hdf5", ".hdf", ".he5", ".nc")
# of the formats of one file, what opens them
_OPENERS: dict[str, Callable[..., CubeFile]] = {
    **dict.fromkeys((".mat", ".npy", ".npz", *_HDF5), open_arrays),
    **dict.fromkeys((".tif", ".tiff"), raster.open_tiff),
}
_SUFFIXES = (".hdr", *_OPENERS)
# share of the values that may lie beyond the range of a cube
_OUTLIERS = 0.01
_INDIAN_PINES_BANDS = 31
# of the arrays of published datasets: whose they are, the value that stands for 1 (None: the maximum of the whole
# image), and the first and last band (nm) by number of bands
_KNOWN_KEYS: dict[str, tuple[str, float | None, dict[int, tuple[float, float]]]] = {
    # the dataset's README; the paper says 400-700
    "ref": ("Harvard", None, {31: (420, 720)}),
    "hsi": ("Foster 2015", None, {33: (400, 720)}),
    "reflectances": ("Foster 2002 and 2004", None, {31: (410, 710), 33: (400, 720)}),
    "Omsi": ("CAVE conversions", raster.CAVE_DIVISOR, {31: (400, 700)}),
    "NRD": ("CAVE conversions", raster.CAVE_DIVISOR, {31: (400, 700)}),
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
    nodata: float | None = None,
) -> Scene:
    """Read one scene as a float32 cube (bands, height, width) in [0, 1].

    Parameters
    ----------
    path
        - a CAVE folder: 31 16-bit gray PNGs `X_01.png` to `X_31.png`, there or one folder deeper; or other such PNGs.
        - a .mat file, v5 or v7.3, with a height x width x bands array. Keys of published datasets (`ref` with its
          mask `lbl`, `hsi`, `reflectances`, `Omsi`, `NRD`) have their divisor and wavelengths in a table.
        - an ENVI or ESRI file, its header (.hdr) or its values; TIFF; .npy, .npz; HDF5. What it says of wavelengths,
          scale, no data and place is taken; the bands are in its order, in arrays on the axis that the wavelengths fit
          or the shortest.
        - "indian-pines": the cube that the package tensorly ships, its bands sorted by wavelength.
    name
        Name of the scene, instead of the folder or file name without `_ms`, `_256`, `_ms_256`.
    key
        Name of the array in a .mat, .npz or HDF5 file (hsi.Data: a field of a structure). None: the only 3-D one.
    bands
        None: all, but 31 of the 200 of Indian Pines. "all": all. A number n: n spread evenly from the
        first to the last. A list: these, 0-based, in increasing order.
    divisor
        The file's value that stands for 1, instead of what the table or the file declares (CAVE: 65535). Where neither
        does, integers and floats beyond 1.1 are divided by the maximum of the whole image, as the group's later
        evaluation scripts do for Harvard and Foster; other floats are left as they are.
    wavelengths
        Centres in nm of all bands of the file, instead of the rules above.
    band_axis
        Which axis of a .npy, .npz, HDF5 or .mat array is the bands (0, 1 or 2), instead of the rules above.
    nodata
        The value that marks a pixel as no measurement (NaN is possible), instead of what the file declares.

    Raises
    ------
    HsisrError
        The path is missing or not one of these; bands are missing, damaged or of the wrong type; values are
        NaN, infinite, all zero or outside [-0.1, 1.1]; the scene is smaller than 4 pixels a side.
    """
    opened = open_scene(path, key, bands, divisor, wavelengths, band_axis, nodata)
    check_memory(Path(path), 4 * math.prod(opened.shape))
    scene = opened.load()
    return scene if name is None else replace(scene, name=name)


def open_scene(
    path: str | os.PathLike[str],
    key: str | None = None,
    bands: BandChoice = None,
    divisor: float | None = None,
    wavelengths: Wavelengths = None,
    band_axis: int | None = None,
    nodata: float | None = None,
) -> OpenScene:
    """Open any scene that `read_scene` reads, by the same rules, to be read in parts; look at all its values once."""
    if divisor is not None and not 0 < divisor < math.inf:
        raise HsisrError(f"divisor={divisor!r}: expected a positive number, the value that stands for 1.")
    opener: Callable[..., CubeFile]
    if dataset_name(path) is not None:
        place, opener = Path(INDIAN_PINES), _open_indian_pines
        bands = _INDIAN_PINES_BANDS if bands is None else bands
    else:
        place = existing(path)
        opener = _OPENERS.get(place.suffix.lower(), raster.open_with_header)
        opener = raster.open_pngs if place.is_dir() else opener
    if (key is not None or band_axis is not None) and opener is not open_arrays:
        raise HsisrError(f"--key and --band-axis are for .mat, .npy, .npz and HDF5, not for {path}.")
    file = opener(place, key, band_axis)
    if nodata is not None:
        file = replace(file, nodata=nodata)
    count, height, width = file.shape
    if min(height, width) < MINIMUM_SIDE or count < 1:
        small = f"{height}x{width} pixels; expected at least {MINIMUM_SIDE} a side"
        raise HsisrError(f"{place} is {small}. Check the order of its axes.")
    order, centres = choose_bands(bands, count, str(place)), _find_wavelengths(file, wavelengths, str(place))
    notes = file.notes if wavelengths is None else ""
    if len(order) < count:
        notes += f"; {len(order)} of {count} bands"
    lows, highs, means, nan, infinite = survey(file)
    bad = int(nan[order].sum() + infinite[order].sum())
    if bad and not infinite[order].any() and file.is_raster and file.nodata is None:
        file, notes = replace(file, nodata=math.nan), f"{notes}; NaN is taken as no data"
    elif bad:
        found = f"{bad} of {len(order) * height * width} values are NaN or infinite"
        raise HsisrError(f"{place}: {found}. If NaN marks no data, give --nodata nan (in Python: nodata=).")
    low, high = float(lows[order].min()), float(highs[order].max())
    if low > high or low == high == 0:
        raise HsisrError(f"{place}: all values of the chosen bands are zero or no-data. Choose others.")
    if dead := int(np.isnan(means[order]).sum()):
        notes += f"; {dead} bands have no measured value"
    scale, why = _choose_divisor(file, divisor, float(lows.min()), float(highs.max()))
    if clipped := low / scale < LOWEST or high / scale > HIGHEST:
        outside, share = _count_outside(file, scale)
        if divisor is None and (share > _OUTLIERS or file.key in _KNOWN_KEYS):
            raise HsisrError(
                f"{place}: values run from {low:.6g} to {high:.6g}; expected [0, 1] within 0.1 after division by "
                f"{scale:.6g}. Give the value that stands for 1 with --divisor (in Python: divisor=)."
            )
        beyond = f"beyond [-0.1, 1.1], from {low:.6g} to {high:.6g}, are clipped"
        notes += f"; {outside} values ({100 * share:.2g} %) {beyond}"
    source = f"{file.kind}, divided by {scale:.9g}{why and f' ({why})'}{notes}."
    name, means = scene_name(place), (means[order] / scale).astype(np.float32)
    return OpenScene(file, order, name, centres[order], scale, source, low, means, clipped)


def dataset_name(path: str | os.PathLike[str]) -> str | None:
    """Return the name of the embedded dataset that `path` stands for, or None if it is a path."""
    if isinstance(path, str) and path.strip().lower().replace("_", "-") == INDIAN_PINES:
        return INDIAN_PINES
    place = Path(path)
    is_word = isinstance(path, str) and place.name == path and not place.suffix
    if is_word and not (path and place.expanduser().exists()):
        raise HsisrError(f"Unknown dataset {path!r}, and no such file. Known: {INDIAN_PINES}, or a path.")
    return None


def existing(path: str | os.PathLike[str]) -> Path:
    """Return `path` as a Path (with ~ expanded), or raise `HsisrError` if nothing is there."""
    found = Path(path).expanduser()
    if not (found.is_file() or found.is_dir()):
        wrong = "is not a regular file" if found.exists() else "does not exist"
        raise HsisrError(f"{found} {wrong}. Check the path.")
    return found


def scene_name(path: str | os.PathLike[str]) -> str:
    """Return the name of the scene at `path`: its last part without suffix, `_ms`, `_256` or `_ms_256`."""
    path = Path(path).absolute()
    return re.sub(r"(?<=.)(_ms)?(_256)?$", "", path.stem if path.suffix.lower() in _SUFFIXES else path.name)


def is_scene_file(path: Path) -> bool:
    """Whether the file `path` looks like a scene (of an ENVI scene, its header), and not a store."""
    suffix = path.suffix.lower()
    is_known = suffix in _SUFFIXES and path.is_file()
    return is_known and (suffix not in _HDF5 or (is_hdf5(path) and not is_store(path)))


def scene_files(path: str | os.PathLike[str]) -> list[Path]:
    """Return the files that `read_scene(path)` reads: 31 PNGs, one or two files, or the one in tensorly."""
    if dataset_name(path) is not None:
        return [_indian_pines_file()]
    path = existing(path)
    if path.is_dir():
        return raster.png_files(path)
    return [path] if path.suffix.lower() in _OPENERS else [*raster.header_and_values(path)]


def _open_indian_pines(*_: object) -> CubeFile:
    _indian_pines_file()
    from tensorly.datasets import load_indian_pines  # half a second to import

    data = load_indian_pines()
    ticks = np.asarray(data.ticks[1], np.float64)
    # the list steps back at three places
    order = np.argsort(ticks, kind="stable")
    return CubeFile(
        kind="Indian Pines (AVIRIS, doi:10.4231/R7RX991C) as shipped with tensorly, sorted by wavelength",
        array=np.ascontiguousarray(np.moveaxis(np.asarray(data.tensor), 2, 0)[order], np.uint16),
        wavelengths=ticks[order],
        # a round number above the largest: a statistic of the image would be knowledge of the test region
        divisor=10000.0,
        why="",
    )


def _indian_pines_file() -> Path:
    package = importlib.util.find_spec("tensorly")
    if package is None or package.origin is None:
        raise HsisrError("The Indian Pines cube is not installed. Run: pip install 'tensorly>=0.9'.")
    return Path(package.origin).parent / "datasets" / "data" / "Indian_pines_corrected.npy"


def _find_wavelengths(file: CubeFile, given: Wavelengths, where: str) -> NDArray[np.float64]:
    """The wavelengths of all bands in nm: those given, those of the file, those of a published dataset, or NaN."""
    count, found = file.shape[0], file.wavelengths if given is None else np.asarray(given)
    if found is None:
        _, _, ranges = _KNOWN_KEYS.get(file.key, ("", None, {}))
        return np.linspace(*ranges.get(count, (np.nan, np.nan)), count)
    if found.shape != (count,) or found.dtype.kind not in "iuf" or not np.isfinite(found).all():
        raise HsisrError(f"{where}: expected {count} finite wavelengths in nm; found {reprlib.repr(given)}.")
    return found.astype(np.float64)


def _choose_divisor(file: CubeFile, given: float | None, low: float, high: float) -> tuple[float, str]:
    """Return the divisor for values from `low` to `high`, and the reason."""
    if given is not None:
        return float(given), "as asked"
    if file.divisor is not None and 0 < file.divisor < math.inf:
        return file.divisor, file.why
    is_float = file.array.dtype.kind == "f" or file.is_double
    dataset, divisor, _ = _KNOWN_KEYS.get(file.key, ("", None, {}))
    if is_float and low >= LOWEST and high <= HIGHEST and (divisor or not dataset):
        return 1.0, "already in [0, 1]"
    if divisor is not None:
        return divisor, f"full range of {dataset}"
    if is_float and not dataset and _count_outside(file, 1.0)[1] <= _OUTLIERS:
        return 1.0, "already in [0, 1] but for outliers"
    # An image without a positive value has no maximum to divide by; the range check then says so.
    return (high if high > 0 else 1.0), "the maximum of the whole image"


def survey(file: CubeFile) -> tuple[NDArray[Any], ...]:
    """Return the least, largest and mean finite value of each band, and its numbers of NaN and infinite values."""
    count = file.shape[0]
    low, high, total = np.full(count, math.inf), np.full(count, -math.inf), np.zeros(count)
    number, nan, infinite = np.zeros((3, count), np.int64)
    for band, values in _measured(file):
        if values.dtype.kind == "f" and not np.isfinite(np.sum(values, dtype=np.float64)):
            nan[band] += np.count_nonzero(np.isnan(values))
            infinite[band] += np.count_nonzero(np.isinf(values))
            values = values[np.isfinite(values)]
        if values.size:
            low[band], high[band] = min(low[band], values.min()), max(high[band], values.max())
            total[band] += np.sum(values, dtype=np.float64)
            number[band] += values.size
    means = np.divide(total, number, out=np.full(count, np.nan), where=number > 0)
    return low, high, means, nan, infinite


def _count_outside(file: CubeFile, divisor: float) -> tuple[int, float]:
    """Return how many measured values lie beyond the range of a cube after the division, and their share."""
    outside, number = 0, 0
    for _, values in _measured(file):
        outside += int(np.count_nonzero((values < LOWEST * divisor) | (values > HIGHEST * divisor)))
        number += values.size
    return outside, outside / max(number, 1)


def _measured(file: CubeFile) -> Iterator[tuple[int, np.ndarray]]:
    """Give all measured values once, with the number of their band."""
    for bands, rows, cols, block in file.blocks():
        missing = file.missing(block, rows, cols)
        for index, band in enumerate(block):
            yield bands.start + index, band if missing is None else band[~missing[index]]
