"""Starting weights other than PyTorch's own."""

from collections.abc import Callable
from itertools import product
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm as normalise_weight

from hsisr_core.degrade import resize_matrix
from hsisr_core.errors import HsisrError

Convolution = nn.Conv2d | nn.Conv3d | nn.ConvTranspose3d


def convolutions(model: nn.Module) -> list[Any]:
    """Every convolution of `model`, in order."""
    return [part for part in model.modules() if isinstance(part, Convolution)]


def he_init(
    model: nn.Module, mode: Literal["fan_in", "fan_out"] = "fan_in"
) -> None:
    """Normal, variance 2 / fan, zero biases (He et al. 2015; paper: [44])."""
    for layer in convolutions(model):
        nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def start(
    model: nn.Module,
    init: str,
    weight_norm: bool,
    interpolate: Callable[[Any], object],
) -> None:
    """Set the starting weights that `init` names, then normalise weights."""
    if init == "he":
        he_init(model)
    elif init == "interpolation":
        interpolate(model)
    if weight_norm:
        for layer in convolutions(model):
            normalise_weight(layer)


@torch.no_grad()
def interpolation_init(model: Any) -> None:
    """Start SSRNet or MCNet as an interpolator; ours, not the paper's: the
    first channels hold the image, untrained modules add little to it."""
    if not getattr(model, "global_residual", True):
        raise HsisrError(
            "init='interpolation' needs global_residual=True: the image "
            "reaches the tail through that skip. Use init='pytorch'."
        )
    copy_image(model.head, model.upsample, model.tail)
    for module in model.body:
        damp(convolutions(module)[-1])


def copy_image(head: Any, upsample: Any, tail: Any) -> int:
    """Let the first channels hold the image; returns how many.

    The head copies the image into nine channels, shifted by -1, 0 and 1 LR
    pixels in y and x (with fewer than ten features one, unshifted); the
    transposed convolution enlarges them with kernels that add up to bicubic
    interpolation; the tail reads that sum alone.
    """
    scale = int(upsample.stride[1])
    shifts = (-1, 0, 1) if head.out_channels > 9 else (0,)
    kernels = interpolation_kernels(scale, shifts)
    carriers = [(y, x) for y in shifts for x in shifts]
    middle = head.kernel_size[0] // 2
    upsample.weight[:, 0] = 0
    for channel, (y, x) in enumerate(carriers):
        head.weight[channel] = 0
        head.weight[channel, 0, middle, 1 + y, 1 + x] = 1
        head.bias[channel] = 0
        upsample.weight[channel, 0, 1] = torch.outer(kernels[y], kernels[x])
    upsample.bias[0] = 0
    keep(tail)
    return len(carriers)


def keep(layer: Any, channels: int = 1) -> None:
    """Let the first `channels` pass `layer` unchanged."""
    nn.init.dirac_(layer.weight[:channels])
    layer.bias[:channels] = 0


def damp(layer: Any) -> None:
    """Scale by 0.1 what an untrained `layer` adds."""
    layer.weight.mul_(0.1)
    layer.bias.mul_(0.1)


def interpolation_kernels(
    scale: int, shifts: tuple[int, ...]
) -> dict[int, Tensor]:
    """Taps (2 + r,) of the transposed convolution for each shifted copy:
    as close to bicubic interpolation by r as their reach allows (least squares
    per phase; exact at x2 and x3 with three shifts), each phase sums to 1."""
    middle, span, taps = 8, 3, range(2 + scale)
    side = 2 * middle
    bicubic = torch.tensor(resize_matrix(side, side * scale, scale))
    kernels = {s: torch.zeros(len(taps), dtype=torch.float64) for s in shifts}
    for phase in range(scale):
        # with stride r and padding 1, tap k reaches this phase from the
        # pixel (phase + 1 - k) / r
        pairs = product(shifts, taps)
        reached = [p for p in pairs if (phase + 1 - p[1]) % scale == 0]
        design = torch.zeros(2 * span + 1, len(reached), dtype=torch.float64)
        for column, (shift, tap) in enumerate(reached):
            design[span + shift + (phase + 1 - tap) // scale, column] = 1
        near = slice(middle - span, middle + span + 1)
        wanted = bicubic[near, middle * scale + phase]
        values = torch.linalg.pinv(design) @ wanted
        values /= values.sum()
        for (shift, tap), value in zip(reached, values, strict=True):
            kernels[shift][tap] = value
    return {shift: kernel.float() for shift, kernel in kernels.items()}


def shuffle_kernels(scale: int) -> Tensor:
    """Kernels (scale^2, 3, 3) that enlarge, before a pixel shuffle: each phase
    is the parabola through the nearest pixel and its two neighbours."""
    # from the nearest pixel, in LR pixels
    d = (torch.arange(scale, dtype=torch.float64) + 0.5) / scale - 0.5
    taps = torch.stack([d * (d - 1) / 2, 1 - d**2, d * (d + 1) / 2])
    # (3, phases) in either direction
    kernels = torch.einsum("yp,xq->pqyx", taps, taps)
    return kernels.reshape(scale**2, 3, 3).float()
