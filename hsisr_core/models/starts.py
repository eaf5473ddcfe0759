"""Starting weights other than PyTorch's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from hsisr_core.degrade import resize_matrix

if TYPE_CHECKING:
    from hsisr_core.models.ssrnet import SSRNet

__all__ = ["convolutions", "he_init", "interpolation_init", "interpolation_kernels", "shuffle_kernels"]

RESIDUAL_SCALE = 0.1  # what the last convolution of each module is scaled by


Convolution = nn.Conv2d | nn.Conv3d | nn.ConvTranspose3d


def convolutions(model: nn.Module) -> list[Convolution]:
    """Every convolution of `model`, in order."""
    return [layer for layer in model.modules() if isinstance(layer, Convolution)]


def he_init(model: nn.Module, mode: Literal["fan_in", "fan_out"] = "fan_in") -> None:
    """He et al. 2015 (the paper's [44]): normal weights of variance 2 / fan-in or 2 / fan-out, zero biases."""
    for layer in convolutions(model):
        nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


@torch.no_grad()
def interpolation_init(model: SSRNet) -> None:
    """Start as an interpolator instead of noise. Our own; the paper does nothing like it.

    A few feature channels carry the image: delta kernels in the first convolution put it there, shifted
    by -1, 0 and 1 LR pixels in y and x; the transposed convolution enlarges them with kernels that add
    up to bicubic interpolation; the last convolution reads that sum alone. The last convolution of each
    module is scaled by 0.1, so that what the untrained modules add stays small. All other channels keep
    PyTorch's random weights and learn from the first step. With fewer than ten features one channel
    carries the image, unshifted, and the interpolation is close to linear.
    """
    features = model.head.out_channels
    shifts = (-1, 0, 1) if features > 9 else (0,)
    kernels = interpolation_kernels(model.scale, shifts)
    carriers = [(y, x) for y in shifts for x in shifts]
    assert model.head.bias is not None
    assert model.upsample.bias is not None
    assert model.tail.bias is not None
    model.upsample.weight[:, 0] = 0
    for channel, (y, x) in enumerate(carriers):
        model.head.weight[channel] = 0
        model.head.weight[channel, 0, 1, 1 + y, 1 + x] = 1
        model.head.bias[channel] = 0
        model.upsample.weight[channel, 0, 1] = torch.outer(kernels[y], kernels[x])
    model.upsample.bias[0] = 0
    for module in model.body:
        last = convolutions(module)[-1]
        assert last.bias is not None
        last.weight.mul_(RESIDUAL_SCALE)
        last.bias.mul_(RESIDUAL_SCALE)
    model.tail.weight.zero_()
    model.tail.weight[0, 0, 1, 1, 1] = 1
    model.tail.bias.zero_()


def interpolation_kernels(scale: int, shifts: tuple[int, ...]) -> dict[int, Tensor]:
    """Taps (2 + r,) of the transposed convolution for each shifted copy of the signal.

    Together they come as close to bicubic interpolation by r as their reach allows (least squares per
    phase), and each phase sums to 1. With the shifts -1, 0 and 1 that is exact at x2 and x3.
    """
    middle, span = 8, 3
    bicubic = torch.tensor(resize_matrix(2 * middle, 2 * middle * scale, scale))
    kernels = {shift: torch.zeros(2 + scale, dtype=torch.float64) for shift in shifts}
    for phase in range(scale):
        # tap k of a stride-r transposed convolution with padding 1 reaches this phase from pixel (phase + 1 - k) / r
        reached = [(s, k) for s in shifts for k in range(2 + scale) if (phase + 1 - k) % scale == 0]
        design = torch.zeros(2 * span + 1, len(reached), dtype=torch.float64)
        for column, (shift, tap) in enumerate(reached):
            design[span + shift + (phase + 1 - tap) // scale, column] = 1
        wanted = bicubic[middle - span : middle + span + 1, middle * scale + phase]
        taps = torch.linalg.pinv(design) @ wanted
        for (shift, tap), value in zip(reached, taps / taps.sum(), strict=True):
            kernels[shift][tap] = value
    return {shift: kernel.float() for shift, kernel in kernels.items()}


def shuffle_kernels(scale: int) -> Tensor:
    """3x3 kernels (scale^2, 3, 3) with which a convolution and a pixel shuffle enlarge by `scale`.

    Each phase is the parabola through the nearest pixel and its two neighbours, in each direction: as exact as
    bicubic interpolation on a parabola, with three taps instead of four, which a 3x3 kernel has not.
    """
    offset = (
        torch.arange(scale, dtype=torch.float64) + 0.5
    ) / scale - 0.5  # from the nearest pixel, in LR pixels
    taps = torch.stack([offset * (offset - 1) / 2, 1 - offset**2, offset * (offset + 1) / 2])  # (3, phases)
    return torch.einsum("yp,xq->pqyx", taps, taps).reshape(scale**2, 3, 3).float()
