"""SSRChain, ours: SSRNet's head and tail, and a chain of residual units.

The chapter "After SSRNet" shows what was tried on the way. Left out of SSRNet
are the ReLU that ends each block (a unit could only add what is positive),
the fusion and the skips around modules, weight normalisation, and two of
three spectral convolutions; what that saves makes the chain longer.

A tensor inside has the shape (batch, features, bands, height, width).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hsisr_core.models.base import SuperResolver, check_options
from hsisr_core.models.ssrnet import FULL, SPATIAL, SPECTRAL, convolution
from hsisr_core.models.starts import (
    convolutions,
    copy_image,
    damp,
    start,
)


class SSRChain(SuperResolver):
    """A chain of residual units, of which every third mixes bands.
    Any number of bands.

    `modules` is the number of threes of units; `scale`, `features` and `init`
    are those of `SSRNet`.
    """

    def __init__(
        self,
        scale: int,
        features: int = 64,
        modules: int = 5,
        init: str = "pytorch",
    ) -> None:
        check_options(scale, init, features=features, modules=modules)
        # a 3x3 kernel in the head, five in a module; the tail reaches two
        super().__init__(scale, halo=1 + 5 * modules + 2)
        self.head = convolution(1, features, FULL)
        self.body = nn.ModuleList(Module(features) for _ in range(modules))
        kernel, stride = (3, 2 + scale, 2 + scale), (1, scale, scale)
        self.upsample = nn.ConvTranspose3d(
            features, features, kernel, stride, padding=1
        )
        self.tail = convolution(features, 1, FULL)
        start(self, init, False, interpolation)

    def super_resolve(self, lr: Tensor) -> Tensor:  # (batch, bands, h, w)
        x = self.head(lr.unsqueeze(1))
        for module in self.body:
            x = module(x)
        return self.tail(self.upsample(x)).squeeze(1)


class Module(nn.Module):
    """Three units: the first one ends in a spectral convolution."""

    def __init__(self, features: int) -> None:
        super().__init__()
        ends = (SPECTRAL, SPATIAL, SPATIAL)
        self.units = nn.ModuleList(Unit(features, end) for end in ends)
        # of a module of SSRNet
        self.fusion = self.block = None

    def forward(self, x: Tensor) -> Tensor:
        for unit in self.units:
            x = unit(x)
        return x


class Unit(nn.Module):
    """Spatial convolution, ReLU, another convolution, skip."""

    def __init__(self, features: int, end: tuple[int, int, int]) -> None:
        super().__init__()
        first = convolution(features, features, SPATIAL)
        last = convolution(features, features, end)
        self.blocks = nn.Sequential(nn.Sequential(first, nn.ReLU(), last))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x) + x


@torch.no_grad()
def interpolation(model: SSRChain) -> None:
    """Start as an interpolator: the first channels hold the image, untrained
    units add little to it."""
    copy_image(model.head, model.upsample, model.tail)
    for unit in model.modules():
        if isinstance(unit, Unit):
            damp(convolutions(unit)[-1])
