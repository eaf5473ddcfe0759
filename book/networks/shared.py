"""What the bands share, worked on once: a 3-D path of every band and a 2-D
path of all bands together. Tried in the chapter "After SSRNet"."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hsisr_core.fast.convolution import convolve
from hsisr_core.fast.tail import Tail
from hsisr_core.models.ssrnet import FULL, SPATIAL, SPECTRAL, convolution
from hsisr_core.models.starts import copy_image, damp

KERNELS = {"s": SPATIAL, "p": SPECTRAL}
POINT = (1, 1, 1)


class Shared(nn.Module):
    """SSRNet's head and tail; modules of two paths between them.

    `pattern` has a word per residual unit of a module's 3-D path: "s" is a
    1x3x3 convolution, "p" a 3x1x1 one, with a ReLU between two of them.
    The 2-D path has `plane` channels and `depth` residual units of two 3x3
    convolutions in each module. It takes the mean over the bands of what the
    3-D path has, and adds its own to every band (`gate`: and scales by it).
    """

    def __init__(
        self,
        scale: int,
        features: int = 64,
        modules: int = 4,
        pattern: str = "sp,ss",
        plane: int = 64,
        depth: int = 2,
        gate: bool = False,
    ) -> None:
        super().__init__()
        words = pattern.split(",")
        self.head = convolution(1, features, FULL)
        self.body = nn.ModuleList(
            Module(features, words, plane, depth, gate) for _ in range(modules)
        )
        kernel, stride = (3, 2 + scale, 2 + scale), (1, scale, scale)
        self.upsample = nn.ConvTranspose3d(
            features, features, kernel, stride, padding=1
        )
        self.tail = convolution(features, 1, FULL)
        reach = modules * (pattern.count("s") + 2 * depth)
        self.halo = 1 + reach + 2
        with torch.no_grad():
            copy_image(self.head, self.upsample, self.tail)
            for module in self.body:
                module.damp()

    def forward(self, lr: Tensor) -> Tensor:  # (batch, bands, h, w)
        # features last: (batch, bands, h, w, features)
        x = convolve(self.head, lr.unsqueeze(-1))
        plane = None
        for module in self.body:
            x, plane = module(x, plane)
        return Tail(self.upsample, self.tail)(x)


class Module(nn.Module):
    """Residual units of every band, then what all bands share."""

    def __init__(
        self,
        features: int,
        words: list[str],
        plane: int,
        depth: int,
        gate: bool,
    ) -> None:
        super().__init__()
        self.units = nn.ModuleList(Unit(features, word) for word in words)
        self.gate = gate
        self.shared = nn.ModuleList(Unit(plane, "ss") for _ in range(depth))
        if depth:
            self.collect = convolution(features, plane, POINT)
            self.give = convolution(plane, features * (1 + gate), POINT)

    def damp(self) -> None:
        for unit in [*self.units, *self.shared]:
            damp(unit.layers[-1])
        if self.shared:
            damp(self.give)

    def forward(
        self, x: Tensor, plane: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        for unit in self.units:
            x = unit(x)
        if not self.shared:
            return x, None
        mean = convolve(self.collect, x.mean(1, keepdim=True))
        plane = mean if plane is None else mean + plane
        for unit in self.shared:
            plane = unit(plane)
        given = convolve(self.give, plane)
        if self.gate:
            scale, given = given.chunk(2, -1)
            x = x * (1 + scale)
        return (x + given).contiguous(), plane


class Unit(nn.Module):
    """Convolutions with a ReLU between two of them, and a skip."""

    def __init__(self, features: int, word: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            convolution(features, features, KERNELS[letter]) for letter in word
        )

    def forward(self, x: Tensor) -> Tensor:
        *early, last = self.layers
        y = x
        for layer in early:
            y = convolve(layer, y, relu=True)
        return convolve(last, y, plus=x)
