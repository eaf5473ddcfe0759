"""SSRNet: 3-D convolutions, split into a spatial and a spectral one, with residuals at three depths.

Source: Wang, Li, Li, "Spatial-Spectral Residual Network for Hyperspectral Image Super-Resolution",
2020, Sec. III, Fig. 3-5, Eq. 1-7. Three facts are not in the paper's text and come from its printed
parameter counts or from code that the same group published later (chapter 03 derives them): weight
normalisation on every convolution, the transposed kernel (3, 2 + r, 2 + r), and the spatial
convolution before the spectral one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate, chain, islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm as normalise_weight

from hsisr_core.degrade import check_scale
from hsisr_core.errors import HsisrError
from hsisr_core.fast.convolution import ENOUGH, Convolution, finished, from_last
from hsisr_core.fast.rows import Added, Piece, Rows, cut, each, fork
from hsisr_core.fast.tail import Reconstruction
from hsisr_core.fast.winograd import ROWS
from hsisr_core.models.base import SuperResolver
from hsisr_core.models.starts import convolutions, he_init, interpolation_init

__all__ = ["SSRNet"]

SPATIAL, SPECTRAL, FULL = (1, 3, 3), (3, 1, 1), (3, 3, 3)  # (bands, height, width)
BLOCKS = ("separable", "standard")
ORDERS = ("spatial-first", "spectral-first")
INITS = ("pytorch", "he", "interpolation")
PIECE_BYTES = 4_000_000  # of a tensor in a stream of rows: a few of them fit a processor's cache


def make_block(features: int, kind: str, order: str) -> nn.Sequential:
    """f_B of Eq. 5 and Fig. 5(a): two separable convolutions, each with a ReLU.

    Table III's "standard" block is one 3x3x3 convolution without activation (paper, Sec. IV-D3).
    """
    if kind == "standard":
        return nn.Sequential(Convolution(features, features, FULL))
    first, second = (SPATIAL, SPECTRAL) if order == "spatial-first" else (SPECTRAL, SPATIAL)
    # weights have the names of a block whose ReLUs are layers of their own
    names = ("0", "2")
    layers = (Convolution(features, features, kernel, relu=True) for kernel in (first, second))
    return nn.Sequential(OrderedDict(zip(names, layers, strict=True)))


def through(layers: Iterable[nn.Module], x: Tensor, plus: Tensor | None) -> Tensor:
    """What the convolutions make of `x`, and `plus` added to that."""
    *early, last = layers
    for layer in early:  # a Sequential in a Sequential would hold on to its input
        x = layer(x)
    return last(x, plus)


def streamed(layers: Iterable[nn.Module], rows: Rows) -> Rows:
    """What the convolutions make of a scene that comes in pieces."""
    for layer in layers:
        assert isinstance(layer, Convolution)
        rows = layer.stream(rows)
    return rows


class Unit(nn.Module):
    """Residual unit, Eq. 6 and Fig. 5(b): two blocks and a local skip."""

    def __init__(self, features: int, kind: str, order: str) -> None:
        super().__init__()
        self.blocks = nn.Sequential(make_block(features, kind, order), make_block(features, kind, order))

    def forward(self, x: Tensor) -> Tensor:
        return through(chain(*self.blocks), x, plus=x)

    def stream(self, rows: Rows) -> Rows:
        new, old = fork(rows, 2)
        return Added(streamed(chain(*self.blocks), new), old)


class Fusion(nn.Conv3d):
    """Local feature fusion, Eq. 7: a 1x1x1 convolution over the units' outputs, summed without concatenation."""

    def forward(self, units: Iterable[Tensor], plus: Tensor) -> Tensor:  # type: ignore[override]  # takes several
        """The convolution, the ReLU, and `plus` added to that."""
        shares = self.shares()
        first, *others = (unit.flatten(0, -2) for unit in units)
        total = F.linear(first, shares[0], self.bias)
        for unit, share in zip(others, shares[1:], strict=True):
            total = torch.addmm(total, unit, share.T)
        return finished(total, True, plus.flatten(0, -2)).unflatten(0, plus.shape[:-1])

    def fused(self, units: Sequence[Rows]) -> Rows:
        """The same on units whose rows come one after the other; a row is multiplied when the last unit has it."""
        *shares, share = self.shares()
        fused = each(partial(F.linear, weight=share, bias=self.bias), units[-1])
        for share, unit in zip(shares, units[:-1], strict=True):
            fused = Added(fused, each(partial(F.linear, weight=share), unit))
        return fused

    def shares(self) -> Sequence[Tensor]:
        """The weights of each unit, (outputs, features)."""
        return self.weight.flatten(1).split(self.out_channels, dim=1)


class Module(nn.Module):
    """Spatial-spectral residual module (SSRM), Eq. 4 and 7, Fig. 4."""

    def __init__(self, features: int, units: int, kind: str, order: str, local_fusion: bool) -> None:
        super().__init__()
        self.units = nn.ModuleList(Unit(features, kind, order) for _ in range(units))
        self.fusion = Fusion(units * features, features, (1, 1, 1)) if local_fusion else None
        self.block = make_block(features, kind, order)

    def forward(self, x: Tensor, plus: Tensor | None) -> Tensor:
        """The module, and `plus` added to that; (batch, bands, h, w, features), and so at every step."""
        outputs = islice(accumulate(self.units, lambda last, unit: unit(last), initial=x), 1, None)
        if self.fusion is None:
            *_, last = outputs
            return through(self.block, last + x, plus)
        return through(self.block, self.fusion(outputs, plus=x), plus)

    def stream(self, rows: Rows) -> Rows:
        last, old = fork(rows, 2)
        outputs = []
        for unit in self.units:
            assert isinstance(unit, Unit)
            last = unit.stream(last)
            if self.fusion is not None and unit is not self.units[-1]:
                last, output = fork(last, 2)
                outputs.append(output)
        if self.fusion is not None:
            last = each(torch.relu_, self.fusion.fused([*outputs, last]))
        return streamed(self.block, Added(last, old))


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
        self.units = units
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
        if not torch.is_grad_enabled() and not lr.is_cuda and not self.stepwise:
            batch, bands, height, width = lr.shape
            sr = lr.new_empty(batch, bands, height * self.scale, width * self.scale)
            done = 0
            with parametrize.cached():  # weight normalisation once, not for every piece
                for rows in self.stream(lr):
                    sr[:, :, done : done + rows.shape[2]] = rows
                    done += rows.shape[2]
                    if self.progress is not None:
                        self.progress(done / sr.shape[2])
            return sr
        first = x = self.head(lr.unsqueeze(-1))  # (batch, bands, h, w, features)
        for module in self.body:
            x = module(x, first if self.global_residual else None)  # Eq. 2
        if self.stepwise:
            x = self.upsample(from_last(x))  # (batch, features, bands, r*h, r*w)
            return self.tail(x).squeeze(1)  # (batch, bands, r*h, r*w)
        return Reconstruction(self.upsample, self.tail)(x)

    def stream(self, lr: Tensor) -> Iterator[Tensor]:
        """SR of `lr` (batch, bands, h, w), some rows at a time, from top to bottom."""
        height = self.piece_rows(lr.shape[1], lr.shape[3])
        whole = Piece(lr.unsqueeze(-1), True, True)
        rows = self.head.stream(cut(iter([whole]), height))
        rows, *firsts = fork(rows, 1 + len(self.body) * self.global_residual)
        for module in self.body:
            assert isinstance(module, Module)
            # what the convolutions hold back all comes with the last piece
            rows = cut(module.stream(rows), height)
            if self.global_residual:
                rows = Added(rows, firsts.pop())
        return Reconstruction(self.upsample, self.tail).stream(rows)

    def inference_bytes(self, bands: int, height: int, width: int) -> int:
        """Bytes that inference holds at once for an LR scene of this shape, about: the rows that wait in `stream`."""
        features = self.head.out_channels
        if (
            self.mean.is_cuda
        ):  # the whole scene at once: six tensors of all features, or the tail's values and SR
            return 4 * bands * height * width * max(6 * features, features + 10 * self.scale**2)
        units, fused = self.units, self.plain_options["local_fusion"]
        waiting = (
            2 * (2 * units + 1)  # the last two rows before every spatial convolution
            + 2 * units  # each unit's input, until its two blocks have passed it
            + 2 * units  # the module's input, until its units have
            + units * (units - 1) * fused  # each unit's output, until the last unit's is there for the fusion
            + (2 * units + 1) * self.global_residual  # the head's rows, until the module has passed them
        )
        # what is at work was found by counting, see its test
        piece, kernels = self.piece_rows(bands, width), 0
        at_work = 5 + (5 * units + 1) * piece
        if features >= ENOUGH and self.plain_options["block"] == "separable":
            at_work += 2 * units + 2 + 3 * piece
            kernels = len(self.body) * (2 * units + 1) * 18 * features**2
        rows = min(len(self.body) * waiting + at_work, 10 * height)
        sr = height * self.scale**2
        # LR and SR beside the rows; when they have gone, SR once more with the mean added
        return 4 * (kernels + bands * width * (height + sr + max(rows * features, sr)))

    def piece_rows(self, bands: int, width: int) -> int:
        """Rows of a piece in `stream`: fours, which `RowConvolution` takes, or one where a row alone is large."""
        rows = PIECE_BYTES / (4 * bands * width * self.head.out_channels)
        return max(ROWS, ROWS * round(rows / ROWS)) if rows >= 1 else 1

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
