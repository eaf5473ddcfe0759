"""What the bands share, worked on once: a 3-D path of every band and a 2-D
path of all bands together. Tried in the chapter "After SSRNet"."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hsisr_core.fast.convolution import convolve
from hsisr_core.fast.tail import Tail
from hsisr_core.models.ssrnet import FULL, SPATIAL, SPECTRAL, convolution
from hsisr_core.models.starts import copy_image, damp

KERNELS = {"s": SPATIAL, "p": SPECTRAL, "f": FULL}
POINT = (1, 1, 1)


class Shared(nn.Module):
    """SSRNet's head and tail; modules of two paths between them.

    `pattern` has a word per residual unit of a module's 3-D path: "s" is a
    1x3x3 convolution, "p" a 3x1x1 one, with a ReLU between two of them.
    The 2-D path has `plane` channels and `depth` residual units of two 3x3
    convolutions in each module. It takes the mean over the bands of what the
    3-D path has, and adds its own to every band.
    """

    def __init__(
        self,
        scale: int,
        bands: int,
        features: int = 64,
        modules: int = 4,
        pattern: str = "sp,ss",
        plane: int = 64,
        depth: int = 2,
        stem: bool = False,
        pool: str = "mean",
        each: bool = False,
        last: bool = False,
        narrow: int = 0,
    ) -> None:
        super().__init__()
        words = pattern.split(",")
        self.head = convolution(1, features, FULL)
        self.stem = convolution(bands, plane, SPATIAL) if stem else None
        give = features * (bands if each else 1)
        self.body = nn.ModuleList(
            Module(features, words, plane, depth, pool, give, last)
            for _ in range(modules)
        )
        kernel, stride = (3, 2 + scale, 2 + scale), (1, scale, scale)
        inner = narrow or features
        self.upsample = nn.ConvTranspose3d(
            features, inner, kernel, stride, padding=1
        )
        self.tail = convolution(inner, 1, FULL)
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
        if self.stem is not None:
            bands = lr.permute(0, 2, 3, 1).unsqueeze(1).contiguous()
            plane = convolve(self.stem, bands)
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
        pool: str,
        give: int,
        last: bool,
    ) -> None:
        super().__init__()
        self.units = nn.ModuleList(Unit(features, word) for word in words)
        self.shared = nn.ModuleList(Unit(plane, "ss") for _ in range(depth))
        self.pool, self.last = pool, last
        twice = 2 if pool == "deviation" else 1
        if depth:
            self.collect = convolution(features * twice, plane, POINT)
            self.give = convolution(plane, give, POINT)

    def damp(self) -> None:
        for unit in [*self.units, *self.shared]:
            damp(unit.layers[-1])
        if self.shared:
            damp(self.give)

    def forward(
        self, x: Tensor, plane: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        if not self.last:
            for unit in self.units:
                x = unit(x)
        if self.pool == "relu":
            mean = convolve(self.collect, x, relu=True).mean(1, keepdim=True)
        elif self.pool == "deviation":
            mean = x.mean(1, keepdim=True)
            deviation = (x - mean).abs().mean(1, keepdim=True)
            mean = torch.cat([mean, deviation], -1)
            mean = convolve(self.collect, mean)
        else:
            mean = convolve(self.collect, x.mean(1, keepdim=True))
        plane = mean if plane is None else mean + plane
        for unit in self.shared:
            plane = unit(plane)
        given = convolve(self.give, plane)
        if given.shape[-1] > x.shape[-1]:
            given = given[:, 0].unflatten(-1, (x.shape[1], -1))
            given = given.permute(0, 3, 1, 2, 4)
        x = (x + given).contiguous()
        if self.last:
            for unit in self.units:
                x = unit(x)
        return x, plane


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
