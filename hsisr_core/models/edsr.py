"""EDSR: a deep residual network for colour images, with all bands as channels.

From its own paper (Lim, Son, Kim, Nah, Lee, "Enhanced Deep Residual Networks
for Single Image Super-Resolution", CVPR workshops, 2017): residual blocks
without normalisation, a convolution after the last one and a skip over them
all, then a convolution and a pixel shuffle (two of x2 at x4), L1 loss, Adam
1e-4, self-ensemble. 16 blocks of 64 filters without residual scaling are its
baseline. From its authors' public code: PyTorch's own starting weights.

Ours: the adaptation to cubes, which the authors of the SSRNet paper never
published. All bands enter the first convolution as channels and leave the
last one; the mean of each band takes the place of the mean colour. At x8 a
third pixel shuffle, which its authors' code allows.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle

from hsisr_core.models.base import SuperResolver, check_options
from hsisr_core.models.starts import convolutions, shuffle_kernels, start

# the factors of the pixel shuffles, where there are several
SHUFFLES = {4: (2, 2), 8: (2, 2, 2)}


class EDSR(SuperResolver):
    """Enhanced deep residual network on cubes; bands are the channels.

    `scale` is that of `SSRNet`; `features` and `blocks` (residual ones) are
    those of the baseline in its paper. `init`: "pytorch" is what its authors'
    code does; "he" makes the signal grow with every block. "interpolation",
    ours: one feature carries each band, the blocks' sum starts at zero and the
    pixel shuffle interpolates with parabolas. With fewer features than bands,
    neighbouring bands share one and start as their mean.
    """

    def __init__(
        self,
        scale: int,
        bands: int,
        features: int = 64,
        blocks: int = 16,
        init: str = "pytorch",
    ) -> None:
        check_options(scale, init, features=features, blocks=blocks)
        # LR pixels: 3x3 kernels before the shuffle, and one more for the rest
        super().__init__(scale, halo=1 + 2 * blocks + 1 + 1 + 1)
        self.factors = SHUFFLES.get(scale, (scale,))
        self.head = conv2d(bands, features)
        self.blocks = nn.Sequential(*(Block(features) for _ in range(blocks)))
        self.body_end = conv2d(features, features)
        self.enlarge = nn.ModuleList(
            conv2d(features, features * factor**2) for factor in self.factors
        )
        self.tail = conv2d(features, bands)
        start(self, init, False, interpolate)

    def super_resolve(self, lr: Tensor) -> Tensor:  # (batch, bands, h, w)
        first = self.head(lr)  # (batch, features, h, w)
        x = self.body_end(self.blocks(first)) + first
        for conv, factor in zip(self.enlarge, self.factors, strict=True):
            x = pixel_shuffle(conv(x), factor)  # (batch, features, r*h, r*w)
        return self.tail(x)  # (batch, bands, r*h, r*w)


class Block(nn.Module):
    """Residual block: convolution, ReLU, convolution, skip."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = conv2d(features, features)
        self.second = conv2d(features, features)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x))) + x


def conv2d(inputs: int, outputs: int) -> nn.Conv2d:
    """3x3 convolution with bias that keeps the size (zero padding)."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


@torch.no_grad()
def interpolate(model: EDSR) -> None:
    """Let features carry the bands from head to tail, one each if enough."""
    bands = model.tail.out_channels
    carriers = min(model.tail.in_channels, bands)
    # (bands, carriers): 1 where a feature carries a band
    carried = torch.eye(carriers)[torch.arange(bands) * carriers // bands]
    head, *_, tail = convolutions(model)
    enlarge = convolutions(model.enlarge)
    for layer in (*convolutions(model.body_end), *enlarge, tail):
        layer.weight.zero_()
        layer.bias.zero_()
    # the head's other features start random; nothing reads them yet
    head.bias.zero_()
    head.weight[:carriers] = 0
    head.weight[:carriers, :, 1, 1] = carried.T / carried.sum(0)[:, None]
    tail.weight[:, :carriers, 1, 1] = carried
    for conv, factor in zip(enlarge, model.factors, strict=True):
        phases = factor**2
        for carrier in range(carriers):
            own = slice(carrier * phases, (carrier + 1) * phases)
            conv.weight[own, carrier] = shuffle_kernels(factor)
