"""The numbers of SSRNet, SSRChain, MCNet and ERCSR by two other ways: features last and without concatenation, for
training, and row by row, for inference on a CPU. Both read a network's layers, so weights and switches are its own.

A network is drawn once for both ways. At every step the first has a tensor, the second a stream of `rows`. A stream is
read once: what two parts of a network read is forked.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial, reduce
from itertools import chain
from operator import methodcaller
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsisr_core.fast.convolution import convolve, convolve_rows, fuse, shares, typed
from hsisr_core.fast.rows import Piece, Rows, Sum, apply, cut, fork
from hsisr_core.fast.tail import Tail
from hsisr_core.fast.threads import Crew, one_thread
from hsisr_core.models import ERCSR, MCNet, SSRChain, SSRNet
from hsisr_core.models.ssrchain import back_project

PIECE_BYTES = 4_000_000  # of a tensor in a stream of rows: a few of them fit a processor's cache
ROWS = 4  # of a piece, or a multiple of them
PIECES = 8  # of a scene at least, where it has so many times `ROWS`: what threads divide among them
Served = SSRNet | SSRChain | MCNet | ERCSR
Way = Any  # Whole or ByRows
Progress = Callable[[float], None] | None  # called with the share that is done


def super_resolve_whole(net: Served, lr: Tensor, half: bool = False) -> Tensor:
    """`net.super_resolve(lr)` on all rows at once, differentiable; with `half` the modules compute in bfloat16."""
    sr = Tail(net.upsample, net.tail)(_body(Whole(half), net, lr.unsqueeze(-1)))
    return _add_lr(net, sr, lr)


def super_resolve_rows(net: Served, lr: Tensor, half: bool, progress: Progress) -> Tensor:
    """The same, some rows at a time, from top to bottom."""
    batch, bands, height, width = lr.shape
    sr = lr.new_empty(batch, bands, height * net.scale, width * net.scale)
    done = 0
    threads = torch.get_num_threads()
    with one_thread(), Crew(threads) as crew:
        for rows in stream(net, lr, crew, half):
            sr[:, :, done : done + rows.shape[2]] = rows
            done += rows.shape[2]
            if progress is not None:
                progress(done / sr.shape[2])
    # some bands at once, because a second SR takes memory
    some = max(1, PIECE_BYTES // (4 * sr[:, 0].numel()))
    for own, of_lr in zip(sr.split(some, dim=1), lr.split(some, dim=1), strict=True):
        own.copy_(_add_lr(net, own, of_lr))
    return sr


def stream(net: Served, lr: Tensor, crew: Crew, half: bool = False) -> Iterator[Tensor]:
    """SR of `lr` (batch, bands, h, w) in pieces of some rows."""
    way = ByRows(crew, _piece_rows(net, *lr.shape[1:]), half)
    whole = Piece(lr.unsqueeze(-1), True, True)
    return Tail(net.upsample, net.tail).stream(_body(way, net, way.cut(iter([whole]))))


def bytes_of_rows(net: Served, bands: int, height: int, width: int) -> int:
    """Bytes that inference holds at once for an LR scene of this shape, about: the rows that wait in `stream`."""
    features = net.upsample.in_channels
    if net.mean.is_cuda:  # the whole scene at once: tensors of all features, or the tail's values and SR
        tensors = 8 if isinstance(net, MCNet | ERCSR) else 6
        return 4 * bands * height * width * max(tensors * features, features + 10 * net.scale**2)
    piece, units = _piece_rows(net, bands, height, width), len(cast(Any, net.body[0]).units)
    # in a module: two before each spatial convolution, each unit's input until its blocks have passed it, the module's
    # input until its units have, each unit's output until the last one's is there, the head's rows until the end
    waiting = 2 * (2 * units + 1) + 2 * units + 2 * units + units * (units - 1) + 2 * units + 1
    # what is at work was found by counting, see its test
    at_work = 5 + (5 * units + 1) * piece
    if isinstance(net, SSRChain):
        # two rows before each of five spatial convolutions, a piece in each of three units
        waiting, at_work = 2 * 5 + 3 * piece, 20 + 5 * piece
    elif isinstance(net, MCNet):
        # two before each of ten, five for units and module, nine for outputs, three for the head's rows
        waiting, at_work = 2 * 10 + 17, 28 * piece - 15
    elif isinstance(net, ERCSR):
        # two before each of six, fifteen for the skips; what waits for the last module is at work
        waiting, at_work = 2 * 6 + 15, 25 * piece + 32
    rows = min(len(net.body) * waiting + at_work, 11 * height)
    sr = height * net.scale**2
    # LR and SR beside the rows
    return 4 * bands * width * (height + sr + rows * features)


def _add_lr(net: Served, sr: Tensor, lr: Tensor) -> Tensor:
    """SR as the network gives it, from what the tail does and LR, whose bands are apart."""
    if isinstance(net, ERCSR):
        return sr + F.interpolate(lr, scale_factor=net.scale)
    return back_project(sr, lr, net.scale) if isinstance(net, SSRChain) and net.back_projection else sr


def _piece_rows(net: Served, bands: int, height: int, width: int) -> int:
    """Rows of a piece in `stream`: fours, or one where a row alone is large."""
    rows = PIECE_BYTES / (4 * bands * width * net.upsample.in_channels)
    return max(ROWS, ROWS * round(min(rows, height / PIECES) / ROWS)) if rows >= 1 else 1


def _body(way: Way, net: Served, lr: Any) -> Any:
    """What the tail reads."""
    if isinstance(net, ERCSR):
        return _ercsr_body(way, net, lr)
    # the head's output is added after every module
    is_global = isinstance(net, MCNet) or (isinstance(net, SSRNet) and net.global_residual)
    x, *firsts = way.fork(way.convolve(net.head, lr), 1 + len(net.body) * is_global)
    for module in net.body:
        plus = firsts.pop() if firsts else None
        if way.half:
            x = way.to(_module(way, module, way.to(x, torch.bfloat16), None), net.mean.dtype)
            x = x if plus is None else way.add(x, plus)
        else:
            x = _module(way, module, x, plus)
        x = way.cut(x)
    return x


def _module(way: Way, module: Any, x: Any, plus: Any) -> Any:
    """Eq. 4 and 7, and `plus` added to that; MCNet has branches behind its units, and weights for them."""
    x, *own = way.fork(x, 1 if module.block is None else 2)
    if module.fusion is None:
        x = reduce(partial(_unit, way), module.units, x)
        return x if not own else way.stage(_blocks(way, way.add(x, *own), plus, module.block))
    found = _outputs(way, partial(_unit, way), module.units, x)
    scales = getattr(module, "weights", None)
    if scales is not None:
        found = (_blocks(way, x, None, branch) for x, branch in zip(found, module.branches, strict=True))
    fused = way.fuse(module.fusion, found, scales, True, *own)
    return way.stage(_blocks(way, fused, plus, module.block))


def _unit(way: Way, x: Any, unit: Any) -> Any:
    """Eq. 6; a unit of MCNet, or of ERCSR, is one block."""
    x, plus = way.fork(x, 2)
    return way.stage(_blocks(way, x, plus, *getattr(unit, "blocks", [unit])))


def _ercsr_body(way: Way, net: ERCSR, lr: Any) -> Any:
    """What the tail reads."""
    x, first = way.fork(_blocks(way, lr, None, net.head), 2)
    found = _outputs(way, partial(_ercsr_module, way), net.body, x)
    fused = way.fuse(net.fusion, found, net.weights, False, None)
    return way.cut(_blocks(way, fused, first, net.body_end))


def _ercsr_module(way: Way, x: Any, module: Any) -> Any:
    x, own = way.fork(x, 2)
    spatial, again = way.fork(way.convolve(module.spatial, x, True), 2)
    mixed = way.convolve(module.rows, spatial, plus=way.convolve(module.columns, again))
    mixed, skipped = way.fork(way.stage(mixed), 2)
    units = [(unit.first, nn.ReLU(), unit.second) for unit in module.units]
    x = reduce(partial(_unit, way), units, mixed)
    return way.cut(way.add(way.add(x, skipped), own))


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
        rows = convolve_rows(layer, rows, relu)
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


def _outputs(way: Way, function: Callable[[Any, Any], Any], parts: Any, x: Any) -> Iterator[Any]:
    """What `function` makes of each of the `parts` and what the one before it gave, in turn."""
    for part in parts:
        x = function(x, part)
        output, *more = way.fork(x, 1 if part is parts[-1] else 2)
        x = more[0] if more else None
        yield output


def _blocks(way: Way, x: Any, plus: Any, *parts: Any) -> Any:
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
