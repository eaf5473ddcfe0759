"""The obvious implementations that ours are measured against and must agree with. Kept simple on purpose.

SSRNet as one writes it from the paper: `nn.Conv3d` on contiguous tensors, the units concatenated, the transposed
convolution and the last convolution one after the other, the whole image at once. Scores by scikit-image and NumPy,
the resize by a NumPy loop over bands.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm as normalise_weight

from hsisr_core.degrade import resize_matrix
from hsisr_core.models import SSRNet

__all__ = ["PlainSSRNet", "plain_imresize", "plain_of", "plain_score"]


def conv(inputs: int, outputs: int, *kernel: int) -> nn.Conv3d:
    return nn.Conv3d(inputs, outputs, kernel, padding=tuple(side // 2 for side in kernel))  # type: ignore[arg-type]  # *kernel has no known length


def make_block(features: int, kind: str, order: str) -> nn.Sequential:
    if kind == "standard":
        return nn.Sequential(conv(features, features, 3, 3, 3))
    spatial, spectral = conv(features, features, 1, 3, 3), conv(features, features, 3, 1, 1)
    first, second = (spatial, spectral) if order == "spatial-first" else (spectral, spatial)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())


class PlainUnit(nn.Module):
    def __init__(self, features: int, kind: str, order: str) -> None:
        super().__init__()
        self.blocks = nn.Sequential(make_block(features, kind, order), make_block(features, kind, order))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x) + x


class PlainModule(nn.Module):
    def __init__(self, features: int, units: int, kind: str, order: str, local_fusion: bool) -> None:
        super().__init__()
        self.units = nn.ModuleList(PlainUnit(features, kind, order) for _ in range(units))
        self.fusion = conv(units * features, features, 1, 1, 1) if local_fusion else None
        self.block = make_block(features, kind, order)

    def forward(self, x: Tensor) -> Tensor:
        outputs = [x]
        for unit in self.units:
            outputs.append(unit(outputs[-1]))
        fused = outputs[-1]
        if self.fusion is not None:
            fused = torch.relu(self.fusion(torch.cat(outputs[1:], dim=1)))
        return self.block(fused + x)


class PlainSSRNet(nn.Module):
    """SSRNet with the switches and the parameter names of `hsisr_core.models.SSRNet`."""

    mean: Tensor

    def __init__(
        self,
        scale: int,
        features: int = 64,
        modules: int = 3,
        units: int = 3,
        block: str = "separable",
        local_fusion: bool = True,
        global_residual: bool = True,
        weight_norm: bool = True,
        order: str = "spatial-first",
    ) -> None:
        super().__init__()
        self.global_residual = global_residual
        self.register_buffer("mean", torch.zeros(1, 1, 1))
        self.head = conv(1, features, 3, 3, 3)
        self.body = nn.ModuleList(
            PlainModule(features, units, block, order, local_fusion) for _ in range(modules)
        )
        self.upsample = nn.ConvTranspose3d(
            features, features, (3, 2 + scale, 2 + scale), stride=(1, scale, scale), padding=1
        )
        self.tail = conv(features, 1, 3, 3, 3)
        if weight_norm:
            for layer in self.convolutions():
                normalise_weight(layer)

    def convolutions(self) -> list[nn.Module]:
        return [layer for layer in self.modules() if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d)]

    def fold(self) -> PlainSSRNet:
        """Replace weight normalisation by the weights it makes, as any user would before inference."""
        for layer in self.convolutions():
            if parametrize.is_parametrized(layer):
                parametrize.remove_parametrizations(layer, "weight")
        return self

    def forward(self, lr: Tensor) -> Tensor:  # (batch, bands, h, w)
        first = self.head((lr - self.mean).unsqueeze(1))  # (batch, features, bands, h, w)
        x = first
        for module in self.body:
            x = module(x)
            if self.global_residual:
                x = x + first
        return self.tail(self.upsample(x)).squeeze(1) + self.mean  # (batch, bands, r*h, r*w)


def plain_of(model: SSRNet, **options: Any) -> PlainSSRNet:
    """The plain network with the weights of `model`; `options` are those that `model` was made with."""
    plain = PlainSSRNet(model.scale, **options)
    plain.mean = torch.zeros_like(model.mean)
    plain.to(next(model.parameters()).dtype)
    plain.load_state_dict(model.state_dict())
    return plain.train(model.training)


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
