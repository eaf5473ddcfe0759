"""The numbers of SSRNet, SSRChain, MCNet and ERCSR by two other ways: features last and without concatenation, for
training, and row by row, for inference on a CPU. Both read a network's layers, so weights and switches are its own."""

from collections.abc import Callable, Iterator
from functools import partial, reduce
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsisr_core.fast.convolution import ENOUGH
from hsisr_core.fast.ercsr import ercsr_body
from hsisr_core.fast.rows import Piece
from hsisr_core.fast.tail import Tail
from hsisr_core.fast.threads import Crew, one_thread
from hsisr_core.fast.ways import ByRows, Way, Whole, blocks, outputs
from hsisr_core.fast.winograd import ROWS
from hsisr_core.models import ERCSR, MCNet, SSRChain, SSRNet
from hsisr_core.models.ssrchain import back_project

PIECE_BYTES = 4_000_000  # of a tensor in a stream of rows: a few of them fit a processor's cache
PIECES = 8  # of a scene at least, where it has so many fours of rows: what threads divide among them
Served = SSRNet | SSRChain | MCNet | ERCSR


def super_resolve_whole(net: Served, lr: Tensor, half: bool = False) -> Tensor:
    """`net.super_resolve(lr)` on all rows at once, differentiable; with `half` the modules compute in bfloat16."""
    sr = Tail(net.upsample, net.tail)(_body(Whole(half), net, lr.unsqueeze(-1)))
    return _add_lr(net, sr, lr)


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
    kernels = 0
    if features >= ENOUGH:
        at_work += 2 * units + 2 + 3 * piece
        layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv3d)]
        kernels = sum(2 * layer.weight.numel() for layer in layers if layer.kernel_size == (1, 3, 3))
    rows = min(len(net.body) * waiting + at_work, 11 * height)
    sr = height * net.scale**2
    # LR and SR beside the rows
    return 4 * (kernels + bands * width * (height + sr + rows * features))


def _is_global(net: Served) -> bool:
    """Whether the head's output is added after every module."""
    return isinstance(net, MCNet) or (isinstance(net, SSRNet) and net.global_residual)


def _add_lr(net: Served, sr: Tensor, lr: Tensor) -> Tensor:
    """SR as the network gives it, from what the tail does and LR, whose bands are apart."""
    if isinstance(net, ERCSR):
        return sr + F.interpolate(lr, scale_factor=net.scale)
    return back_project(sr, lr, net.scale) if isinstance(net, SSRChain) and net.back_projection else sr


def _piece_rows(net: Served, bands: int, height: int, width: int) -> int:
    """Rows of a piece in `stream`: fours, which `RowConvolution` takes, or one where a row alone is large."""
    rows = PIECE_BYTES / (4 * bands * width * net.upsample.in_channels)
    return max(ROWS, ROWS * round(min(rows, height / PIECES) / ROWS)) if rows >= 1 else 1


def _body(way: Way, net: Served, lr: Any) -> Any:
    """What the tail reads."""
    if isinstance(net, ERCSR):
        return ercsr_body(way, net, lr)
    x = way.convolve(net.head, lr)
    x, *firsts = way.fork(x, 1 + len(net.body) * _is_global(net))
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
        return x if not own else way.stage(blocks(way, way.add(x, *own), plus, module.block))
    found = outputs(way, partial(_unit, way), module.units, x)
    scales = getattr(module, "weights", None)
    if scales is not None:
        found = (blocks(way, x, None, branch) for x, branch in zip(found, module.branches, strict=True))
    fused = way.fuse(module.fusion, found, scales, True, *own)
    return way.stage(blocks(way, fused, plus, module.block))


def _unit(way: Way, x: Any, unit: Any) -> Any:
    """Eq. 6; a unit of MCNet is one block."""
    x, plus = way.fork(x, 2)
    return way.stage(blocks(way, x, plus, *getattr(unit, "blocks", [unit])))
