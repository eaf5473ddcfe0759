"""MCNet: SSRNet with a 2-D branch beside every residual unit.

Source: Li, Wang, Li, "Mixed 2D/3D Convolutional Network for Hyperspectral
Image Super-Resolution", Remote Sensing 12(10), 1660, 2020, and its authors'
public code. The parts are SSRNet's; new are fewer blocks in a unit, a fourth
module, and the 2-D branches, whose sum over the features is weighted.

A tensor inside has the shape (batch, features, bands, height, width); a 2-D
convolution of every band is a 3-D one with the kernel 1x3x3.
"""

import torch
from torch import Tensor, nn

from hsisr_core.models.base import SuperResolver, check_options
from hsisr_core.models.ssrnet import FULL, SPATIAL, convolution, make_block
from hsisr_core.models.starts import interpolation_init, start

MODULES, UNITS = 4, 3


class MCNet(SuperResolver):
    """Mixed 2D/3D network. Any number of bands; options are `SSRNet`'s."""

    def __init__(
        self,
        scale: int,
        features: int = 64,
        weight_norm: bool = True,
        init: str = "pytorch",
    ) -> None:
        check_options(scale, init, features=features)
        # 3x3 kernels of a module: one in a unit, two in a branch, one after
        super().__init__(scale, halo=1 + MODULES * (UNITS + 2 + 1) + 2)
        self.head = convolution(1, features, FULL)
        self.body = nn.ModuleList(Module(features) for _ in range(MODULES))
        kernel, stride = (3, 2 + scale, 2 + scale), (1, scale, scale)
        self.upsample = nn.ConvTranspose3d(
            features, features, kernel, stride, padding=1
        )
        self.tail = convolution(features, 1, FULL)
        start(self, init, weight_norm, interpolation_init)

    def super_resolve(self, lr: Tensor) -> Tensor:  # (batch, bands, h, w)
        first = self.head(lr.unsqueeze(1))
        x = first
        for module in self.body:
            x = module(x) + first
        return self.tail(self.upsample(x)).squeeze(1)


class Module(nn.Module):
    """Three units in a row, a 2-D branch behind each, and their fusion."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.units = nn.ModuleList(separable(features) for _ in range(UNITS))
        self.branches = nn.ModuleList(branch(features) for _ in range(UNITS))
        self.weights = nn.Parameter(torch.ones(UNITS))
        self.fusion = convolution(UNITS * features, features, (1, 1, 1))
        self.block = separable(features)

    def forward(self, x: Tensor) -> Tensor:
        unit, branches = x, []
        parts = zip(self.units, self.branches, self.weights, strict=True)
        for block, flat, weight in parts:
            unit = block(unit) + unit
            branches.append(weight * flat(unit))
        fused = torch.relu(self.fusion(torch.cat(branches, dim=1)))
        return self.block(fused + x)


def separable(features: int) -> nn.Sequential:
    """1x3x3, ReLU, 3x1x1, ReLU."""
    return make_block(features, "separable", "spatial-first")


def branch(features: int) -> nn.Sequential:
    """Every band by itself: 3x3, ReLU, 3x3."""
    first, second = (convolution(features, features, SPATIAL) for _ in "12")
    return nn.Sequential(first, nn.ReLU(), second)
