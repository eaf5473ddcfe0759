"""The cubes of an explorer as they stand in a page: 16-bit integers, cropped to what a page may weigh."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsisr_core.errors import HsisrError
from hsisr_core.metrics import psnr
from hsisr_core.plots import FALSE_COLOUR_NM

PAGE_BUDGET = 5_000_000  # bytes of a page: more is slow to open on a phone
DATA_BUDGET = 4_000_000  # of these for the data as base64
# the largest 16-bit integer; it stands for "no data" where a cube has such pixels
_LARGEST = 65535
Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class PackedCube:
    """One cube of an explorer: the part of it that is shown, (bands, height, width), as integers."""

    name: str
    # 1, or the scale for LR
    ratio: int
    counts: NDArray[np.uint16]
    # of each band in dB over the *whole* image; None where a band is identical, and without a comparison
    psnr: list[float | None] | None


@dataclass(frozen=True, eq=False)
class CubeSet:
    """All cubes of an explorer on one grid of pixels, and how integers become values."""

    cubes: dict[str, PackedCube]
    # band centres in nm, (bands,); all NaN if unknown
    wavelengths: NDArray[np.float64]
    # the cube that errors are measured against; empty: none
    reference: str
    # value = offset + step * integer; no value is further than step / 2 from the original
    offset: float
    step: float
    # row and column of the part that is shown, and height and width of the whole image
    origin: Pair
    full: Pair
    # bands left out at either end, and pixels on each side, because a cube has no value there
    margin: Pair
    # the integer of a pixel without a value; None: every pixel has one
    nodata: int | None

    @property
    def bands(self) -> int:
        return self.wavelengths.size

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the part that is shown, in pixels of the finest cube."""
        first = next(cube for cube in self.cubes.values() if cube.ratio == 1)
        return first.counts.shape[1], first.counts.shape[2]

    @property
    def presets(self) -> dict[str, list[int]]:
        """Bands (red, green, blue) of the false-colour presets that this sensor can show."""
        width = float(np.diff(self.wavelengths).max()) if self.bands > 1 else 0.0
        low, high = self.wavelengths[0] - width, self.wavelengths[-1] + width
        found = {
            name: [int(np.abs(self.wavelengths - target).argmin()) for target in targets]
            for name, targets in FALSE_COLOUR_NM.items()
            if low <= min(targets) and max(targets) <= high
        }
        return {name: bands for name, bands in found.items() if len(set(bands)) == 3}

    @property
    def note(self) -> str:
        """What a reader must know of the numbers: their precision, and what was cut off."""
        (top, left), (height, width) = self.origin, self.size
        bands, border = self.margin
        part = "the whole image"
        if (height, width) != self.full:
            part = f"rows {top} to {top + height - 1} and columns {left} to {left + width - 1} of an image"
        part += f" of {self.full[0]} × {self.full[1]} pixels"
        if (height + 2 * border, width + 2 * border) != self.full:
            part += f", so that the page stays below {PAGE_BUDGET / 1e6:g} MB"
        if bands or border:
            part += f". Left out, because a method gives no value there: {bands} bands at either end"
            part += f" and a border of {border} pixels" * (border > 0)
        stored = (
            f" Values are off by at most {self.step / 2:.2g}, because they are stored as 16-bit integers."
        )
        scored = f" The PSNR of a band is that of the whole image{' but the border' * (border > 0)}."
        absent = " Grey in an image and left out of a mean: no data."
        return f"Shown: {part}.{stored}{scored * bool(self.reference)}{absent * (self.nodata is not None)}"

    def values(self, name: str) -> NDArray[np.float64]:
        """The cube `name` as it is shown, (bands, height, width), in real units; NaN is no data."""
        counts = self.cubes[name].counts
        return np.where(counts == self.nodata, np.nan, self.offset + self.step * counts.astype(np.float64))

    def describe(self) -> dict[str, Any]:
        """Everything but the counts, for JSON."""
        same = ("bands", "size", "origin", "reference", "offset", "step", "nodata", "presets", "note")
        known = np.isfinite(self.wavelengths).all()
        return {name: getattr(self, name) for name in same} | {
            "unit": "value (full scale = 1)",
            "wavelengths": self.wavelengths.tolist() if known else None,
            "cubes": [
                {name: getattr(cube, name) for name in ("name", "ratio", "psnr")}
                for cube in self.cubes.values()
            ],
        }

    def buffers(self) -> list[bytes]:
        """The counts of each cube, little-endian, [band][row][column]."""
        return [cube.counts.astype("<u2").tobytes() for cube in self.cubes.values()]


def pack_cubes(
    cubes: Mapping[str, ArrayLike],
    wavelengths: ArrayLike | None = None,
    *,
    reference: str | None = None,
    budget: int = DATA_BUDGET,
    margin: Pair = (0, 0),
) -> CubeSet:
    """Check cubes, cut the same part out of each, turn it into 16-bit integers; see `SpectralExplorer.from_cubes`."""
    arrays = {str(name): np.asarray(cube) for name, cube in cubes.items()}
    for name, array in arrays.items():
        if array.ndim != 3 or 0 in array.shape or array.dtype.kind not in "fiu":
            raise HsisrError(
                f"Cube {name!r} has shape {array.shape} of {array.dtype}; expected numbers, (bands, height, width)."
            )
        if ":" in name or not name.strip():
            raise HsisrError(f"Cube {name!r}: give a name without a colon, which `views` uses for the mode.")
    if not arrays:
        raise HsisrError("There are no cubes to explore; give at least one, as {name: array}.")
    bands, height, width = max((array.shape for array in arrays.values()), key=lambda shape: shape[1])
    ratios = {name: _ratio(name, array.shape, (bands, height, width)) for name, array in arrays.items()}
    centres = np.full(bands, np.nan) if wavelengths is None else np.asarray(wavelengths, dtype=np.float64)
    if centres.shape != (bands,):
        raise HsisrError(f"There are {centres.size} wavelengths for {bands} bands; give one in nm per band.")
    if reference is not None and ratios.get(reference) != 1:
        fine = ", ".join(name for name, ratio in ratios.items() if ratio == 1)
        raise HsisrError(f"reference={reference!r}: expected a cube at full resolution, one of {fine}.")
    grid = math.lcm(*ratios.values())
    edge, border = margin[0], -(-margin[1] // grid) * grid

    def cut(top: int, left: int, rows: int, columns: int) -> dict[str, NDArray[Any]]:
        """The same part of every cube, in pixels of the finest."""
        return {
            name: array[edge : bands - edge, top // r : (top + rows) // r, left // r : (left + columns) // r]
            for (name, array), r in zip(arrays.items(), ratios.values(), strict=True)
        }

    inner = cut(border, border, height - 2 * border, width - 2 * border)
    for name, array in inner.items():
        if array.size == 0:
            raise HsisrError(f"margin={margin} leaves nothing of cube {name!r}.")
        if not np.isfinite(array).any():
            raise HsisrError(f"Cube {name!r} has no finite value: there is nothing to show.")
    scored = {
        name: _band_psnr(array, inner[reference])
        for name, array in inner.items()
        if reference is not None and ratios[name] == 1 and name != reference
    }
    place = _part((height, width), border, list(ratios.values()), bands - 2 * edge, budget)
    parts = {name: array.astype(np.float64) for name, array in cut(*place).items()}
    measured = np.concatenate([part[np.isfinite(part)] for part in parts.values()])
    low, high = (float(measured.min()), float(measured.max())) if measured.size else (0.0, 1.0)
    nodata = None if measured.size == sum(part.size for part in parts.values()) else _LARGEST
    step = (high - low) / (_LARGEST if nodata is None else _LARGEST - 1) or 1.0
    packed = {}
    for name, part in parts.items():
        counts = np.where(np.isfinite(part), np.rint((part - low) / step), _LARGEST).astype(np.uint16)
        packed[name] = PackedCube(name, ratios[name], counts, scored.get(name))
    centres, full = centres[edge : bands - edge], (height, width)
    return CubeSet(packed, centres, reference or "", low, step, place[:2], full, (edge, border), nodata)


def _ratio(name: str, shape: tuple[int, ...], finest: tuple[int, ...]) -> int:
    ratio = finest[1] // shape[1]
    if (shape[0], ratio * shape[1], ratio * shape[2]) != finest:
        raise HsisrError(
            f"Cube {name!r} has shape {shape} and the finest {finest}; expected the same bands, and a height and "
            "width smaller by one whole factor."
        )
    return int(ratio)


def _band_psnr(cube: NDArray[Any], hr: NDArray[Any]) -> list[float | None] | None:
    """PSNR of each band in dB, rounded to 0.001, None where it is infinite; None if a band has no data to compare."""
    masks = np.isfinite(cube) & np.isfinite(hr)
    if not masks.any(axis=(1, 2)).all():
        return None
    values = [psnr(np.clip(a, 0, 1)[None], b[None], mask) for a, b, mask in zip(cube, hr, masks, strict=True)]
    return [round(value, 3) if math.isfinite(value) else None for value in values]


def _part(full: Pair, border: int, ratios: list[int], bands: int, budget: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of the largest part of the middle, nearly square, whose data fit in `budget`."""
    grid = math.lcm(*ratios)
    inner = full[0] - 2 * border, full[1] - 2 * border
    pixels = int(budget * 3 / 4 / (2 * bands * sum(1 / ratio**2 for ratio in ratios)))
    if inner[0] * inner[1] <= pixels:
        return border, border, *inner
    rows = min(inner[0], max(math.isqrt(pixels), pixels // inner[1])) // grid * grid
    columns = min(inner[1], pixels // max(rows, 1)) // grid * grid
    if rows < 1 or columns < 1:
        raise HsisrError(
            f"budget={budget}: not one pixel of {bands} bands in {len(ratios)} cubes fits; give fewer bands or cubes."
        )
    top, left = ((side - part) // 2 // grid * grid for side, part in zip(full, (rows, columns), strict=True))
    return top, left, rows, columns
