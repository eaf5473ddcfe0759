"""GDRRN: a pair of grouped convolutions, repeated on a bicubic cube.

From its own paper (Yong Li et al., "Single Hyperspectral Image Super-
Resolution with Grouped Deep Recursive Residual Network", BigMM 2018): bicubic
input, grouped convolutions that share their weights over the recursions, a
global residual, mean squared error plus a spectral angle as loss. From its
authors' public code (github.com/Liyong8490/HSI-SR-GDRRN): 128 filters, 9
recursions, 2 groups, 3x3 kernels without bias, ReLU before each convolution,
the first features added after every recursion, normal starting weights of
variance 2 / fan-out, weight 0.1 of the angle, Adam 1e-4.

Ours: input without the mean, as for every method here. So there is no ReLU
before the first convolution: the authors' has one, which lets values of at
least 0 pass unchanged. No weight decay (theirs is 1e-4).
"""

import torch
from torch import Tensor, nn

from hsisr_core.errors import HsisrError
from hsisr_core.models.base import SuperResolver, check_options
from hsisr_core.models.bicubic import BICUBIC_REACH, upsample
from hsisr_core.models.starts import he_init


class GDRRN(SuperResolver):
    """Grouped deep recursive residual network. Any number of bands, which are
    the input's channels: the groups divide the features alone.

    `scale` and `init` are those of `SSRNet`. "he" is what the authors' code
    does; "interpolation": the last convolution is zero, so the untrained
    network is exactly bicubic. `features` are the filters of every layer
    (authors: 128), `recursions` how often the two shared convolutions are
    applied (authors: 9), in `groups` (authors: 2) that divide the features.
    """

    def __init__(
        self,
        scale: int,
        bands: int,
        features: int = 128,
        recursions: int = 9,
        groups: int = 2,
        init: str = "pytorch",
    ) -> None:
        counts = {"features": features, "recursions": recursions}
        check_options(scale, init, **counts, groups=groups)
        if features % groups:
            raise HsisrError(
                f"features={features}: expected a multiple of groups={groups}."
            )
        reach = 2 + 2 * recursions  # HR pixels: one for each 3x3 convolution
        super().__init__(scale, halo=-(-reach // scale) + BICUBIC_REACH)
        self.recursions = recursions
        self.head = conv2d(bands, features)
        self.first = conv2d(features, features, groups)
        self.second = conv2d(features, features, groups)
        self.tail = conv2d(features, bands)
        if init == "he":
            he_init(self, "fan_out")
        elif init == "interpolation":
            nn.init.zeros_(self.tail.weight)

    def super_resolve(self, lr: Tensor) -> Tensor:  # (batch, bands, h, w)
        bicubic = upsample(lr, self.scale)  # (batch, bands, r*h, r*w)
        start = self.head(bicubic)  # (batch, features, r*h, r*w)
        x = start
        for _ in range(self.recursions):
            x = self.second(torch.relu(self.first(torch.relu(x)))) + start
        return self.tail(torch.relu(x)) + bicubic


def conv2d(inputs: int, outputs: int, groups: int = 1) -> nn.Conv2d:
    """3x3 convolution without bias that keeps the size (zero padding)."""
    return nn.Conv2d(inputs, outputs, 3, padding=1, groups=groups, bias=False)
