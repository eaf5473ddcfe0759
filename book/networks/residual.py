"""A chain of residual units that makes what bicubic interpolation lacks:
tried in the chapter "After SSRNet"."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from hsisr_core.fast.convolution import convolve
from hsisr_core.fast.tail import Tail
from hsisr_core.models.ssrnet import FULL, SPATIAL, SPECTRAL, convolution
from hsisr_core.models.starts import convolutions, damp, start

KERNELS = {"s": SPATIAL, "p": SPECTRAL, "f": FULL}


class Residual(nn.Module):
    """`modules` times the residual units of `pattern`, a word for each: "s"
    is a 1x3x3 convolution, "p" a 3x1x1 and "f" a 3x3x3 one, with a ReLU
    between two of them and none after the last. `end` are the convolutions
    after the last unit, to whose output the head's is added ("": none).
    Bicubic interpolation is added to SR.
    """

    def __init__(
        self,
        scale: int,
        features: int = 64,
        modules: int = 5,
        pattern: str = "sp,ss,ss",
        end: str = "s",
        weight_norm: bool = False,
    ) -> None:
        super().__init__()
        self.scale, words = scale, pattern.split(",")
        self.head = convolution(1, features, FULL)
        self.body = nn.ModuleList(
            Chain(features, word) for word in words * modules
        )
        self.end = Chain(features, end) if end else None
        kernel, stride = (3, 2 + scale, 2 + scale), (1, scale, scale)
        self.upsample = nn.ConvTranspose3d(
            features, features, kernel, stride, padding=1
        )
        self.tail = convolution(features, 1, FULL)
        wide = pattern.replace("f", "s").count("s") * modules
        self.halo = 1 + wide + end.count("s") + 2
        start(self, "interpolation", weight_norm, interpolation)

    def forward(self, lr: Tensor) -> Tensor:  # (batch, bands, h, w)
        # features last: (batch, bands, h, w, features)
        x = first = convolve(self.head, lr.unsqueeze(-1))
        for unit in self.body:
            x = unit(x, x)
        if self.end is not None:
            x = self.end(x, first)
        sr = Tail(self.upsample, self.tail)(x)
        return sr + interpolate(lr, scale_factor=self.scale, mode="bicubic")


class Chain(nn.Module):
    """Convolutions with a ReLU between two of them, and a skip."""

    def __init__(self, features: int, word: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            convolution(features, features, KERNELS[letter]) for letter in word
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        *early, last = self.layers
        for layer in early:
            x = convolve(layer, x, relu=True)
        return convolve(last, x, plus=skip)


@torch.no_grad()
def interpolation(net: Residual) -> None:
    """Start near bicubic interpolation."""
    for part in (*net.body, net.end, net.tail):
        if part is not None:
            damp(convolutions(part)[-1])
