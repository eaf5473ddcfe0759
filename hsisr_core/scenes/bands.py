"""The bands of a scene: wavelengths in any unit, and the choice of some of the bands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsisr_core.errors import HsisrError

BandChoice = int | str | Sequence[int] | NDArray[np.intp] | None
Wavelengths = Sequence[float] | NDArray[np.float64] | None
# band centres in nm, None if unknown, and a note for the reader
Spectrum = tuple[NDArray[np.float64] | None, str]
# numbers that may be the centres of the bands, and their unit
Listed = tuple[Any, str]

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


def to_nanometres(values: Any, units: str, count: int) -> Spectrum:
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


def list_wavelengths(said: Mapping[str, Any]) -> list[Listed]:
    """List what may be the wavelengths among attributes or variables."""
    units = next((str(said[name]) for name in ("wavelength_units", "Wavelength_Units") if name in said), "")
    return [
        (said[name], "nm" if name.lower().endswith("_nm") else units)
        for name in said
        if name.lower() in NAMES and np.asarray(said[name]).dtype.kind in "iuf"
    ]


def choose_wavelengths(lists: Iterable[Listed], count: int) -> Spectrum:
    """Return the first of the lists that can be the wavelengths of `count` bands, in nm."""
    found = [to_nanometres(values, units, count) for values, units in lists]
    return next((one for one in found if one[0] is not None), found[0] if found else (None, ""))


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
    raise HsisrError(f"bands={bands!r}: {where} has {count}; expected {rule}.")
