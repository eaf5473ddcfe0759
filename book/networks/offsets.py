"""SSRChain with other units, and with other ways to keep the offsets of an
untrained network small: tried in the chapter "After SSRNet"."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hsisr_core.fast.convolution import convolve
from hsisr_core.fast.tail import Tail
from hsisr_core.models.ssrchain import back_project
from hsisr_core.models.ssrnet import FULL, SPATIAL, SPECTRAL, convolution
from hsisr_core.models.starts import convolutions, copy_image, damp, start

KERNELS = {"s": SPATIAL, "p": SPECTRAL, "f": FULL}


class Offsets(nn.Module):
    """`modules` times the residual units of `pattern`, a word for each: "s"
    is a 1x3x3 convolution, "p" a 3x1x1 and "f" a 3x3x3 one, with a ReLU
    between two of them and none after the last.

    The biases of an untrained network are "drawn", as PyTorch does it, or
    "zero", or stay zero: "none". LR is multiplied by `gain` before the head,
    and SR divided by it. With `skip` the head's output is added to that of
    the chain.
    """

    def __init__(
        self,
        scale: int,
        features: int = 64,
        modules: int = 5,
        pattern: str = "sp,ss,ss",
        biases: str = "zero",
        gain: float = 1.0,
        skip: bool = False,
        back_projection: bool = True,
    ) -> None:
        super().__init__()
        words = pattern.split(",")
        self.scale, self.gain = scale, gain
        self.back_projection = back_projection
        self.head = convolution(1, features, FULL)
        self.body = nn.ModuleList(
            Chain(features, word) for word in words * modules
        )
        self.end = Chain(features, "s")
        kernel, stride = (3, 2 + scale, 2 + scale), (1, scale, scale)
        self.upsample = nn.ConvTranspose3d(
            features, features, kernel, stride, padding=1
        )
        self.tail = convolution(features, 1, FULL)
        wide = pattern.replace("f", "s").count("s") * modules
        self.halo = 1 + wide + skip + 2 + 3 * back_projection
        start(self, "interpolation", False, interpolation)
        for layer in convolutions(self):
            if biases != "drawn":
                nn.init.zeros_(layer.bias)
                layer.bias.requires_grad_(biases == "zero")
        if not skip:
            self.end = None

    def forward(self, lr: Tensor) -> Tensor:  # (batch, bands, h, w)
        # features last: (batch, bands, h, w, features)
        x = first = convolve(self.head, self.gain * lr.unsqueeze(-1))
        for unit in self.body:
            x = unit(x, x)
        if self.end is not None:
            x = self.end(x, first)
        sr = Tail(self.upsample, self.tail)(x) / self.gain
        return back_project(sr, lr, self.scale) if self.back_projection else sr


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
def interpolation(net: Offsets) -> None:
    """Start as an interpolator."""
    copy_image(net.head, net.upsample, net.tail)
    for unit in [*net.body, net.end]:
        damp(convolutions(unit)[-1])
