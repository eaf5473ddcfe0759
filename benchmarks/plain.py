"""The obvious implementations that ours are measured against and must agree with. Kept simple on purpose.

Scores by scikit-image and NumPy, the resize by a NumPy loop over bands. The plain SSRNet, in benchmarks/engines.py, is
that of `hsisr_core.models`, called itself instead of through `hsisr_core.fast`: the whole image at once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor, nn

from hsisr_core.degrade import resize_matrix
from hsisr_core.upscale import fold

__all__ = ["fold", "plain_imresize", "plain_score", "plain_step"]


def plain_score(sr: np.ndarray, hr: np.ndarray) -> dict[str, float]:
    """PSNR and SAM by whole-array NumPy, SSIM by scikit-image band by band."""
    sr = np.clip(sr, 0, 1)
    squares = (sr.astype(np.float64) - hr) ** 2
    x, y = (cube.reshape(len(cube), -1).astype(np.float64) for cube in (sr, hr))
    cosine = (x * y).sum(axis=0) / np.sqrt((x * x).sum(axis=0) * (y * y).sum(axis=0))
    similarity = [
        structural_similarity(
            a, b, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for a, b in zip(sr, hr, strict=True)
    ]
    return {
        "psnr": float(-10 * np.log10(squares.mean())),
        "mpsnr": float(-10 * np.log10(squares.mean(axis=(1, 2))).mean()),
        "ssim": float(np.mean(similarity)),
        "sam": float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean()),
    }


def plain_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Callable[[Tensor, Tensor], Tensor],
    lr: Tensor,
    hr: Tensor,
    clip: float | None,
) -> float:
    """A training step of any tutorial; returns the loss."""
    optimizer.zero_grad()
    value = loss(model(lr), hr)
    value.backward()
    if clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    return value.item()


def plain_imresize(cube: np.ndarray, scale: float) -> np.ndarray:
    """MATLAB's bicubic `imresize` band by band: gather each output's taps, multiply, add; rows, then columns."""
    rows, row_weights = taps(resize_matrix(cube.shape[1], round(cube.shape[1] * scale), scale))
    columns, column_weights = taps(resize_matrix(cube.shape[2], round(cube.shape[2] * scale), scale))
    bands = []
    for band in cube:
        reduced = (band.astype(np.float64)[rows] * row_weights[:, :, None]).sum(axis=1)
        bands.append((reduced[:, columns] * column_weights).sum(axis=2))
    return np.stack(bands).astype(cube.dtype)


def taps(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Input samples of each output and their weights, both (outputs, taps)."""
    count = int((matrix != 0).sum(axis=0).max())
    samples = np.argsort(matrix == 0, axis=0, kind="stable")[:count]
    return samples.T, np.take_along_axis(matrix, samples, axis=0).T
