"""A 3x3 convolution on six rows for four, instead of nine on three rows for each: Winograd's F(4, 3) along the height.

Source: S. Winograd, "Arithmetic Complexity of Computations", 1980; A. Lavin, S. Gray, "Fast Algorithms for
Convolutional Neural Networks", CVPR 2016 (there in two dimensions). Six sums of six rows, each convolved with a 1x3
kernel of its own, give four rows of the result: half the products. The sums cost something too, most of it memory
traffic, so it pays with many features and rows in the processor's cache. In single precision the result is about
three times as far from the exact one as that of a direct convolution, some 1e-6 of the largest value.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from hsisr_core.fast.rows import Rows, Windows, join

ROWS = 4  # of the result at once
CHUNK = 3_000_000  # values that are worked on at once, so that what lies between the steps stays in the cache

# what the six 1x3 kernels are, by the rows of the 3x3 one
KERNELS = (
    torch.tensor([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]).double() / 24
)


class RowConvolution:
    """The 3x3 convolution of every band of a features-last tensor, zero padding of the width, and a ReLU if wanted.

    `weight` is (outputs, inputs, 3, 3).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, relu: bool = False) -> None:
        kernels = torch.einsum("tr,oirk->toik", KERNELS.to(weight.device), weight.double()).to(weight.dtype)
        self.kernels = [
            kernel[:, :, None].contiguous(memory_format=torch.channels_last) for kernel in kernels
        ]
        self.outputs = len(weight)
        self.bias = bias
        self.relu = relu

    def __call__(self, above: Tensor, x: Tensor) -> Tensor:
        """The rows that begin at the second of `above` and end before the last of `x`, (batch, bands, 4 n, w, outputs).

        `x` is (batch, bands, 4 n, w, inputs), and `above` holds the two rows above it.
        """
        out = x.new_empty(*x.shape[:-1], self.outputs)
        images = above.flatten(0, 1), x.flatten(0, 1), out.flatten(0, 1)
        parts = min(len(images[0]), math.ceil(x.numel() / CHUNK))
        for part in zip(*(tensor.tensor_split(parts) for tensor in images), strict=True):
            self._convolve(*part)
        return out

    def _convolve(self, above: Tensor, x: Tensor, out: Tensor) -> None:
        """The same for some images, into `out`."""
        # Six rows a to f give four. These are their last four, (images, n, w, inputs); a and b are the e and f of the
        # six before, or the two rows above.
        c, d, e, f = (x[:, i::ROWS] for i in range(ROWS))
        even, odd = torch.sub(e, c, alpha=4), torch.empty_like(c)
        torch.sub(d[:, 1:], f[:, :-1], alpha=4, out=odd[:, 1:])
        torch.sub(d[:, :1], above[:, 1:], alpha=4, out=odd[:, :1])
        m1 = self._along_width(even + odd, 1)
        m2 = self._along_width(even - odd, 2)
        torch.sub(e, c, out=even)
        torch.sub(d[:, 1:], f[:, :-1], out=odd[:, 1:])
        torch.sub(d[:, :1], above[:, 1:], out=odd[:, :1])
        m3 = self._along_width(torch.add(even, odd, alpha=2), 3)
        m4 = self._along_width(torch.sub(even, odd, alpha=2), 4)
        even.sub_(c, alpha=4)
        even[:, 1:].add_(e[:, :-1], alpha=4)
        even[:, :1].add_(above[:, :1], alpha=4)
        m0 = self._along_width(even, 0)
        m5 = self._along_width((f - d).sub_(odd, alpha=4), 5)
        one, two = m1 + m2, m1.sub_(m2)  # the bias is in m1, so it is in both
        three, four = m3 + m4, m3.sub_(m4)
        torch.add(m0.add_(one), three, out=out[:, ::ROWS])
        torch.add(two, four, alpha=2, out=out[:, 1::ROWS])
        torch.add(one, three, alpha=4, out=out[:, 2::ROWS])
        torch.add(two, m5.add_(four, alpha=8), out=out[:, 3::ROWS])
        if self.relu:
            torch.relu_(out)

    def _along_width(self, x: Tensor, kernel: int) -> Tensor:
        rows = x.flatten(0, 1).unsqueeze(1).permute(0, 3, 1, 2)  # (images * n, inputs, 1, w)
        bias = self.bias if kernel == 1 else None
        convolved = F.conv2d(rows, self.kernels[kernel], bias, padding=(0, 1))
        return convolved.permute(0, 2, 3, 1).reshape(*x.shape[:3], self.outputs)


class ConvolvedRows(Windows):
    """A stream convolved by a 3x3 kernel: rows in fours, the rest by `direct`, which takes one more above and below."""

    def __init__(self, stream: Rows, fours: RowConvolution, direct: Callable[[Tensor], Tensor]) -> None:
        super().__init__(stream)
        self.fours = fours
        self.direct = direct

    def make(self, above: Tensor, values: Tensor, last: bool) -> Tensor:
        inside = above.shape[2] == 2 and not last
        if inside and values.shape[2] % ROWS == 0:
            return self.fours(above, values)
        window = join(above, values, last)
        end = window.shape[2] - (window.shape[2] - 2) % ROWS
        parts = [self.fours(window[:, :, :2], window[:, :, 2:end])] if end > 2 else []
        if end < window.shape[2]:
            parts.append(self.direct(window[:, :, end - 2 :]))
        return torch.cat(parts, dim=2) if len(parts) > 1 else parts[0]
