"""3-D convolutions on tensors whose features are the last axis, so that each is a 2-D one on a view.

A tensor here has the shape (batch, bands, height, width, features) and is contiguous. A 1x3x3 convolution
is then a 2-D convolution over batch x bands images, a 3x1x1 one a 2-D convolution over (bands, pixels), a 1x1x1
one a matrix product: views, no copies, in the layout in which processors convolve fastest.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsisr_core.fast.rows import Rows, Windows, each
from hsisr_core.fast.winograd import ConvolvedRows, RowConvolution

__all__ = ["ENOUGH", "Convolution", "finished", "from_last", "spatial_convolution", "spectral_convolution"]

ENOUGH = 48  # features with which four rows at once are faster than one by one


class Convolution(nn.Conv3d):
    """`nn.Conv3d` with bias that keeps the size (zero padding), for features-last tensors.

    Parameters
    ----------
    inputs, outputs : int
        Features.
    kernel : (bands, height, width)
        Odd lengths.
    relu : bool
        Whether a ReLU follows.
    """

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int, int], relu: bool = False) -> None:
        super().__init__(inputs, outputs, kernel, padding=tuple(k // 2 for k in kernel))  # type: ignore[arg-type]
        self.relu = relu

    def forward(self, x: Tensor, plus: Tensor | None = None) -> Tensor:
        """The convolution of `x` (batch, bands, h, w, inputs), the ReLU, and `plus` (..., outputs) added to that."""
        return self.convolve(x, self.kernel_size[1] // 2, plus)

    def stream(self, rows: Rows) -> Rows:
        """The same on a scene that comes in pieces of a few rows."""
        if self.kernel_size[1] == 1:
            return each(self, rows)
        convolve = partial(self.convolve, zero_rows=0)
        if self.kernel_size == (1, 3, 3) and self.in_channels >= ENOUGH:
            fours = RowConvolution(self.weight[:, :, 0], self.bias, self.relu)
            return ConvolvedRows(rows, fours, convolve)
        return each(convolve, Windows(rows))

    def convolve(self, x: Tensor, zero_rows: int, plus: Tensor | None = None) -> Tensor:
        """Convolve with `zero_rows` rows of zeros above and below `x`: 0 where they are part of it already."""
        bands, height, width = self.kernel_size
        if bands == 1:
            return spatial_convolution(x, self.weight[:, :, 0], self.bias, zero_rows, self.relu, plus)
        if height == width == 1:
            return spectral_convolution(x, self.weight[..., 0], self.bias, self.relu, plus)
        if self.in_channels == 1:  # neighbouring bands as channels of a 2-D convolution
            padded = F.pad(x[..., 0], (0, 0, 0, 0, bands // 2, bands // 2))
            # contiguous, or the output would not be features-last in memory
            neighbours = padded.unfold(1, bands, 1).contiguous()  # (batch, bands, h, w, taps)
            return spatial_convolution(neighbours, self.weight[:, 0], self.bias, zero_rows, self.relu, plus)
        padding = (bands // 2, zero_rows, width // 2)
        out = F.conv3d(from_last(x), self.weight, self.bias, padding=padding)
        return to_last(finished(out, self.relu, plus if plus is None else from_last(plus)))


def finished(x: Tensor, relu: bool, plus: Tensor | None) -> Tensor:
    """ReLU, if there is one, and sum, in the memory of `x`: what a convolution gave, no view of it.

    In place on a view, the gradient would be copied twice.
    """
    if relu:
        return torch.relu_(x) if plus is None else RectifiedSum.apply(x, plus)
    return x if plus is None else x.add_(plus)


class RectifiedSum(torch.autograd.Function):
    """relu(x) + plus in the memory of `x`.

    `torch.relu` keeps its result for the gradient. No later layer reads that one, so this keeps a mask of what was
    positive: a quarter of the memory.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, plus: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(x > 0)
        return torch.relu_(x).add_(plus)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor]:
        return gradient * ctx.saved_tensors[0] if ctx.needs_input_grad[0] else None, gradient


def spatial_convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    zero_rows: int,
    relu: bool = False,
    plus: Tensor | None = None,
) -> Tensor:
    """Convolve every band with a 2-D kernel (outputs, inputs, height, width).

    Zero padding keeps the width; above and below there are `zero_rows` rows of zeros.
    """

    def images(tensor: Tensor) -> Tensor:
        return tensor.flatten(0, 1).permute(0, 3, 1, 2)

    out = F.conv2d(images(x), weight, bias, padding=(zero_rows, weight.shape[3] // 2))
    out = finished(out, relu, plus if plus is None else images(plus))
    return out.permute(0, 2, 3, 1).unflatten(0, x.shape[:2])


def spectral_convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    relu: bool = False,
    plus: Tensor | None = None,
) -> Tensor:
    """Convolve every spectrum with a kernel (outputs, inputs, bands, 1), zero padding."""

    def image(tensor: Tensor) -> Tensor:
        return tensor.flatten(2, 3).permute(0, 3, 1, 2)

    out = F.conv2d(image(x), weight, bias, padding=(weight.shape[2] // 2, 0))
    out = finished(out, relu, plus if plus is None else image(plus))
    return out.permute(0, 2, 3, 1).unflatten(2, x.shape[2:4])


def from_last(x: Tensor) -> Tensor:
    """The view (batch, features, bands, h, w) of a features-last tensor, in PyTorch's channels_last_3d layout."""
    return x.permute(0, 4, 1, 2, 3)


def to_last(x: Tensor) -> Tensor:
    """The features-last form of (batch, features, bands, h, w): a view where the layout allows."""
    return x.permute(0, 2, 3, 4, 1).contiguous()
