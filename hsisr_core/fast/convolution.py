"""3-D convolutions on tensors whose features are the last axis, so that each is a 2-D one on a view.

A tensor here has the shape (batch, bands, height, width, features) and is contiguous. A 1x3x3 convolution
is then a 2-D convolution over batch x bands images, a 3x1x1 one a 2-D convolution over (bands, pixels), a 1x1x1
one a matrix product: views, no copies, in the layout in which processors convolve fastest.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hsisr_core.fast.rows import Rows, Windows, apply

SPECTRAL = 32  # features with which a spectral kernel's own gradient is twice as fast by matrix products


def convolve(
    layer: nn.Conv3d, x: Tensor, relu: bool = False, plus: Tensor | None = None, zero_rows: int | None = None
) -> Tensor:
    """What `layer`, zero padding that keeps the size, makes of `x`; a ReLU, if asked for; `plus` added to that.

    With `zero_rows` 0 the rows above and below are part of `x` already; None: they are zeros. The type is that of `x`.
    """
    bands, height, width = layer.kernel_size
    padding = (height // 2 if zero_rows is None else zero_rows), width // 2
    weight, bias = typed(layer, x)
    if bands == 1:
        return convolve_views(x, weight[:, :, 0], bias, padding, relu, plus)
    if height == width == 1:
        # every spectrum, with pixels as the width
        return convolve_views(x, weight[..., 0], bias, (bands // 2, 0), relu, plus, axis=2)
    if height == 1:  # bands x rows as the height: the next band is as many rows away as a band has
        return convolve_views(
            x, weight[..., 0, :], bias, (bands // 2, padding[1]), relu, plus, 1, (x.shape[2], 1)
        )
    if width == 1:  # rows x columns as the width
        return convolve_views(
            x, weight[..., 0], bias, (bands // 2, padding[0]), relu, plus, 2, (1, x.shape[3])
        )
    if layer.in_channels == 1:  # neighbouring bands as channels of a 2-D convolution
        padded = F.pad(x[..., 0], (0, 0, 0, 0, bands // 2, bands // 2))
        # contiguous, or the output would not be features-last in memory
        neighbours = padded.unfold(1, bands, 1).contiguous()  # (batch, bands, h, w, taps)
        return convolve_views(neighbours, weight[:, 0], bias, padding, relu, plus)
    # views (batch, features, bands, h, w), in PyTorch's channels_last_3d layout
    plus = plus if plus is None else plus.permute(0, 4, 1, 2, 3)
    out = F.conv3d(x.permute(0, 4, 1, 2, 3), weight, bias, padding=(bands // 2, *padding))
    out = finish(out, relu, plus)
    return out.permute(0, 2, 3, 4, 1).contiguous()


def convolve_rows(layer: nn.Conv3d, rows: Rows, relu: bool) -> Rows:
    """The same on a scene that comes in pieces of a few rows."""
    if layer.kernel_size[1] == 1:
        return apply(partial(convolve, layer, relu=relu), rows)
    return apply(partial(convolve, layer, relu=relu, zero_rows=0), Windows(rows))


def fuse(
    layer: nn.Conv3d, units: Iterable[Tensor], scales: Tensor | None, relu: bool, plus: Tensor | None
) -> Tensor:
    """The 1x1x1 convolution of the units' outputs, each times its scale, without concatenation; a ReLU; and `plus`."""
    first, *others = units
    weight, bias = typed(layer, first)
    weights = shares(weight, scales)
    total = F.linear(first.flatten(0, -2), weights[0], bias)
    for unit, weight in zip(others, weights[1:], strict=True):
        total = torch.addmm(total, unit.flatten(0, -2), weight.T)
    total = finish(total, relu, plus if plus is None else plus.flatten(0, -2))
    return total.unflatten(0, first.shape[:-1])


def typed(layer: nn.Conv3d, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Weight and bias in the type of `x`."""
    return layer.weight.to(x.dtype), layer.bias if layer.bias is None else layer.bias.to(x.dtype)


def shares(weight: Tensor, scales: Tensor | None = None) -> Sequence[Tensor]:
    """The weights for each unit's output in a 1x1x1 convolution of all, (outputs, features), times its scale."""
    parts = weight.flatten(1).split(len(weight), dim=1)
    return parts if scales is None else [part * scale for part, scale in zip(parts, scales, strict=True)]


def finish(x: Tensor, relu: bool, plus: Tensor | None) -> Tensor:
    """ReLU, if there is one, and sum, in the memory of `x`: no view, or the gradient would be copied twice."""
    if relu:
        return torch.relu_(x) if plus is None else _RectifiedSum.apply(x, plus)
    return x if plus is None else x.add_(plus)


class _RectifiedSum(torch.autograd.Function):
    """relu(x) + plus in the memory of `x`; keeps a mask of what was positive, a quarter of what `torch.relu` keeps."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, plus: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        if ctx.needs_input_grad[0]:
            # as bytes: PyTorch multiplies by them three times as fast as by booleans
            ctx.save_for_backward((x > 0).view(torch.uint8))
        return torch.relu_(x).add_(plus)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor]:
        return gradient * ctx.saved_tensors[0] if ctx.needs_input_grad[0] else None, gradient


class _SpectralConvolution(torch.autograd.Function):
    """`F.conv2d` on images (batch, features, bands, pixels) with a kernel (outputs, features, taps, 1)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, padding=(weight.shape[2] // 2, 0))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        bands, middle, taps = x.shape[2], weight.shape[2] // 2, []
        of_x, _, _ = torch.ops.aten.convolution_backward(
            gradient, x, weight, None, (1, 1), (middle, 0), (1, 1), False, (0, 0), 1, (True, False, False)
        )
        for tap in range(-middle, middle + 1):
            # the bands of the output that this tap makes, and those that it reads
            made = gradient[:, :, max(0, -tap) : bands - max(0, tap)].flatten(2)
            read = x[:, :, max(0, tap) : bands + min(0, tap)].flatten(2)
            taps.append((made @ read.transpose(1, 2)).sum(0))
        of_bias = gradient.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None
        return of_x, torch.stack(taps, 2).unsqueeze(3), of_bias


def convolve_views(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: tuple[int, int],
    relu: bool = False,
    plus: Tensor | None = None,
    axis: int = 0,
    dilation: tuple[int, int] = (1, 1),
) -> Tensor:
    """Convolve in two dimensions: `axis` (0: every band by itself) and the next are one in the images.

    With a `dilation`, taps are so far apart, and `padding` is in their steps.
    """

    def images(tensor: Tensor) -> Tensor:
        return tensor.flatten(axis, axis + 1).permute(0, 3, 1, 2)

    is_plain = x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    if axis == 2 and weight.shape[3] == 1 and is_plain and weight.shape[1] >= SPECTRAL:
        out = _SpectralConvolution.apply(images(x), weight, bias)
    else:
        padding = padding[0] * dilation[0], padding[1] * dilation[1]
        out = F.conv2d(images(x), weight, bias, padding=padding, dilation=dilation)
    out = finish(out, relu, plus if plus is None else images(plus))
    return out.permute(0, 2, 3, 1).unflatten(axis, (-1, x.shape[axis + 1]))
