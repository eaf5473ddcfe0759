"""SSRChain, ours: SSRNet's head and tail, and a chain of residual units.

The chapter "After SSRNet" shows what was tried on the way. Left out of SSRNet
are the ReLU that ends each block (a unit could only add what is positive),
the fusion and the skips around modules, weight normalisation, and two of
three spectral convolutions, for a longer chain. Added is back-projection.

A tensor inside has the shape (batch, features, bands, height, width).
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsisr_core.degrade import resize_matrix
from hsisr_core.models.base import SuperResolver, check_options
from hsisr_core.models.bicubic import BICUBIC_REACH
from hsisr_core.models.ssrnet import FULL, SPATIAL, SPECTRAL, convolution
from hsisr_core.models.starts import convolutions, copy_image, damp, start


class SSRChain(SuperResolver):
    """A chain of units; every third mixes bands. Any number of bands.

    - `modules`: threes of units.
    - `back_projection`: see `back_project`; to be left out where LR is not
      made by bicubic reduction alone.
    - `scale`, `features` and `init` are those of `SSRNet`.
    """

    def __init__(
        self,
        scale: int,
        features: int = 64,
        modules: int = 5,
        back_projection: bool = True,
        init: str = "pytorch",
    ) -> None:
        check_options(scale, init, features=features, modules=modules)
        # a 3x3 kernel in the head, five in a module; the tail reaches two
        halo = 1 + 5 * modules + 2
        if back_projection:
            # there and back; of the outermost pixel the inner half is reached
            halo += 2 * BICUBIC_REACH - 1
        super().__init__(scale, halo)
        self.back_projection = back_projection
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
        sr = self.tail(self.upsample(x)).squeeze(1)
        return back_project(sr, lr, self.scale) if self.back_projection else sr


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


def back_project(sr: Tensor, lr: Tensor, scale: int) -> Tensor:
    """SR, and the bicubic enlargement of what its bicubic reduction lacks of
    LR: a step of back-projection (Irani and Peleg, "Improving resolution by
    image registration", 1991).

    `sr` is (batch, bands, r*h, r*w), `lr` (batch, bands, h, w). At two LR
    pixels from the border, where kernels reach beyond it, nothing is lacking.
    """
    # of the middle one of five LR pixels: no kernel reaches further
    side, middle = 2 * BICUBIC_REACH + 1, BICUBIC_REACH
    reduce, enlarge = (
        torch.tensor(np.outer(taps, taps)[None, None]).to(sr)
        for taps in (
            resize_matrix(side * scale, side, 1 / scale)[:, middle],
            resize_matrix(side, side * scale, scale)[middle],
        )
    )
    images, padding = sr.flatten(0, 1).unsqueeze(1), middle * scale
    low = F.conv2d(images, reduce, stride=scale, padding=padding)
    rows = columns = slice(middle, -middle)
    lacking, missing = torch.zeros_like(low), lr.reshape(low.shape) - low
    lacking[..., rows, columns] = missing[..., rows, columns]
    added = F.conv_transpose2d(lacking, enlarge, stride=scale, padding=padding)
    return sr + added.view_as(sr)


@torch.no_grad()
def interpolation(model: SSRChain) -> None:
    """Let the first channels hold the image, to which untrained units add
    little; biases, which would drown small differences, are 0."""
    for layer in convolutions(model):
        nn.init.zeros_(layer.bias)
    copy_image(model.head, model.upsample, model.tail)
    for unit in model.modules():
        if isinstance(unit, Unit):
            damp(convolutions(unit)[-1])
