"""The end of SSRNet as one convolution: a transposed convolution and a last one without activation between.

Both are linear, so together they map LR features straight to the r x r values of each LR voxel: a 5x3x3
convolution and a pixel shuffle instead of a tensor of all features at HR size. Between the two the network
pads with zeros, which a plain composition would not see: it would read what the transposed convolution
spreads one voxel beyond the cube. Those contributions come from the outermost voxels alone and are
subtracted there, so the result is exact at the borders too.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsisr_core.models.layers import spatial_convolution

__all__ = ["reconstruct"]

# along each axis: all contributions, or those that went through the voxel before the first, after the last one
WHOLE, FIRST, LAST = "whole", "first", "last"
AT = {WHOLE: slice(None), FIRST: slice(0, 1), LAST: slice(-1, None)}


def reconstruct(x: Tensor, upsample: nn.ConvTranspose3d, tail: nn.Conv3d) -> Tensor:
    """`tail(upsample(x))` without the tensor between them, differentiable in everything.

    Parameters
    ----------
    x : Tensor
        (batch, bands, h, w, features), contiguous.
    upsample : nn.ConvTranspose3d
        Kernel (3, 2 + r, 2 + r), stride (1, r, r), padding 1.
    tail : nn.Conv3d
        Kernel (3, 3, 3) to one channel, padding 1.

    Returns
    -------
    Tensor
        (batch, bands, r*h, r*w).
    """
    batch, bands, height, width, features = x.shape
    scale = upsample.stride[1]
    assert upsample.bias is not None
    assert tail.bias is not None
    kind = "cpu" if x.is_meta else x.device.type  # "meta" knows no autocast
    with torch.autocast(kind, enabled=False):  # cheap, and worth the full precision
        last = tail.weight[0]
        # every tap t of the last convolution with every tap k of the transposed one, axis by axis
        pairs = torch.einsum("dtuv,cdkab->ctkuavb", last, upsample.weight)
        pairs = pairs.reshape(features, 9, 3 * (2 + scale), 3 * (2 + scale))
        constant = bias_map(
            torch.einsum("dtuv,d->tuv", last, upsample.bias), (bands, height * scale, width * scale)
        )
        kernels = {kinds: compose(pairs, kinds, scale) for kinds in product((WHOLE, FIRST, LAST), repeat=2)}
    out = convolve(x, kernels.pop((WHOLE, WHOLE)))  # (batch, bands, h, w, r, r)
    for kinds, kernel in kernels.items():
        rows, columns = (AT[kind] for kind in kinds)
        part = convolve(x[:, :, rows, columns].contiguous(), kernel)
        sign = 1 if WHOLE not in kinds else -1  # in the corners both axes subtract: one is added back
        out[:, :, rows, columns, rows, columns] += sign * part
    sr = out.transpose(3, 4).reshape(batch, bands, height * scale, width * scale)
    return sr + (constant + tail.bias)


def compose(pairs: Tensor, kinds: tuple[str, ...], scale: int) -> Tensor:
    """The kernel of one kind of contribution, (features, bands, height, width, phases, phases).

    Along the bands it holds 7 taps: the 5 of the whole, and what to subtract in the first and the last band.
    """
    bands = torch.cat([link(1, kind) for kind in (WHOLE, FIRST, LAST)], dim=1)[..., 0]
    height, width = (link(scale, kind) for kind in kinds)
    tables = [table.to(pairs) for table in (bands, height, width)]
    return torch.einsum("cijk,it,jup,kvq->ctuvpq", pairs, *tables)


@cache
@torch.inference_mode(False)  # kept for training too, whoever asks first
def link(scale: int, kind: str) -> Tensor:
    """Which pairs of taps (3 of the last, 2 + r of the transposed convolution) an LR tap and a phase are made of.

    Output r*j + p reads, with tap t, the transposed convolution's r*j + p + t - 1, which LR voxel i
    reaches with tap k where it equals r*i - 1 + k: the LR tap is i - j = (p + t - k) / r.

    Returns
    -------
    Tensor
        Zeros and ones, (3 * (2 + r), taps, phases); one tap and one phase for "first" and "last".
    """
    reach = 2 if scale == 1 else 1
    table = torch.zeros(3, 2 + scale, 2 * reach + 1, scale)
    for tap, key, phase in product(range(3), range(2 + scale), range(scale)):
        if (phase + tap - key) % scale == 0:
            table[tap, key, reach + (phase + tap - key) // scale, phase] = 1
    if kind == FIRST:
        table = table[:1, :1, reach : reach + 1, :1]
        table = F.pad(table, (0, 0, 0, 0, 0, 1 + scale, 0, 2))
    elif kind == LAST:
        table = table[-1:, -1:, reach : reach + 1, -1:]
        table = F.pad(table, (0, 0, 0, 0, 1 + scale, 0, 2, 0))
    return table.flatten(0, 1)


def convolve(x: Tensor, kernel: Tensor) -> Tensor:
    """Convolve features-last `x` with a composed kernel; (batch, bands, h, w, phases, phases), zero padding."""
    features, taps, height, width, *phases = kernel.shape
    weight = kernel.permute(1, 4, 5, 0, 2, 3).reshape(-1, features, height, width)
    # all taps along the bands at once as outputs of a 2-D convolution, then each shifted into its place
    *whole, first, last = spatial_convolution(x, weight).unflatten(-1, (taps, -1)).unbind(-2)
    bands, middle = x.shape[1], len(whole) // 2
    out = whole[middle].clone()
    for tap, values in enumerate(whole):
        shift = tap - middle
        if shift and abs(shift) < bands:
            out[:, max(0, -shift) : bands - max(0, shift)] += values[:, max(0, shift) : bands + min(0, shift)]
    out[:, :1] -= first[:, :1]
    out[:, -1:] -= last[:, -1:]
    return out.unflatten(-1, phases)


def bias_map(kernel: Tensor, sizes: tuple[int, int, int]) -> Tensor:
    """A (3, 3, 3) kernel convolved with ones and zero padding: what a constant between the two steps adds."""
    inside = []
    for size in sizes:
        table = torch.ones(size, 3, dtype=kernel.dtype, device=kernel.device)
        table[0, 0] = table[-1, -1] = 0
        inside.append(table)
    return torch.einsum("tuv,lt,yu,xv->lyx", kernel, *inside)
