"""3D-FCNN: four 3-D convolutions on a bicubic cube.

From its own paper (Mei, Yuan, Ji, Zhang, Wan, Du, "Hyperspectral Image
Spatial Super-Resolution via 3D Full Convolutional Neural Network", Remote
Sensing 9(11), 1139, 2017) and its authors' public code (github.com/MeiShaohui,
under the paper's title): bicubic input, kernels 9x9x7, 1x1x1, 1x1x1 and 5x5x3
(height, width, bands) with 64, 32, 9 and 1 filters, ReLU after all but the
last, no padding, mean squared error, Adam 5e-5. The code adds four mirrored
bands at either end of a scene first, so that none is lost; it crops 6 pixels
on each side of HR, and of bicubic beside it, before scoring. The SSRNet paper
finds fault with 23 bands of 31, so it ran the network without mirrored bands.

Ours: input without the mean, as for every method here; no mirrored bands, as
in the SSRNet paper; fewer `features` in the same proportions; `keep_size`.
How the SSRNet paper scored 23 bands is not known: here HR and bicubic are
cropped to what is left, in bands too.
"""

import torch
from torch import Tensor, nn

from hsisr_core.models.base import SuperResolver, check_options
from hsisr_core.models.bicubic import BICUBIC_REACH, upsample
from hsisr_core.models.starts import convolutions, start

KERNELS = ((7, 9, 9), (1, 1, 1), (1, 1, 1), (3, 5, 5))  # bands, height, width
# 4 at either end, 6 on each side
LOST_BANDS = sum(bands // 2 for bands, _, _ in KERNELS)
LOST_PIXELS = sum(height // 2 for _, height, _ in KERNELS)


class FCNN3D(SuperResolver):
    """3-D full convolutional network. Any number of bands; without
    `keep_size`, at least 9.

    `scale` and `init` are those of `SSRNet`. "interpolation": two channels
    carry the bicubic cube through the ReLUs, one its positive and one its
    negative part, so that the untrained network is exactly bicubic.

    `features` are the filters of the first layer (paper: 64); the next two
    have a half and about a seventh of it, as the paper's 32 and 9. With
    `keep_size` zero padding (the mean, since the input has none) leaves SR all
    bands and pixels. The paper's network has no padding: SR lacks 4 bands at
    either end and 6 pixels on each side.
    """

    def __init__(
        self,
        scale: int,
        features: int = 64,
        keep_size: bool = False,
        init: str = "pytorch",
    ) -> None:
        check_options(scale, init, features=features)
        reach = -(-LOST_PIXELS // scale) + BICUBIC_REACH
        super().__init__(
            scale,
            # at least both margins: a tile at a border must leave something
            halo=max(reach, 2 * LOST_PIXELS // scale),
            margin=(0, 0) if keep_size else (LOST_BANDS, LOST_PIXELS),
        )
        # at least two channels everywhere: "interpolation" needs them
        inner = (features, features // 2, features * 9 // 64)
        widths = (1, *(max(2, width) for width in inner), 1)
        padding = "same" if keep_size else "valid"
        sizes = zip(widths[:-1], widths[1:], KERNELS, strict=True)
        self.layers = nn.ModuleList(
            nn.Conv3d(*size, padding=padding) for size in sizes
        )
        start(self, init, False, pass_through)

    def super_resolve(self, lr: Tensor) -> Tensor:  # (batch, bands, h, w)
        # (batch, 1, bands, r*h, r*w)
        x = upsample(lr, self.scale).unsqueeze(1)
        for layer in self.layers[:-1]:
            # (batch, filters, bands - 6, r*h - 8, r*w - 8)
            x = torch.relu(layer(x))
        # (batch, bands - 8, r*h - 12, r*w - 12)
        return self.layers[-1](x).squeeze(1)


@torch.no_grad()
def pass_through(model: FCNN3D) -> None:
    """Delta kernels that leave a cube unchanged: x = relu(x) - relu(-x)."""
    first, *inner, last = layers = convolutions(model)
    for layer in layers:
        layer.weight[:2] = 0
        layer.bias[:2] = 0
    for channel, sign in enumerate((1.0, -1.0)):
        first.weight[channel, 0, 3, 4, 4] = sign
        for layer in inner:
            layer.weight[channel, channel, 0, 0, 0] = 1
        last.weight[0, channel, 1, 2, 2] = sign
