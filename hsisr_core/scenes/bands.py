"""What files say of bands: numbers, and wavelengths in any unit; and the choice of some of the bands."""

import math
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsisr_core.errors import HsisrError

BandChoice = int | str | Sequence[int] | NDArray[np.intp] | None
Wavelengths = Sequence[float] | NDArray[np.float64] | None
# band centres in nm, None if unknown, and a note for the reader
_Spectrum = tuple[NDArray[np.float64] | None, str]

# of arrays, attributes and variables that hold the centres of the bands
NAMES = {
    *("wavelength", "wavelengths", "wavelengths_nm", "centers", "centres", "band_centers", "band_centres"),
    *("wl", "wave", "lambda", "bands"),
}
_UNITS = {
    r"nm|nanomet(er|re)s?": 1.0,
    r"um|microns?|micromet(er|re)s?": 1e3,
    r"a|å|angstroms?|ångströms?": 0.1,
    r"m|met(er|re)s?": 1e9,
}


def as_list(text: str) -> list[str]:
    """Split a list of an ENVI header, {a, b}."""
    words = text.strip("{} \r\n").rstrip(",")
    return [word.strip() for word in words.split(",")] if words else []


def find_numbers(said: Mapping[str, Any], names: Iterable[str], where: str) -> list[float]:
    """Return the numbers under the first of `names` that a file says anything of, or none."""
    for name in filter(said.__contains__, names):
        try:
            words = as_list(said[name]) if isinstance(said[name], str) else np.ravel(said[name])
            return [float(word) for word in words]
        except (TypeError, ValueError) as error:
            found = f"{name} is {reprlib.repr(said[name])}"
            raise HsisrError(f"{where}: {found}; expected numbers. Fix what it says.") from error
    return []


def scale_of(factors: list[float]) -> float | None:
    """Return the value that stands for 1, given a factor (0.0001) or its inverse (10000), if any."""
    if not factors or not 0 < factors[0] < math.inf:
        return None
    return factors[0] if factors[0] >= 1 else float(f"{1 / factors[0]:.12g}")


def list_wavelengths(said: Mapping[str, Any]) -> list[tuple[Any, str]]:
    """List what may be the wavelengths among attributes, variables, tags or the entries of a header."""
    named = {name.lower().replace(" ", "_"): value for name, value in said.items()}
    units, found = str(named.get("wavelength_units", "")), []
    for name in filter(NAMES.__contains__, named):
        values = named[name]
        if isinstance(values, str) and ("{" in values or "," in values):
            values = as_list(values)
        elif np.asarray(values).dtype.kind not in "iuf":
            continue
        found.append((values, "nm" if name.endswith("_nm") else units))
    return found


def choose_wavelengths(lists: Iterable[tuple[Any, str]], count: int) -> _Spectrum:
    """Return the first of the lists that can be the wavelengths of `count` bands, in nm."""
    found = [_to_nanometres(values, units, count) for values, units in lists]
    return next((one for one in found if one[0] is not None), found[0] if found else (None, ""))


def _to_nanometres(values: Any, units: str, count: int) -> _Spectrum:
    """Turn the wavelengths of `count` bands into nm; a list that cannot be used is left out with a note."""
    note, left_out = "", "; wavelengths left out:"
    if np.size(values) != count:
        return None, f"{left_out} {np.size(values)} for {count} bands"
    try:
        centres = np.array([float(value) for value in np.ravel(values)])
    except (TypeError, ValueError):
        return None, f"{left_out} they are not numbers"
    if not np.isfinite(centres).all() or centres.min() < 0 or not centres.any():
        return None, f"{left_out} some are not positive numbers"
    word = units.strip().lower().replace("µ", "u").replace("μ", "u")
    factor = next((number for name, number in _UNITS.items() if re.fullmatch(name, word)), 0.0)
    if word in ("", "unknown", "none"):
        if centres[0] in (0, 1) and np.array_equal(centres, centres[0] + np.arange(count)):
            return None, f"{left_out} they are the numbers of the bands"
        known = centres[centres > 0]
        factor = 1e3 if known.min() >= 0.3 and known.max() <= 20 else 1.0
        note = f"; wavelengths without units, taken as {'micrometres' if factor > 1 else 'nm'}"
    if not factor:
        return None, f"{left_out} their unit is {units.strip()!r}"
    if (np.diff(centres) <= 0).any():
        note += "; wavelengths do not increase, the bands are in the file's order"
    return centres * factor, note


def choose_bands(bands: BandChoice, count: int, where: str) -> NDArray[np.intp]:
    """Return the 0-based indices that `bands` (see `read_scene`) stands for among `count`."""
    if bands is None or (isinstance(bands, str) and bands == "all"):
        return np.arange(count)
    chosen = np.asarray(bands)
    if chosen.dtype.kind in "iu" and chosen.size:
        low, high = int(chosen.min()), int(chosen.max())
        if chosen.ndim == 0 and 1 <= low <= count:
            return np.linspace(0, count - 1, low).round().astype(np.intp)
        rising = chosen.ndim == 1 and bool((np.diff(chosen.astype(np.intp)) > 0).all())
        if rising and low >= 0 and high < count:
            return chosen.astype(np.intp)
    rule = f"'all', a number from 1 to {count}, or increasing indices from 0 to {count - 1}"
    raise HsisrError(f"bands={reprlib.repr(bands)}: {where} has {count}; expected {rule}.")
