"""A chain of residual units between SSRNet's head and tail: tried in the
chapter "After SSRNet"."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hsisr_core.fast.convolution import convolve
from hsisr_core.fast.tail import Tail
from hsisr_core.models.ssrnet import FULL, SPATIAL, SPECTRAL, convolution
from hsisr_core.models.starts import copy_image, damp, shuffle_kernels

KERNELS = {"s": SPATIAL, "p": SPECTRAL, "f": FULL}


class Chain(nn.Module):
    """`modules` times the residual units of `pattern`, a word for each: "s"
    is a 1x3x3 convolution, "p" a 3x1x1 and "f" a 3x3x3 one, with a ReLU
    between two of them and none after the last.

    `narrow` are the channels between the two convolutions of the tail (0: as
    many as `features`); `shuffle` makes them one, before a pixel shuffle.
    """

    def __init__(
        self,
        scale: int,
        features: int = 64,
        modules: int = 5,
        pattern: str = "sp,ss,ss",
        narrow: int = 0,
        shuffle: bool = False,
    ) -> None:
        super().__init__()
        self.scale, words = scale, pattern.split(",")
        self.head = convolution(1, features, FULL)
        self.body = nn.ModuleList(
            Unit(features, word) for word in words * modules
        )
        self.halo = 1 + modules * (pattern.count("s") + pattern.count("f")) + 2
        self.shuffle = None
        with torch.no_grad():
            for unit in self.body:
                damp(unit.layers[-1])
            if shuffle:
                self.shuffle = convolution(features, scale**2, FULL)
                damp(self.shuffle)
                self.head.weight[0], self.head.bias[0] = 0, 0
                self.head.weight[0, 0, 1, 1, 1] = 1
                self.shuffle.weight[:, 0] = 0
                self.shuffle.weight[:, 0, 1] = shuffle_kernels(scale)
                return
            inner = narrow or features
            kernel, stride = (3, 2 + scale, 2 + scale), (1, scale, scale)
            self.upsample = nn.ConvTranspose3d(
                features, inner, kernel, stride, padding=1
            )
            self.tail = convolution(inner, 1, FULL)
            copy_image(self.head, self.upsample, self.tail)

    def forward(self, lr: Tensor) -> Tensor:  # (batch, bands, h, w)
        # features last: (batch, bands, h, w, features)
        x = convolve(self.head, lr.unsqueeze(-1))
        for unit in self.body:
            x = unit(x)
        if self.shuffle is None:
            return Tail(self.upsample, self.tail)(x)
        x = convolve(self.shuffle, x).permute(0, 1, 4, 2, 3)
        return nn.functional.pixel_shuffle(x, self.scale).squeeze(2)


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
