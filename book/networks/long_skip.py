"""A chain of residual units beside which the head's output goes straight to
the tail: tried in the chapter "After SSRNet"."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hsisr_core.fast.convolution import convolve
from hsisr_core.fast.tail import Tail
from hsisr_core.models.ssrnet import FULL, SPATIAL, SPECTRAL, convolution
from hsisr_core.models.starts import convolutions, copy_image, damp, start

KERNELS = {"s": SPATIAL, "p": SPECTRAL, "f": FULL}


class LongSkip(nn.Module):
    """`modules` times the residual units of `pattern`, a word for each: "s"
    is a 1x3x3 convolution, "p" a 3x1x1 and "f" a 3x3x3 one, with a ReLU
    between two of them and none after the last. `end` are the convolutions
    after the last unit, to whose output the head's is added.
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
        words = pattern.split(",")
        self.head = convolution(1, features, FULL)
        self.body = nn.ModuleList(
            Chain(features, word) for word in words * modules
        )
        self.end = Chain(features, end)
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
        return Tail(self.upsample, self.tail)(self.end(x, first))


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
def interpolation(net: LongSkip) -> None:
    """Start as an interpolator."""
    copy_image(net.head, net.upsample, net.tail)
    for unit in [*net.body, net.end]:
        damp(convolutions(unit)[-1])
