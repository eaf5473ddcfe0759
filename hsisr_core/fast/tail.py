"""The end of a network as one convolution: a transposed convolution and a last one without activation between.

Both are linear, so together they map LR features straight to the r x r values of each LR voxel: a 5x3x3 convolution
and a pixel shuffle instead of a tensor of all features at HR size. Between the two the network pads with zeros, where
a plain composition would read what the transposed convolution spreads one voxel beyond the cube. That comes from the
outermost voxels alone and is subtracted there, so the result is exact at the borders too.
"""

from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsisr_core.fast.convolution import convolve_views
from hsisr_core.fast.rows import Piece, Rows, Windows

# along each axis: all contributions, or those that went through the voxel before the first, after the last one
WHOLE, FIRST, LAST = "whole", "first", "last"
AT = {WHOLE: slice(None), FIRST: slice(0, 1), LAST: slice(-1, None)}


class Tail:
    """`tail(upsample(x))` without the tensor between them, differentiable in everything.

    `upsample` has the kernel (3, 2 + r, 2 + r), stride (1, r, r) and padding 1; `tail` is 3x3x3 to one channel, or
    ERCSR's two, 1x3x3 and then 3x1x1.
    """

    def __init__(self, upsample: nn.ConvTranspose3d, tail: nn.Conv3d | nn.Sequential) -> None:
        self.scale = upsample.stride[1]
        assert upsample.bias is not None
        device = upsample.bias.device
        kind = "cpu" if device.type == "meta" else device.type  # "meta" knows no autocast
        with torch.autocast(kind, enabled=False):  # cheap, and worth the full precision
            last, inner, self.bias = _as_one(tail)
            # every tap t of the last convolution with every tap k of the transposed one, axis by axis
            pairs = torch.einsum("dtuv,cdkab->ctkuavb", last, upsample.weight)
            pairs = pairs.reshape(len(upsample.weight), 9, 3 * (2 + self.scale), 3 * (2 + self.scale))
            self.kernels = _compose(pairs, self.scale)
            self.constant = torch.einsum("dtuv,d->tuv", last, upsample.bias)
            # at SR's own row and column, whose tap meets a voxel everywhere
            self.constant[:, 1, 1] += inner

    def __call__(self, x: Tensor) -> Tensor:
        """SR (batch, bands, r*h, r*w) of a whole scene (batch, bands, h, w, features), contiguous."""
        return self.super_resolve(Piece(x, True, True), 1)

    def stream(self, rows: Rows) -> Iterator[Tensor]:
        """SR of a scene that comes in pieces, in pieces of some r * rows each."""
        for window in Windows(rows):
            yield self.super_resolve(window, 0)

    def super_resolve(self, piece: Piece, zero_rows: int) -> Tensor:
        """SR of one piece; with `zero_rows` 0 it has a row more above and below it."""
        x, first, last = piece
        batch, bands, height, width, _ = x.shape
        inner = x if zero_rows else x[:, :, 1:-1]
        height, scale = inner.shape[2], self.scale
        out = _convolve(x, self.kernels[WHOLE, WHOLE], zero_rows)  # (batch, bands, h, w, r, r)
        for (row, column), kernel in self.kernels.items():
            if row == column == WHOLE or (row == FIRST and not first) or (row == LAST and not last):
                continue
            rows, columns = AT[row], AT[column]
            source = x if row == WHOLE else inner[:, :, rows]
            part = _convolve(source[:, :, :, columns].contiguous(), kernel, zero_rows if row == WHOLE else 0)
            sign = 1 if WHOLE not in (row, column) else -1  # corners are subtracted twice: one is added back
            out[:, :, rows, columns, rows, columns] += sign * part
        sr = out.transpose(3, 4).reshape(batch, bands, height * scale, width * scale)
        constant = torch.einsum(
            "tuv,lt,yu,xv->lyx",
            self.constant,
            _reached(self.constant, bands),
            _reached(self.constant, height * scale, first, last),
            _reached(self.constant, width * scale),
        )
        return sr + (constant + self.bias)


def _as_one(tail: Any) -> tuple[Tensor, Tensor | float, Tensor]:
    """`tail` as a 3x3x3 kernel (features, 3, 3, 3), what else each tap along the bands adds, and a bias."""
    if not hasattr(tail, "weight"):
        spatial, spectral = tail
        taps = spectral.weight[0, :, :, 0, 0]
        kernel = torch.einsum("et,eduv->dtuv", taps, spatial.weight[:, :, 0])
        return kernel, spatial.bias @ taps, spectral.bias
    return tail.weight[0], 0.0, tail.bias


def _compose(pairs: Tensor, scale: int) -> dict[tuple[str, str], Tensor]:
    """The kernel of each kind of contribution, (features, bands, height, width, phases, phases).

    Along the bands it holds 7 taps: the 5 of the whole, and what to subtract in the first and the last band.
    Along height and width, "first" and "last" go through a single pair of taps, the first and the last one.
    """
    ends = F.one_hot(torch.tensor([0, 8], device=pairs.device), 9).T.to(pairs)
    pairs = torch.einsum("cijk,it->ctjk", pairs, torch.cat([_link(1).to(pairs)[..., 0], ends], dim=1))
    whole = _link(scale).to(pairs)  # (3 * (2 + r), taps, phases)
    kernels = {}
    rows = {WHOLE: torch.einsum("ctjk,jup->ctukp", pairs, whole)}
    rows |= {kind: pairs[:, :, AT[kind], :, None] for kind in (FIRST, LAST)}
    for kind, part in rows.items():
        kernels[kind, WHOLE] = torch.einsum("ctukp,kvq->ctuvpq", part, whole)
        kernels |= {(kind, end): part[:, :, :, AT[end], :, None] for end in (FIRST, LAST)}
    return kernels


@cache
@torch.inference_mode(False)  # kept for training too, whoever asks first
def _link(scale: int) -> Tensor:
    """Which pairs of taps an LR tap and a phase are made of: zeros and ones, (3 * (2 + r), taps, phases)."""
    # Output r*j + p reads, with tap t of the last one, the transposed convolution's r*j + p + t - 1, which LR voxel i
    # reaches with tap k where it equals r*i - 1 + k: the LR tap is i - j = (p + t - k) / r.
    reach = 2 if scale == 1 else 1
    table = torch.zeros(3, 2 + scale, 2 * reach + 1, scale)
    for tap, key, phase in product(range(3), range(2 + scale), range(scale)):
        if (phase + tap - key) % scale == 0:
            table[tap, key, reach + (phase + tap - key) // scale, phase] = 1
    return table.flatten(0, 1)


def _convolve(x: Tensor, kernel: Tensor, zero_rows: int) -> Tensor:
    """Convolve features-last `x`, zeros around it, with a composed kernel; (batch, bands, h, w, phases, phases)."""
    features, taps, height, width, *phases = kernel.shape
    weight = kernel.permute(1, 4, 5, 0, 2, 3).reshape(-1, features, height, width)
    # all taps along the bands at once as outputs of a 2-D convolution, then each shifted into its place
    values = convolve_views(x, weight, None, (zero_rows, width // 2)).unflatten(-1, (taps, -1))
    out = torch.einsum("lmt,bmhwtp->blhwp", _shifts(x.shape[1]).to(values), values)
    return out.unflatten(-1, phases)


@cache
@torch.inference_mode(False)
def _shifts(bands: int) -> Tensor:
    """What band m's value of tap t adds to band l, (bands, bands, 7); see `_compose` for the taps."""
    band = torch.arange(bands)
    whole = [(band - band[:, None] == tap).float() for tap in range(-2, 3)]
    first, last = torch.zeros(2, bands, bands)
    first[0, 0] = last[-1, -1] = -1
    return torch.stack([*whole, first, last], dim=-1)


def _reached(like: Tensor, size: int, first: bool = True, last: bool = True) -> Tensor:
    """Which of 3 taps meet one of `size` voxels, (size, 3): all but those beyond the first and the last voxel."""
    table = torch.ones(size, 3, dtype=like.dtype, device=like.device)
    table[0, 0] = not first
    table[-1, -1] = not last
    return table
