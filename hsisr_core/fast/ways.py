"""Two ways through a network that is drawn once: all rows at once, for training, and some after the others.

At every step the first has a tensor, the second a stream of `rows`. A stream is read once: what two parts of a network
read is forked.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from operator import methodcaller
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsisr_core.fast.convolution import convolve, convolve_rows, fuse, shares, typed
from hsisr_core.fast.rows import Rows, Sum, apply, cut, fork
from hsisr_core.fast.threads import Crew


class Whole:
    """Tensors of all rows, (batch, bands, h, w, features), differentiable."""

    convolve, fuse = staticmethod(convolve), staticmethod(fuse)
    to, add = staticmethod(Tensor.to), staticmethod(torch.add)

    def __init__(self, half: bool = False) -> None:
        self.half = half

    def fork(self, x: Tensor, count: int) -> list[Tensor]:
        return [x] * count

    def stage(self, x: Tensor) -> Tensor:
        return x

    cut = stage


class ByRows:
    """Streams of pieces of `height` rows; a sum is in the memory of its first part."""

    fork, add = staticmethod(fork), staticmethod(Sum)

    def __init__(self, crew: Crew, height: int, half: bool = False) -> None:
        self.stage = crew.stage
        self.height = height
        self.half = half

    def cut(self, rows: Rows) -> Rows:
        # what the convolutions hold back all comes with the last piece
        return cut(rows, self.height)

    def to(self, rows: Rows, dtype: torch.dtype) -> Rows:
        return apply(methodcaller("to", dtype), rows)

    def convolve(self, layer: nn.Conv3d, rows: Rows, relu: bool = False, plus: Rows | None = None) -> Rows:
        rows = convolve_rows(layer, rows, relu, self.half)
        return rows if plus is None else Sum(rows, plus)

    def fuse(
        self, layer: nn.Conv3d, units: Iterable[Rows], scales: Tensor | None, relu: bool, plus: Rows | None
    ) -> Rows:
        """`fuse` on units whose rows come one after the other; a row is multiplied when the last unit has it."""

        def multiply(x: Tensor, index: int) -> Tensor:
            weight, bias = typed(layer, x)
            return F.linear(x, shares(weight, scales)[index], bias if index == -1 else None)

        *early, last = units
        fused = apply(partial(multiply, index=-1), last)
        for index, unit in enumerate(early):
            fused = Sum(fused, apply(partial(multiply, index=index), unit))
        fused = apply(torch.relu_, fused) if relu else fused
        return fused if plus is None else Sum(fused, plus)


Way = Any  # Whole or ByRows


def outputs(way: Way, function: Callable[[Any, Any], Any], parts: Any, x: Any) -> Iterator[Any]:
    """What `function` makes of each of the `parts` and what the one before it gave, in turn."""
    for part in parts:
        x = function(x, part)
        output, *more = way.fork(x, 1 if part is parts[-1] else 2)
        x = more[0] if more else None
        yield output


def blocks(way: Way, x: Any, plus: Any, *parts: Any) -> Any:
    """What the convolutions and ReLUs of some parts make of `x`, and `plus` added to that."""
    *early, (last, last_relu) = _steps(*parts)
    for layer, relu in early:
        x = way.convolve(layer, x, relu)
    return way.convolve(last, x, last_relu, plus)


def _steps(*parts: Any) -> list[tuple[nn.Conv3d, bool]]:
    """The convolutions of some parts, and whether a ReLU follows."""
    layers = list(chain(*parts))
    follows = [isinstance(layer, nn.ReLU) for layer in [*layers[1:], None]]
    return [pair for pair in zip(layers, follows, strict=True) if isinstance(pair[0], nn.Conv3d)]
