"""SSRNet: 3-D convolutions, split into a spatial and a spectral one, with residuals at three depths.

Source: Wang, Li, Li, "Spatial-Spectral Residual Network for Hyperspectral Image Super-Resolution",
2020, Sec. III, Fig. 3-5, Eq. 1-7. Three facts are not in the paper's text and come from its printed
parameter counts or from code that the same group published later (chapter 03 derives them): weight
normalisation on every convolution, the transposed kernel (3, 2 + r, 2 + r), and the spatial
convolution before the spectral one.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate, chain, islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm as normalise_weight

from hsisr_core.degrade import check_scale
from hsisr_core.errors import HsisrError
from hsisr_core.models.base import SuperResolver
from hsisr_core.models.initialise import convolutions, he_init, interpolation_init
from hsisr_core.models.layers import Convolution, from_last
from hsisr_core.models.reconstruction import reconstruct

__all__ = ["SSRNet"]

SPATIAL, SPECTRAL, FULL = (1, 3, 3), (3, 1, 1), (3, 3, 3)  # (bands, height, width)
BLOCKS = ("separable", "standard")
ORDERS = ("spatial-first", "spectral-first")
INITS = ("pytorch", "he", "interpolation")


def make_block(features: int, kind: str, order: str) -> nn.Sequential:
    """f_B of Eq. 5 and Fig. 5(a): two separable convolutions, each with a ReLU.

    Table III's "standard" block is one 3x3x3 convolution without activation (paper, Sec. IV-D3).
    """
    if kind == "standard":
        return nn.Sequential(Convolution(features, features, FULL))
    kernels = (SPATIAL, SPECTRAL) if order == "spatial-first" else (SPECTRAL, SPATIAL)
    layers = [
        layer
        for kernel in kernels
        for layer in (Convolution(features, features, kernel), nn.ReLU(inplace=True))
    ]
    return nn.Sequential(*layers)


class Unit(nn.Module):
    """Residual unit, Eq. 6 and Fig. 5(b): two blocks and a local skip."""

    def __init__(self, features: int, kind: str, order: str) -> None:
        super().__init__()
        self.blocks = nn.Sequential(make_block(features, kind, order), make_block(features, kind, order))

    def forward(self, x: Tensor) -> Tensor:
        new = x
        for layer in chain(*self.blocks):  # one by one: a Sequential in a Sequential holds on to its input
            new = layer(new)
        return added(new, x)


class Fusion(Convolution):
    """Local feature fusion, Eq. 7: a 1x1x1 convolution over the units' outputs, summed without concatenation."""

    def forward(self, units: Iterable[Tensor]) -> Tensor:
        weights = self.weight.flatten(1).split(self.out_channels, dim=1)
        fused = None
        for unit, weight in zip(units, weights, strict=True):
            fused = (
                F.linear(unit, weight, self.bias) if fused is None else added(F.linear(unit, weight), fused)
            )
        assert fused is not None
        return fused


class Module(nn.Module):
    """Spatial-spectral residual module (SSRM), Eq. 4 and 7, Fig. 4."""

    def __init__(self, features: int, units: int, kind: str, order: str, local_fusion: bool) -> None:
        super().__init__()
        self.units = nn.ModuleList(Unit(features, kind, order) for _ in range(units))
        self.fusion = Fusion(units * features, features, (1, 1, 1)) if local_fusion else None
        self.block = make_block(features, kind, order)

    def forward(self, x: Tensor) -> Tensor:  # (batch, bands, h, w, features), and so at every step
        if self.fusion is None:
            last = x
            for unit in self.units:
                last = unit(last)
            return self.block(last + x)
        outputs = accumulate(self.units, lambda last, unit: unit(last), initial=x)
        fused = torch.relu_(self.fusion(islice(outputs, 1, None)))
        return self.block(added(fused, x))


def added(new: Tensor, old: Tensor) -> Tensor:
    """Their sum, in the memory of `new` where no gradient needs it."""
    return new + old if torch.is_grad_enabled() else new.add_(old)


class SSRNet(SuperResolver):
    """The network of the paper, with a switch for each of its ablations.

    Parameters
    ----------
    scale : {2, 3, 4}
        Factor r.
    features : int
        Filters of every layer (paper: 64).
    modules : int
        D, the number of SSRMs (paper: 3; Table IV: 2 to 5).
    units : int
        Residual units in a module (paper: 3).
    block : {"separable", "standard"}
        Table III.
    local_fusion, global_residual : bool
        LFF and GRL of Table II. Without LFF the last unit's output goes on.
    weight_norm : bool
        Weight normalisation on every convolution. Not in the paper's text; its parameter counts need it.
    order : {"spatial-first", "spectral-first"}
        Which half of a separable block comes first. The text names the spectral one first, the group's
        later code runs the spatial one first; the counts are the same.
    init : {"pytorch", "he", "interpolation"}
        Starting weights. "he" is what the paper cites; "pytorch" what the group's code does;
        "interpolation" makes the untrained network close to a bicubic interpolator (see
        `interpolation_init`), which saves the time a small budget does not have.

    Raises
    ------
    HsisrError
        An option has a value that is not listed here.
    """

    def __init__(
        self,
        scale: int,
        features: int = 64,
        modules: int = 3,
        units: int = 3,
        block: str = "separable",
        local_fusion: bool = True,
        global_residual: bool = True,
        weight_norm: bool = True,
        order: str = "spatial-first",
        init: str = "pytorch",
    ) -> None:
        scale = check_scale(scale)
        for name, value, allowed in (
            ("block", block, BLOCKS),
            ("order", order, ORDERS),
            ("init", init, INITS),
        ):
            if value not in allowed:
                raise HsisrError(f"{name}={value!r} is unknown: choose one of {', '.join(allowed)}.")
        for name, count in (("features", features), ("modules", modules), ("units", units)):
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise HsisrError(f"{name}={count!r} is not possible: it is a whole number of at least 1.")
        if init == "interpolation" and not global_residual:
            raise HsisrError(
                "init='interpolation' needs global_residual=True: the image reaches the tail through that skip. "
                "Use init='pytorch' for a network without it."
            )
        # one 3x3 spatial convolution in the head and in every block; the tail reaches two LR pixels
        super().__init__(scale, halo=1 + modules * (2 * units + 1) + 2)
        self.plain_options: dict[str, Any] = {
            "scale": scale, "features": features, "modules": modules, "units": units, "block": block,
            "local_fusion": local_fusion, "global_residual": global_residual, "order": order,
        }  # fmt: skip
        self.weight_norm = weight_norm
        self.stepwise = False
        self.global_residual = global_residual
        self.head = Convolution(1, features, FULL)  # Eq. 1
        self.body = nn.ModuleList(Module(features, units, block, order, local_fusion) for _ in range(modules))
        self.upsample = nn.ConvTranspose3d(
            features, features, (3, 2 + scale, 2 + scale), stride=(1, scale, scale), padding=1
        )
        self.tail = nn.Conv3d(features, 1, FULL, padding=1)  # Eq. 3
        if init == "he":
            he_init(self)
        elif init == "interpolation":
            interpolation_init(self)
        if weight_norm:
            for layer in convolutions(self):
                normalise_weight(layer)

    def restore(self, lr: Tensor) -> Tensor:  # (batch, bands, h, w)
        lr = lr.unsqueeze(-1)
        first = x = self.head(lr)  # (batch, bands, h, w, features)
        if not torch.is_grad_enabled():
            first = None  # made again where it is added: a thousandth of the work for one tensor less
        for module in self.body:
            x = module(x)
            if self.global_residual:  # Eq. 2
                x = x.add_(self.head(lr)) if first is None else x + first
        if self.stepwise:
            x = self.upsample(from_last(x))  # (batch, features, bands, r*h, r*w)
            return self.tail(x).squeeze(1)  # (batch, bands, r*h, r*w)
        return reconstruct(x, self.upsample, self.tail)

    def pixel_bytes(self, bands: int) -> int:
        """Five tensors of all features in a module; at the end one, the 7 r^2 values of each voxel, and SR thrice."""
        features = self.head.out_channels
        return 4 * bands * max(5 * features, features + 10 * self.scale**2)

    @torch.no_grad()
    def folded(self) -> SSRNet:
        """The same network without weight normalisation: equal output to rounding, fewer parameters, faster.

        Weight normalisation writes a weight as g * v / |v|; after training the product is all that counts.
        Returns this very network when it has none.
        """
        if not self.weight_norm:
            return self
        # built anew: PyTorch cannot remove a parametrisation from a copy without breaking the original
        with torch.random.fork_rng(devices=[]):
            plain = SSRNet(**self.plain_options, weight_norm=False)
        plain.to(self.tail.weight.device, self.tail.weight.dtype)
        plain.set_mean(self.mean)
        plain.mirror = self.mirror
        for source, target in zip(convolutions(self), convolutions(plain), strict=True):
            target.weight.copy_(source.weight)
            target.bias.copy_(source.bias)  # type: ignore[union-attr, arg-type]
        return plain.train(self.training)
