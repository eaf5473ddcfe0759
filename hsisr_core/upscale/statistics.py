"""What a network should know of the data it was trained on: sensor, range of the values, noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsisr_core.errors import HsisrError

__all__ = ["Statistics", "differences"]

_FACTOR = 3.0  # brightness, contrast or noise that differ by more than this are told
_STEP_FACTOR = 2.0  # likewise of the distance between bands
_LEAST_NOISE = 1e-3  # of full scale: below it, noise plays no part


@dataclass(frozen=True)
class Statistics:
    """Statistics of cubes in [0, 1], each a list of one number per band.

    Attributes
    ----------
    mean, std
        Of all pixels.
    noise
        Standard deviation of the noise (Immerkaer, "Fast noise variance estimation", CVIU 1996; by the median).
    wavelengths
        Band centres in nm; empty if unknown.
    """

    mean: list[float]
    std: list[float]
    noise: list[float]
    wavelengths: list[float]

    @classmethod
    def of(cls, cubes: Sequence[NDArray[np.float32]], wavelengths: NDArray[np.float64]) -> Statistics:
        """Measure cubes (bands, height, width) of the same bands; of the noise, the median over the cubes."""
        pixels = np.array([cube[0].size for cube in cubes], np.float64)
        mean = np.average(
            [cube.mean(axis=(1, 2), dtype=np.float64) for cube in cubes], axis=0, weights=pixels
        )
        square = np.average([np.mean(np.square(cube, dtype=np.float64), (1, 2)) for cube in cubes], 0, pixels)
        noise = np.median([_noise(cube) for cube in cubes], axis=0)
        known = bool(np.isfinite(wavelengths).all())
        return cls(
            [round(float(value), 6) for value in mean],
            [round(float(value), 6) for value in np.sqrt(np.maximum(square - mean**2, 0))],
            [round(float(value), 6) for value in noise],
            [round(float(value), 3) for value in wavelengths] if known else [],
        )

    @classmethod
    def from_dict(cls, values: Any) -> Statistics:
        """Read what `to_dict` gave; HsisrError if it is something else."""
        try:
            lists = {name: [float(value) for value in values[name]] for name in cls.__dataclass_fields__}
        except (TypeError, KeyError, ValueError) as error:
            raise HsisrError(f"The statistics of the training data are damaged: {error}.") from error
        return cls(**lists)

    def to_dict(self) -> dict[str, list[float]]:
        """Plain values, ready for JSON."""
        return asdict(self)

    @property
    def step(self) -> float:
        """Median distance of the bands in nm; NaN if unknown."""
        return float(np.median(np.diff(self.wavelengths))) if len(self.wavelengths) > 1 else np.nan


def _noise(cube: NDArray[np.float32]) -> NDArray[np.float64]:
    """Standard deviation of the noise of each band: a Laplacian of a Laplacian leaves little else."""
    rows = cube[:, :-2] - 2 * cube[:, 1:-1] + cube[:, 2:]
    both = rows[..., :-2] - 2 * rows[..., 1:-1] + rows[..., 2:]
    return np.median(np.abs(both), axis=(1, 2)) / (0.6745 * 6)  # the kernel's norm is 6


def differences(trained: Statistics, own: Statistics) -> list[str]:
    """Say in which ways `own` is far from what a network was `trained` on; empty: in none."""
    found = []
    if trained.wavelengths and not own.wavelengths:
        found.append("its wavelengths are unknown")
    elif trained.wavelengths:
        first, last = trained.wavelengths[0] - trained.step, trained.wavelengths[-1] + trained.step
        outside = sum(not first <= centre <= last for centre in own.wavelengths)
        if outside:
            found.append(
                f"{outside} of its {len(own.wavelengths)} bands lie outside {trained.wavelengths[0]:.0f} to "
                f"{trained.wavelengths[-1]:.0f} nm"
            )
        if not 1 / _STEP_FACTOR <= own.step / trained.step <= _STEP_FACTOR:
            found.append(f"its bands are {own.step:.1f} nm apart, those of the training {trained.step:.1f}")
    for name, what in (("mean", "brightness"), ("std", "contrast"), ("noise", "noise")):
        here, there = (float(np.mean(getattr(statistics, name))) for statistics in (own, trained))
        least = _LEAST_NOISE if name == "noise" else 1e-6
        ratio = max(here, least) / max(there, least)
        if not (1 / _FACTOR <= ratio <= _FACTOR) and not (name == "noise" and ratio < 1):
            found.append(
                f"its {what} is {ratio:.2g} times that of the training ({here:.3g} against {there:.3g})"
            )
    return found
