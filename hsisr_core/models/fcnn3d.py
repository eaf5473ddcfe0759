"""3D-FCNN: four 3-D convolutions on a bicubic cube.

From its own paper (Mei, Yuan, Ji, Zhang, Wan, Du, "Hyperspectral Image Spatial Super-Resolution via 3D Full
Convolutional Neural Network", Remote Sensing 9(11), 1139, 2017) and its authors' public code
(github.com/MeiShaohui/Hyperspectral-Image-Spatial-Super-Resolution-via-3D-Full-Convolutional-Neural-Network): bicubic
input, kernels 9x9x7, 1x1x1, 1x1x1 and 5x5x3 (height, width, bands) with 64, 32, 9 and 1 filters, ReLU after all but the
last, no padding, mean squared error, Adam 5e-5. The code adds four mirrored bands at either end of a scene first, so
that none is lost; it crops 6 pixels on each side of HR, and of bicubic beside it, before scoring. The SSRNet paper
finds fault with 23 bands of 31, so it ran the network without mirrored bands.

Ours: input without the mean, as for every method here; no mirrored bands, as in the SSRNet paper; fewer `features` in
the same proportions; `keep_size`. How the SSRNet paper scored 23 bands is not known: here HR and bicubic are cropped to
what is left, in bands too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hsisr_core.degrade import check_scale
from hsisr_core.models.base import SuperResolver, check_counts, check_init
from hsisr_core.models.bicubic import BICUBIC_REACH, upsample
from hsisr_core.models.starts import he_init

__all__ = ["FCNN3D"]

KERNELS = ((7, 9, 9), (1, 1, 1), (1, 1, 1), (3, 5, 5))  # (bands, height, width)
LOST_BANDS = sum(bands // 2 for bands, _, _ in KERNELS)  # 4 at either end
LOST_PIXELS = sum(height // 2 for _, height, _ in KERNELS)  # 6 on each side


class FCNN3D(SuperResolver):
    """3-D full convolutional network. Any number of bands; without `keep_size`, at least 9.

    Parameters
    ----------
    scale : {2, 3, 4}
        Factor r.
    features : int
        Filters of the first layer (paper: 64). The next two have a half and about a seventh of it, as
        the paper's 32 and 9.
    keep_size : bool
        Zero padding (the mean, since the input has none), so that SR has all bands and pixels. The
        paper's network has no padding: SR lacks 4 bands at either end and 6 pixels on each side.
    init : {"pytorch", "he", "interpolation"}
        Starting weights. "interpolation": two channels carry the bicubic cube through the ReLUs, one its
        positive and one its negative part, and the last convolution reads these alone; the untrained
        network is exactly bicubic.

    Raises
    ------
    HsisrError
        `features` is below 1, or `init` is not listed here.
    """

    def __init__(
        self, scale: int, features: int = 64, keep_size: bool = False, init: str = "pytorch"
    ) -> None:
        scale = check_scale(scale)
        check_counts(features=features)
        check_init(init)
        super().__init__(
            scale,
            # not less than the margin of both sides: a tile at the border of a scene must leave something
            halo=max(-(-LOST_PIXELS // scale) + BICUBIC_REACH, 2 * LOST_PIXELS // scale),
            margin=(0, 0) if keep_size else (LOST_BANDS, LOST_PIXELS),
        )
        # at least two channels everywhere: "interpolation" needs them
        widths = (1, max(2, features), max(2, features // 2), max(2, features * 9 // 64), 1)
        self.layers = nn.ModuleList(
            nn.Conv3d(inputs, outputs, kernel, padding=tuple(k // 2 for k in kernel) if keep_size else 0)  # type: ignore[arg-type]
            for inputs, outputs, kernel in zip(widths, widths[1:], KERNELS, strict=False)
        )
        if init == "he":
            he_init(self)
        elif init == "interpolation":
            carry(self.layers)

    def restore(self, lr: Tensor) -> Tensor:  # (batch, bands, h, w)
        x = upsample(lr, self.scale).unsqueeze(1)  # (batch, 1, bands, r*h, r*w)
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))  # (batch, filters, bands - 6, r*h - 8, r*w - 8)
        return self.layers[-1](x).squeeze(1)  # (batch, bands - 8, r*h - 12, r*w - 12)


@torch.no_grad()
def carry(layers: nn.ModuleList) -> None:
    """Delta kernels that take a cube through `layers` unchanged: x = relu(x) - relu(-x)."""
    last = len(layers) - 1
    for index, layer in enumerate(layers):
        assert isinstance(layer, nn.Conv3d)
        middle = tuple(k // 2 for k in layer.kernel_size)
        outputs = 1 if index == last else 2
        layer.weight[:outputs] = 0
        assert layer.bias is not None
        layer.bias[:outputs] = 0
        for channel, sign in enumerate((1.0, -1.0)):
            if index == 0:
                layer.weight[(channel, 0, *middle)] = sign
            elif index == last:
                layer.weight[(0, channel, *middle)] = sign
            else:
                layer.weight[(channel, channel, *middle)] = 1
