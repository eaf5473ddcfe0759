"""SFCSR: one band after the other, from its neighbours and what came before.

Source: Wang, Li, Li, "Hyperspectral Image Super-Resolution Using Spectrum and
Feature Context", IEEE Transactions on Geoscience and Remote Sensing, 2020,
and its authors' public code.

Ours: training. Their code updates the weights after every band (31 times a
batch of CAVE); here a step is one update for all bands, as for every method,
so its steps and its updates are the same number. The features handed on are
detached in both, so no gradient crosses from a band to the one before it.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle

from hsisr_core.errors import HsisrError
from hsisr_core.models import starts
from hsisr_core.models.base import SuperResolver, check_options
from hsisr_core.models.edsr import SHUFFLES, conv2d
from hsisr_core.models.ssrnet import SPATIAL, SPECTRAL, convolution

MODULES = 5


class SFCSR(SuperResolver):
    """Network of spectrum and feature context. At least three bands.

    `scale`, `features`, `weight_norm` and `init` are those of `SSRNet`;
    "interpolation": one feature holds the band from its head to the tail, and
    the pixel shuffle interpolates with parabolas.
    """

    def __init__(
        self,
        scale: int,
        features: int = 64,
        weight_norm: bool = True,
        init: str = "pytorch",
    ) -> None:
        check_options(scale, init, features=features)
        # LR pixels: 3x3 kernels before the shuffle, and one more for the rest
        super().__init__(scale, halo=1 + 2 * MODULES + 1 + 1 + 1)
        self.factors = SHUFFLES.get(scale, (scale,))
        self.head_3d = separable(1, features, features)
        self.head = conv2d(1, features)
        self.body = nn.ModuleList(Module(features) for _ in range(MODULES))
        self.weights_3d = nn.Parameter(torch.ones(MODULES))
        self.weights_2d = nn.Parameter(torch.ones(MODULES))
        # the outputs of all modules
        self.end_3d = nn.Sequential(
            convolution(MODULES * features, features, (1, 1, 1)),
            separable(features, features, features),
        )
        self.end_2d = nn.Sequential(
            nn.Conv2d(MODULES * features, features, 1),
            conv2d(features, features),
        )
        self.fusion = Fusion(4, features)
        self.context = Fusion(2, features)
        self.enlarge = nn.ModuleList(
            conv2d(features, features * factor**2) for factor in self.factors
        )
        self.tail = conv2d(features, 1)
        starts.start(self, init, weight_norm, interpolation)

    def super_resolve(self, lr: Tensor) -> Tensor:  # (batch, bands, h, w)
        bands = lr.shape[1]
        if bands < 3:
            raise HsisrError(
                f"sfcsr needs at least 3 bands and the cube has {bands}."
            )
        # this network sees the values themselves: the mean back, and off again
        lr = lr + self.mean
        context, sr = None, []
        for band in range(bands):
            first = min(max(band - 1, 0), bands - 3)
            near = lr[:, first : first + 3].unsqueeze(1)
            own = self.head(lr[:, band : band + 1])
            x = self.fuse_bands(self.head_3d(near), own)
            if context is not None:
                x = self.context([x, context])
            context = x.detach()  # (batch, features, h, w)
            sr.append(self.super_resolve_band(x + own))
        return torch.cat(sr, dim=1) - self.mean

    def fuse_bands(self, near: Tensor, own: Tensor) -> Tensor:
        """Features (batch, features, h, w) of a band, from the heads of its
        three neighbours (batch, features, 3, h, w) and of its own."""
        x, y = near, own
        kept_3d, kept_2d = [], []
        parts = zip(self.body, self.weights_3d, self.weights_2d, strict=True)
        for module, weight_3d, weight_2d in parts:
            x, y = module(x, y, near, own)
            kept_3d.append(weight_3d * x)
            kept_2d.append(weight_2d * y)
        x = self.end_3d(torch.cat(kept_3d, dim=1))
        y = self.end_2d(torch.cat(kept_2d, dim=1))
        return self.fusion([*x.unbind(dim=2), y])

    def super_resolve_band(self, x: Tensor) -> Tensor:
        """SR (batch, 1, r*h, r*w) of one band from its features."""
        for conv, factor in zip(self.enlarge, self.factors, strict=True):
            x = pixel_shuffle(conv(x), factor)
        return self.tail(x)


class Module(nn.Module):
    """A 3-D unit on three bands, handed to a 2-D unit on one."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = Split(features)
        self.second = Split(features)
        self.flat = conv2d(features, features)
        self.fusion = nn.Conv2d(4 * features, features, 1)

    def forward(
        self, x: Tensor, y: Tensor, near: Tensor, own: Tensor
    ) -> tuple[Tensor, Tensor]:
        x = self.second(torch.relu(self.first(x))) + x + near
        y = self.flat(y) + y
        y = self.fusion(torch.cat([*x.unbind(dim=2), y], dim=1)) + own
        return x, y


class Split(nn.Module):
    """1x3x3 and 3x1x1 beside each other, added."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.spatial = convolution(features, features, SPATIAL)
        self.spectral = convolution(features, features, SPECTRAL)

    def forward(self, x: Tensor) -> Tensor:
        return self.spatial(x) + self.spectral(x)


class Fusion(nn.Module):
    """Weighted parts, concatenated; two 1x1 convolutions."""

    def __init__(self, parts: int, features: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(parts))
        self.reduce = nn.Conv2d(parts * features, features, 1)
        self.end = nn.Conv2d(features, features, 1)

    def forward(self, parts: list[Tensor]) -> Tensor:
        weighted = [w * x for w, x in zip(self.weights, parts, strict=True)]
        return self.end(self.reduce(torch.cat(weighted, dim=1)))


def separable(inputs: int, features: int, outputs: int) -> nn.Sequential:
    """1x3x3, then 3x1x1, without ReLU."""
    return nn.Sequential(
        convolution(inputs, features, SPATIAL),
        convolution(features, outputs, SPECTRAL),
    )


@torch.no_grad()
def interpolation(model: SFCSR) -> None:
    """Let the first feature hold the band."""
    starts.keep(model.head)
    starts.damp(model.fusion.end)
    starts.damp(model.context.end)
    layers = starts.convolutions(model.enlarge)
    for conv, factor in zip(layers, model.factors, strict=True):
        conv.bias[: factor**2] = 0
        conv.weight[: factor**2] = 0
        conv.weight[: factor**2, 0] = starts.shuffle_kernels(factor)
    starts.keep(model.tail)
