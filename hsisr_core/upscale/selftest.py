"""What can be said of a super-resolved cube without its ground truth.

`Statistics` tell whether the cube is like the data that a network was trained on. `self_test` follows Wald's protocol:
the cube is reduced by the scale, super-resolved, and compared with itself. It measures how well the network brings
back what the reduction took away, one scale further down; that the same holds at the cube's own scale is assumed
(Wald, Ranchin, Mangolini 1997).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsisr_core.degrade import make_pair
from hsisr_core.errors import HsisrError
from hsisr_core.models import SuperResolver
from hsisr_core.training import evaluate

__all__ = ["Statistics", "compare_statistics", "find_middle", "self_test"]

_SIDE = 256  # pixels of the cube: of a larger one, the middle
_LEAST_SIDE = 16  # LR pixels a side
_FACTOR = 3.0  # brightness, contrast or noise that differ by more than this are reported
_STEP_FACTOR = 2.0  # likewise of the distance between bands
_LEAST_NOISE = 1e-3  # of full scale: below it, noise plays no part


@dataclass(frozen=True)
class Statistics:
    """Statistics of cubes in [0, 1], each a list of one number per band."""

    # of all pixels
    mean: list[float]
    std: list[float]
    # standard deviation of the noise (Immerkaer, "Fast noise variance estimation", CVIU 1996; by the median)
    noise: list[float]
    # band centres in nm; empty if unknown
    wavelengths: list[float]

    @classmethod
    def of(cls, cubes: Sequence[NDArray[np.float32]], wavelengths: NDArray[np.float64]) -> Statistics:
        """Measure cubes (bands, height, width) of the same bands; of the noise, the median over the cubes."""
        pixels = np.array([cube[0].size for cube in cubes], np.float64)
        means = [cube.mean(axis=(1, 2), dtype=np.float64) for cube in cubes]
        mean = np.average(means, axis=0, weights=pixels)
        square = np.average([np.mean(np.square(cube, dtype=np.float64), (1, 2)) for cube in cubes], 0, pixels)
        std = np.sqrt(np.maximum(square - mean**2, 0))
        noise = np.median([_noise(cube) for cube in cubes], axis=0)
        known = bool(np.isfinite(wavelengths).all())
        return cls(_round(mean), _round(std), _round(noise), _round(wavelengths, 3) if known else [])

    @property
    def step(self) -> float:
        """Median distance of the bands in nm; NaN if unknown."""
        return float(np.median(np.diff(self.wavelengths))) if len(self.wavelengths) > 1 else np.nan


def _round(values: NDArray[np.float64], digits: int = 6) -> list[float]:
    return [round(float(value), digits) for value in values]


def _noise(cube: NDArray[np.float32]) -> NDArray[np.float64]:
    """Standard deviation of the noise of each band: a Laplacian of a Laplacian leaves little else."""
    rows = cube[:, :-2] - 2 * cube[:, 1:-1] + cube[:, 2:]
    both = rows[..., :-2] - 2 * rows[..., 1:-1] + rows[..., 2:]
    # 6 is the norm of the kernel
    return np.median(np.abs(both), axis=(1, 2)) / (0.6745 * 6)


def compare_statistics(trained: Statistics, own: Statistics) -> list[str]:
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
        least = _LEAST_NOISE if name == "noise" else 1e-6
        here, there = (float(np.mean(getattr(statistics, name))) for statistics in (own, trained))
        ratio = max(here, least) / max(there, least)
        if not 1 / _FACTOR <= ratio <= _FACTOR and not (name == "noise" and ratio < 1):
            found.append(
                f"its {what} is {ratio:.2g} times that of the training ({here:.3g} against {there:.3g})"
            )
    return found


def find_middle(height: int, width: int, side: int = _SIDE) -> tuple[slice, slice]:
    """The rows and columns of the middle of a scene, at most `side` a side."""
    tops = [max(0, (length - side) // 2) for length in (height, width)]
    return slice(tops[0], min(tops[0] + side, height)), slice(tops[1], min(tops[1] + side, width))


def self_test(
    model: SuperResolver, cube: NDArray[np.float32], name: str = "network"
) -> dict[str, dict[str, Any]]:
    """Reduce a cube by the model's scale, super-resolve it, compare it with the cube (Wald's protocol).

    The cube (bands, height, width) is in [0, 1]. The result has "bicubic" and `name`, each with psnr, mpsnr (dB),
    ssim, sam (degrees), rmse, ergas. HsisrError if the cube is smaller than 16 times the scale a side.
    """
    if min(cube.shape[1:]) < _LEAST_SIDE * model.scale:
        raise HsisrError(
            f"The cube is {cube.shape[1]}x{cube.shape[2]} pixels; the self-test at scale {model.scale} needs "
            f"{_LEAST_SIDE * model.scale} a side. Leave it out (--no-check)."
        )
    rows = evaluate(model, {"self-test": make_pair(cube, model.scale)}, name)
    return {row["result"]: {key: row[key] for key in row if key not in ("image", "result")} for row in rows}
