"""Score a model on the test images of a dataset, under the paper's test protocol."""

from __future__ import annotations

from typing import Any

import numpy as np

from hsisr_core.data import Dataset
from hsisr_core.degrade import make_pair
from hsisr_core.metrics import score
from hsisr_core.models import Bicubic, SuperResolver
from hsisr_core.predict import super_resolve

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
    "SR clipped to [0, 1]; PSNR over the whole cube, SSIM mean over bands, SAM in degrees; mean over images"
)
METRICS = ("psnr", "mpsnr", "ssim", "sam", "rmse", "ergas")


def reduced_pairs(dataset: Dataset, scale: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """LR and HR cubes of every test image, by name."""
    cubes = {name: dataset.scene(name).cube[:, :TEST_SIDE, :TEST_SIDE] for name in dataset.test}
    return {name: make_pair(cube, scale) for name, cube in cubes.items()}


def evaluate(
    model: SuperResolver, pairs: dict[str, tuple[np.ndarray, np.ndarray]], method: str, bicubic: bool = True
) -> list[dict[str, Any]]:
    """Scores of `model` on every pair, and of bicubic interpolation beside it.

    Returns
    -------
    list of dict
        Keys: image, result ("bicubic" or `method`), psnr and mpsnr in dB, ssim, sam in degrees, rmse,
        ergas, zero_pixels.
    """
    methods: dict[str, SuperResolver] = {"bicubic": Bicubic(model.scale)} if bicubic else {}
    methods[method] = model
    rows = []
    for image, (lr, hr) in pairs.items():
        for name, network in methods.items():
            rows.append({"image": image, "result": name, **score(restore(network, lr), hr, model.scale)})
    return rows


def restore(model: SuperResolver, lr: np.ndarray) -> np.ndarray:
    """SR of one LR cube as it is scored: clipped to [0, 1], in tiles where memory asks for it."""
    return super_resolve(model, lr, tile=tile_for(model, lr)).clip(0, 1)


def mean_scores(rows: list[dict[str, Any]], result: str) -> dict[str, float]:
    """Mean of every metric over the images of one method (the paper averages the same way)."""
    chosen = [row for row in rows if row["result"] == result]
    return {metric: float(np.mean([row[metric] for row in chosen])) for metric in METRICS}


def tile_for(model: SuperResolver, lr: np.ndarray, gigabytes: float = 1.0) -> int | None:
    """Largest tile whose HR feature tensor stays below `gigabytes`; None when the whole cube fits."""
    features = next((parameter.shape[0] for parameter in model.parameters() if parameter.ndim == 5), 1)
    voxel_bytes = 4 * features * len(lr) * model.scale**2
    side = int((gigabytes * 1e9 / voxel_bytes) ** 0.5)
    if side >= max(lr.shape[1:]):
        return None
    return max(16, side - 2 * model.halo)
