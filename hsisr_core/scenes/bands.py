"""Which bands of a file are read, and their centres."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hsisr_core.errors import HsisrError

__all__ = ["BandChoice", "Wavelengths", "band_centres", "choose_bands", "share_of"]

BandChoice = int | str | Sequence[int] | NDArray[np.intp] | None
Wavelengths = Sequence[float] | NDArray[np.float64] | None


def band_centres(given: Wavelengths, default: NDArray[np.float64], where: str) -> NDArray[np.float64]:
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


def choose_bands(bands: BandChoice, count: int, where: str) -> NDArray[np.intp]:
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


def share_of(chosen: NDArray[np.intp], count: int) -> str:
    """Return how many of `count` bands are chosen, for the end of a sentence; nothing if all are."""
    return "" if len(chosen) == count else f"; {len(chosen)} of {count} bands"
