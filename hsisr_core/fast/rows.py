"""A network as a stream of rows: inference whose working set fits the processor's cache, whatever the scene's height.

A scene enters as pieces of a few rows, from top to bottom, and every layer maps a stream of pieces to one. A
convolution over 3 rows keeps the last two of its input and gives each row as soon as the next one is there: nothing
is computed twice, and no layer ever holds the whole scene. Where two paths meet, the shorter one waits.

No stage may keep a piece that it has handed on, as the variables of a generator that waits would: hence the classes.
"""

from collections import deque
from collections.abc import Callable, Iterator
from threading import Lock
from typing import NamedTuple

import torch
from torch import Tensor


class Piece(NamedTuple):
    """Some rows of a scene, (batch, bands, rows, w, features), and whether they hold its first and its last one."""

    values: Tensor
    first: bool
    last: bool


Rows = Iterator[Piece]


def cut(stream: Rows, height: int) -> Rows:
    """The same rows in pieces of at most `height`."""
    for values, first, last in stream:
        rows = values.shape[2]
        for top in range(0, rows, height):
            part = values[:, :, top : top + height]
            yield Piece(part, first and top == 0, last and top + height >= rows)


def apply(function: Callable[[Tensor], Tensor], stream: Rows) -> Rows:
    """Apply `function`, which treats rows alike and keeps them apart, to every piece."""

    def apply_to(piece: Piece) -> Piece:
        return piece._replace(values=function(piece.values))

    return map(apply_to, stream)


class Windows(Rows):
    """Every piece with one more row above and below it: of its neighbours, or zeros beyond the scene."""

    def __init__(self, stream: Rows) -> None:
        self.stream = stream
        self.held: Tensor | None = None  # the last two rows, or the first one with zeros above it
        self.first = True

    def __next__(self) -> Piece:
        while True:
            values, _, last = next(self.stream)
            if self.held is None:
                self.held = torch.zeros_like(values[:, :, :1])
            above = self.held
            # copies: a view would keep the whole piece
            self.held = values[:, :, -2:].clone() if values.shape[2] > 1 else join(above[:, :, -1:], values)
            if above.shape[2] + values.shape[2] + last > 2:
                first, self.first = self.first, False
                # with a row of zeros below the last one
                return Piece(join(above, values, zero_rows=int(last)), first, last)


def join(above: Tensor, values: Tensor, zero_rows: int = 0) -> Tensor:
    """`values` below the rows `above`, and rows of zeros below them."""
    batch, bands, rows, width, features = values.shape
    joined = values.new_empty(batch, bands, above.shape[2] + rows + zero_rows, width, features)
    # three copies: `torch.cat` would take one thread here
    joined[:, :, : above.shape[2]] = above
    joined[:, :, above.shape[2] : above.shape[2] + rows] = values
    joined[:, :, above.shape[2] + rows :] = 0
    return joined


def fork(stream: Rows, count: int) -> list[Rows]:
    """`count` streams of the same pieces, each kept until the last of them has passed it. Read only."""
    queues: list[deque[Piece]] = [deque() for _ in range(count)]

    lock = Lock()

    def branch(own: deque[Piece]) -> Rows:
        while True:
            with lock:
                if not own:
                    piece = next(stream, None)
                    if piece is None:
                        return
                    for queue in queues:
                        queue.append(piece)
                    del piece
            yield own.popleft()

    return [branch(queue) for queue in queues]


class Sum(Rows):
    """The sum of two streams, in the memory of `new`; their pieces need not have the same rows."""

    def __init__(self, new: Rows, old: Rows) -> None:
        self.new = new
        self.old = old
        self.waiting: Tensor | None = None  # rows of `old` that `new` has not reached

    def __next__(self) -> Piece:
        piece = next(self.new)
        rows, done = piece.values.shape[2], 0
        while done < rows:
            if self.waiting is None:
                self.waiting = next(self.old).values
            step = min(self.waiting.shape[2], rows - done)
            piece.values[:, :, done : done + step] += self.waiting[:, :, :step]
            done += step
            self.waiting = self.waiting[:, :, step:] if step < self.waiting.shape[2] else None
        return piece
