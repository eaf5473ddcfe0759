"""The numbers of an SSRNet or SSRChain by two other ways: features last and without concatenation, for training, and
row by row, for inference on a CPU. Both read the layers of the network, so weights and switches are its own."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import accumulate, chain, islice
from operator import methodcaller
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsisr_core.fast.convolution import ENOUGH, convolve, convolve_rows, finish, fuse, shares, typed
from hsisr_core.fast.rows import Piece, Rows, Sum, apply, cut, fork
from hsisr_core.fast.tail import Tail
from hsisr_core.fast.threads import Crew, one_thread
from hsisr_core.fast.winograd import ROWS
from hsisr_core.models import SSRChain, SSRNet
from hsisr_core.models.ssrchain import back_project

PIECE_BYTES = 4_000_000  # of a tensor in a stream of rows: a few of them fit a processor's cache
PIECES = 8  # of a scene at least, where it has so many fours of rows: what threads divide among them
Served = SSRNet | SSRChain


def super_resolve_whole(net: Served, lr: Tensor, half: bool = False) -> Tensor:
    """`net.super_resolve(lr)` on all rows at once, differentiable; with `half` the modules compute in bfloat16."""
    first = x = convolve(net.head, lr.unsqueeze(-1))  # (batch, bands, h, w, features), and so at every step
    plus = first if _is_global(net) else None
    for module in net.body:
        if half:
            x = finish(_apply_module(module, x.bfloat16(), None).to(x.dtype), False, plus)
        else:
            x = _apply_module(module, x, plus)
    sr = Tail(net.upsample, net.tail)(x)
    return back_project(sr, lr, net.scale) if _is_projected(net) else sr


def super_resolve_rows(
    net: Served, lr: Tensor, half: bool, progress: Callable[[float], None] | None
) -> Tensor:
    """The same, some rows at a time, from top to bottom; `progress` is called with the share that is done."""
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
    if _is_projected(net):
        # some bands at once, because a second SR takes memory
        some = max(1, PIECE_BYTES // (4 * sr[:, 0].numel()))
        for own, of_lr in zip(sr.split(some, dim=1), lr.split(some, dim=1), strict=True):
            own.copy_(back_project(own, of_lr, net.scale))
    return sr


def stream(net: Served, lr: Tensor, crew: Crew, half: bool = False) -> Iterator[Tensor]:
    """SR of `lr` (batch, bands, h, w) in pieces of some rows."""
    height = _piece_rows(net, *lr.shape[1:])
    whole = Piece(lr.unsqueeze(-1), True, True)
    rows = convolve_rows(net.head, cut(iter([whole]), height), False)
    rows, *firsts = fork(rows, 1 + len(net.body) * _is_global(net))
    for module in net.body:
        if half:
            rows = apply(Tensor.bfloat16, rows)
        # what the convolutions hold back all comes with the last piece
        rows = cut(_stream_module(module, rows, crew, half), height)
        if half:
            rows = apply(methodcaller("to", lr.dtype), rows)
        if firsts:
            rows = Sum(rows, firsts.pop())
    return Tail(net.upsample, net.tail).stream(rows)


def bytes_of_rows(net: Served, bands: int, height: int, width: int) -> int:
    """Bytes that inference holds at once for an LR scene of this shape, about: the rows that wait in `stream`."""
    features, units = net.head.out_channels, len(cast(Any, net.body[0]).units)
    if net.mean.is_cuda:  # the whole scene at once: six tensors of all features, or the tail's values and SR
        return 4 * bands * height * width * max(6 * features, features + 10 * net.scale**2)
    # in a module: two before each spatial convolution, each unit's input until its blocks have passed it, the module's
    # input until its units have, each unit's output until the last one's is there, the head's rows until the end
    waiting = 2 * (2 * units + 1) + 2 * units + 2 * units + units * (units - 1) + 2 * units + 1
    # what is at work was found by counting, see its test
    piece, kernels = _piece_rows(net, bands, height, width), 0
    at_work = 5 + (5 * units + 1) * piece
    if isinstance(net, SSRChain):
        # two rows before each of five spatial convolutions, a piece in each of three units
        waiting, at_work = 2 * 5 + 3 * piece, 20 + 5 * piece
    if features >= ENOUGH:
        at_work += 2 * units + 2 + 3 * piece
        kernels = len(net.body) * (2 * units + 1) * 18 * features**2
    rows = min(len(net.body) * waiting + at_work, 10 * height)
    sr = height * net.scale**2
    # LR and SR beside the rows
    return 4 * (kernels + bands * width * (height + sr + rows * features))


def _is_global(net: Served) -> bool:
    """Whether the head's output is added after every module."""
    return isinstance(net, SSRNet) and net.global_residual


def _is_projected(net: Served) -> bool:
    return isinstance(net, SSRChain) and net.back_projection


def _piece_rows(net: Served, bands: int, height: int, width: int) -> int:
    """Rows of a piece in `stream`: fours, which `RowConvolution` takes, or one where a row alone is large."""
    rows = PIECE_BYTES / (4 * bands * width * net.head.out_channels)
    return max(ROWS, ROWS * round(min(rows, height / PIECES) / ROWS)) if rows >= 1 else 1


def _steps(*blocks: Any) -> list[tuple[nn.Conv3d, bool]]:
    """The convolutions of some blocks, and whether a ReLU follows."""
    layers = list(chain(*blocks))
    follows = [isinstance(layer, nn.ReLU) for layer in [*layers[1:], None]]
    return [pair for pair in zip(layers, follows, strict=True) if isinstance(pair[0], nn.Conv3d)]


def _apply_blocks(x: Tensor, plus: Tensor | None, *blocks: Any) -> Tensor:
    """What the blocks make of `x`, and `plus` added to that."""
    *early, (last, last_relu) = _steps(*blocks)
    for layer, relu in early:
        x = convolve(layer, x, relu)
    return convolve(last, x, last_relu, plus)


def _apply_module(module: Any, x: Tensor, plus: Tensor | None) -> Tensor:
    """Eq. 4 and 7, and `plus` added to that."""

    def apply_unit(x: Tensor, unit: Any) -> Tensor:
        return _apply_blocks(x, x, *unit.blocks)

    outputs = islice(accumulate(module.units, apply_unit, initial=x), 1, None)
    if module.fusion is None:
        *_, last = outputs
        return last if module.block is None else _apply_blocks(last + x, plus, module.block)
    return _apply_blocks(fuse(module.fusion, outputs, plus=x), plus, module.block)


def _stream_blocks(rows: Rows, half: bool, *blocks: Any) -> Rows:
    for layer, relu in _steps(*blocks):
        rows = convolve_rows(layer, rows, relu, half)
    return rows


def _stream_module(module: Any, rows: Rows, crew: Crew, half: bool) -> Rows:
    last, *old = fork(rows, 1 if module.block is None else 2)
    outputs = []
    for unit in module.units:
        new, plus = fork(last, 2)
        last = crew.stage(Sum(_stream_blocks(new, half, *unit.blocks), plus))
        if module.fusion is not None and unit is not module.units[-1]:
            last, output = fork(last, 2)
            outputs.append(output)
    if module.fusion is not None:
        last = apply(torch.relu_, _fuse_rows(module.fusion, [*outputs, last]))
    return crew.stage(_stream_blocks(Sum(last, *old), half, module.block)) if old else last


def _fuse_rows(layer: nn.Conv3d, units: list[Rows]) -> Rows:
    """`fuse` on units whose rows come one after the other; a row is multiplied when the last unit has it."""

    def multiply(x: Tensor, index: int) -> Tensor:
        weight, bias = typed(layer, x)
        return F.linear(x, shares(weight)[index], bias if index == -1 else None)

    fused = apply(partial(multiply, index=-1), units[-1])
    for index, unit in enumerate(units[:-1]):
        fused = Sum(fused, apply(partial(multiply, index=index), unit))
    return fused
