"""SSRNet: spatial and spectral convolutions, residuals at three depths.

Source: Wang, Li, Li, "Spatial-Spectral Residual Network for Hyperspectral
Image Super-Resolution", arXiv 2001.04609, 2020, Sec. III, Fig. 3-5, Eq. 1-7.
Three facts come from its printed parameter counts, or from later code of the
same group (chapter 03 derives them): weight normalisation, the transposed
kernel (3, 2 + r, 2 + r), and the spatial convolution before the spectral one.

A tensor inside has the shape (batch, features, bands, height, width).
"""

import torch
from torch import Tensor, nn

from hsisr_core.models.base import SuperResolver, check_choice, check_options
from hsisr_core.models.starts import interpolation_init, start

# kernels: bands, height, width
SPATIAL, SPECTRAL, FULL = (1, 3, 3), (3, 1, 1), (3, 3, 3)


class SSRNet(SuperResolver):
    """The network of the paper (Fig. 3), with a switch for each ablation.

    Parameters
    ----------
    scale : {2, 3, 4, 8}
        Factor r (paper: 2, 3 and 4).
    features : int
        Filters of every layer (paper: 64).
    modules : int
        D, the number of SSRMs (paper: 3; Table IV: 2 to 5).
    units : int
        Residual units in a module (paper: 3).
    block : {"separable", "standard"}
        Table III.
    local_fusion, global_residual : bool
        LFF and GRL of Table II. Without LFF the last output is passed on.
    weight_norm : bool
        Weight normalisation on every convolution; its counts need it.
    order : {"spatial-first", "spectral-first"}
        Which half of a separable block comes first: the text names the
        spectral one, the group's later code runs the spatial one.
    init : {"pytorch", "he", "interpolation"}
        Starting weights. "he" is what the paper cites; "pytorch" what the
        group's code does; "interpolation" starts near bicubic interpolation
        (see `interpolation_init`): it saves time that a small budget lacks.
    """

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
        init: str = "pytorch",
    ) -> None:
        check_choice("block", block, ("separable", "standard"))
        check_choice("order", order, ("spatial-first", "spectral-first"))
        counts = {"features": features, "modules": modules, "units": units}
        check_options(scale, init, **counts)
        # a 3x3 kernel in the head and in every block; the tail reaches two
        super().__init__(scale, halo=1 + modules * (2 * units + 1) + 2)
        self.global_residual = global_residual
        self.head = convolution(1, features, FULL)
        self.body = nn.ModuleList(
            Module(features, units, block, order, local_fusion)
            for _ in range(modules)
        )
        kernel, stride = (3, 2 + scale, 2 + scale), (1, scale, scale)
        self.upsample = nn.ConvTranspose3d(
            features, features, kernel, stride, padding=1
        )
        self.tail = convolution(features, 1, FULL)
        start(self, init, weight_norm, interpolation_init)

    def super_resolve(self, lr: Tensor) -> Tensor:  # (batch, bands, h, w)
        first = self.head(lr.unsqueeze(1))  # Eq. 1
        x = first
        for module in self.body:  # Eq. 2
            x = module(x)
            if self.global_residual:
                x = x + first
        return self.tail(self.upsample(x)).squeeze(1)  # Eq. 3


class Module(nn.Module):
    """Spatial-spectral residual module (SSRM), Eq. 4 and 7, Fig. 4."""

    def __init__(
        self, features: int, units: int, kind: str, order: str, fusion: bool
    ) -> None:
        super().__init__()
        self.units = nn.ModuleList(
            Unit(features, kind, order) for _ in range(units)
        )
        self.fusion = None
        if fusion:
            self.fusion = convolution(units * features, features, (1, 1, 1))
        self.block = make_block(features, kind, order)

    def forward(self, x: Tensor) -> Tensor:
        outputs = [x]
        for unit in self.units:
            outputs.append(unit(outputs[-1]))
        fused = outputs[-1]
        if self.fusion is not None:  # Eq. 7
            fused = torch.relu(self.fusion(torch.cat(outputs[1:], dim=1)))
        return self.block(fused + x)  # Eq. 4


def make_block(features: int, kind: str, order: str) -> nn.Sequential:
    """f_B, Eq. 5 and Fig. 5(a): two convolutions, a ReLU after each.

    Table III's "standard" block: one 3x3x3 convolution alone (Sec. IV-D3).
    """
    if kind == "standard":
        return nn.Sequential(convolution(features, features, FULL))
    kernels = [SPATIAL, SPECTRAL]
    if order == "spectral-first":
        kernels.reverse()
    first, second = (convolution(features, features, k) for k in kernels)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())


class Unit(nn.Module):
    """Residual unit, Eq. 6 and Fig. 5(b): two blocks and a local skip."""

    def __init__(self, features: int, kind: str, order: str) -> None:
        super().__init__()
        blocks = [make_block(features, kind, order) for _ in range(2)]
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x) + x


def convolution(
    inputs: int, outputs: int, kernel: tuple[int, int, int]
) -> nn.Conv3d:
    """A convolution that keeps the size: zeros around the cube."""
    bands, height, width = kernel
    padding = (bands // 2, height // 2, width // 2)
    return nn.Conv3d(inputs, outputs, kernel, padding=padding)
