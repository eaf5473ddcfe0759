"""ERCSR: 2-D units, and 3-D kernels in three directions, in turn.

Source: Li, Wang, Li, "Exploring the Relationship Between 2D/3D Convolution
for Hyperspectral Image Super-Resolution", IEEE Trans. Geoscience and Remote
Sensing, 2021, and its authors' public code.

A tensor inside has the shape (batch, features, bands, height, width); a 2-D
convolution of every band is a 3-D one with the kernel 1x3x3.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from hsisr_core.models import starts
from hsisr_core.models.base import SuperResolver, check_options
from hsisr_core.models.sfcsr import separable
from hsisr_core.models.ssrnet import SPATIAL, convolution

MODULES = 4
# kernels of bands and rows, and of bands and columns
SPECTRAL_ROWS, SPECTRAL_COLUMNS = (3, 3, 1), (3, 1, 3)


class ERCSR(SuperResolver):
    """2-D and 3-D convolutions in turn. Any number of bands.

    `scale`, `features`, `weight_norm` and `init` are those of `SSRNet`;
    "interpolation" is less the nearest neighbour, which is added to SR here.
    """

    def __init__(
        self,
        scale: int,
        features: int = 64,
        weight_norm: bool = True,
        init: str = "pytorch",
    ) -> None:
        check_options(scale, init, features=features)
        # 3x3 kernels: two in the head of a module and four in its units
        super().__init__(scale, halo=1 + MODULES * (2 + 4) + 1 + 2)
        self.head = separable(1, features, features)
        self.body = nn.ModuleList(Module(features) for _ in range(MODULES))
        self.weights = nn.Parameter(torch.ones(MODULES))
        self.fusion = convolution(MODULES * features, features, (1, 1, 1))
        self.body_end = separable(features, features, features)
        kernel, stride = (3, 2 + scale, 2 + scale), (1, scale, scale)
        self.upsample = nn.ConvTranspose3d(
            features, features, kernel, stride, padding=1
        )
        self.tail = separable(features, features, 1)
        starts.start(self, init, weight_norm, interpolation)

    def super_resolve(self, lr: Tensor) -> Tensor:  # (batch, bands, h, w)
        first = self.head(lr.unsqueeze(1))
        x, kept = first, []
        for module, weight in zip(self.body, self.weights, strict=True):
            x = module(x)
            kept.append(weight * x)
        x = self.body_end(self.fusion(torch.cat(kept, dim=1))) + first
        sr = self.tail(self.upsample(x)).squeeze(1)
        return sr + interpolate(lr, scale_factor=self.scale)


class Module(nn.Module):
    """3-D kernels of three directions, then two residual 2-D units."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.spatial = convolution(features, features, SPATIAL)
        self.rows = convolution(features, features, SPECTRAL_ROWS)
        self.columns = convolution(features, features, SPECTRAL_COLUMNS)
        self.units = nn.Sequential(*(Unit(features) for _ in range(2)))

    def forward(self, x: Tensor) -> Tensor:
        spatial = torch.relu(self.spatial(x))
        mixed = self.rows(spatial) + self.columns(spatial)
        return self.units(mixed) + mixed + x


class Unit(nn.Module):
    """Every band by itself: 3x3, ReLU, 3x3, skip."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = convolution(features, features, SPATIAL)
        self.second = convolution(features, features, SPATIAL)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x))) + x


@torch.no_grad()
def interpolation(model: ERCSR) -> None:
    """Start as bicubic less nearest neighbour, which is added to SR."""
    (spatial, spectral), end = starts.convolutions(model.head), model.body_end
    up, (inner, last) = model.upsample, starts.convolutions(model.tail)
    carriers = starts.copy_image(spatial, up, last)
    starts.keep(spectral, carriers)
    starts.keep(inner)
    starts.damp(starts.convolutions(end)[-1])
    middle = slice(1, 1 + model.scale)
    # the copy that is not shifted is the middle one
    up.weight[carriers // 2, 0, 1, middle, middle] -= 1
