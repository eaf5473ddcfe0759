"""Score a model on the test images of a dataset, under the paper's test protocol."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

import numpy as np

from hsisr_core.data import Dataset
from hsisr_core.degrade import make_pair
from hsisr_core.fast import bytes_needed, super_resolve
from hsisr_core.metrics import score
from hsisr_core.models import Bicubic, SuperResolver

__all__ = [
    "METRICS",
    "PROTOCOL",
    "TEST_SIDE",
    "evaluate",
    "mean_scores",
    "reduced_pairs",
    "restore",
    "tile_for",
]

TEST_SIDE = 512  # pixels: the paper tests on the top left 512 x 512 (Sec. IV-B)
PROTOCOL = (
    "HR cropped to its top left 512x512, then to a multiple of the scale; LR by MATLAB-style antialiased bicubic; "
    "SR clipped to [0, 1]; PSNR over the whole cube, SSIM mean over bands, SAM in degrees; mean over images; "
    "a network that returns less than HR is scored on that, and bicubic beside it too"
)
METRICS = ("psnr", "mpsnr", "ssim", "sam", "rmse", "ergas")


def reduced_pairs(dataset: Dataset, scale: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """LR and HR cubes of every test image, by name."""
    cubes = {name: dataset.scene(name).cube[:, :TEST_SIDE, :TEST_SIDE] for name in dataset.test}
    return {name: make_pair(cube, scale) for name, cube in cubes.items()}


def evaluate(
    model: SuperResolver,
    pairs: dict[str, tuple[np.ndarray, np.ndarray]],
    method: str,
    bicubic: bool = True,
    self_ensemble: bool = False,
) -> list[dict[str, Any]]:
    """Scores of `model` on every pair, of bicubic interpolation and of the self-ensemble beside it.

    All are scored on what `model` keeps of HR (see `SuperResolver.margin`), so that they compare.

    Returns
    -------
    list of dict
        Keys: image, result ("bicubic", `method`, or `method` with a "+" for the self-ensemble), psnr and
        mpsnr in dB, ssim, sam in degrees, rmse, ergas, zero_pixels, scored_bands, and scored_border: the
        pixels left out on each side.
    """
    entries: list[tuple[str, SuperResolver, bool]] = [(method, model, False)]
    if bicubic:
        entries.insert(0, ("bicubic", Bicubic(model.scale), False))
    if self_ensemble:
        entries.append((f"{method}+", model, True))
    rows = []
    for image, (lr, hr) in pairs.items():
        kept = model.kept(hr)
        region = {"scored_bands": len(kept), "scored_border": model.margin[1]}
        for name, network, plus in entries:
            scores = score(model.kept(restore(network, lr, plus)), kept, model.scale)
            rows.append({"image": image, "result": name, **scores, **region})
    return rows


def restore(model: SuperResolver, lr: np.ndarray, self_ensemble: bool = False) -> np.ndarray:
    """SR of one LR cube, of HR's size, clipped to [0, 1], in tiles where memory asks for it; see `super_resolve`."""
    return super_resolve(model, lr, tile_for(model, lr), self_ensemble).clip(0, 1)


def mean_scores(rows: list[dict[str, Any]], result: str) -> dict[str, float]:
    """Mean of every metric over the images of one method (the paper averages the same way)."""
    chosen = [row for row in rows if row["result"] == result]
    return {metric: float(np.mean([row[metric] for row in chosen])) for metric in METRICS}


def tile_for(model: SuperResolver, lr: np.ndarray, gigabytes: float = 3.0) -> int | None:
    """Largest tile for which inference needs at most `gigabytes`; None when the whole cube fits."""
    bands, height, width = lr.shape
    if bytes_needed(model, bands, height, width) <= gigabytes * 1e9:
        return None
    sides = range(max(height, width) + 1)
    side = (
        bisect_right(sides, gigabytes * 1e9, key=lambda pixels: bytes_needed(model, bands, pixels, pixels))
        - 1
    )
    return max(16, side - 2 * model.halo)
