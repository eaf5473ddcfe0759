"""Coarse work for threads: each has large shares of its own and computes with one OpenMP thread.

The work here is thousands of small operations. Where OpenMP divides each of them, all of its threads meet after each,
and one that another program delays holds up the others thousands of times.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any

import torch

from hsisr_core.fast.rows import Piece, Rows


@contextmanager
def one_thread() -> Iterator[None]:
    """Every operation of this thread, and of those started inside the block, on one OpenMP thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def in_threads(function: Callable[..., Any], *arguments: Sequence[Any]) -> list[Any]:
    """What `function` gives for each set of arguments, in their order; a thread for each, with one OpenMP thread."""
    enter = modes()

    def call(*given: Any) -> Any:
        with enter():
            return function(*given)

    return list(_pool(len(arguments[0])).map(call, *arguments))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "hsisr")


def modes() -> Callable[[], AbstractContextManager[None]]:
    """What enters the modes of the thread that calls this (gradients, inference, autocast) in another one."""
    inference, gradients = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
    autocast, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    @contextmanager
    def enter() -> Iterator[None]:
        torch.set_num_threads(1)
        of_autocast = torch.autocast("cpu", dtype, enabled=autocast)
        with torch.inference_mode(inference), torch.set_grad_enabled(gradients), of_autocast:
            yield

    return enter


class Crew:
    """`threads` with the caller, who takes the last pieces of rows; the others make pieces ahead, at most `ahead`.

    The way is cut into `Stage`s. Whoever needs a piece that is not there makes it: a stage waits only for those above.
    """

    def __init__(self, threads: int) -> None:
        self.ahead = threads
        self.stages: list[Stage] = []
        self.changed = threading.Condition()
        self.failure: BaseException | None = None
        self.ended = False
        self.helpers = [threading.Thread(target=self._help, args=[modes()]) for _ in range(threads - 1)]

    def stage(self, rows: Rows) -> Rows:
        """A place where the way is cut."""
        if not self.helpers:
            return rows
        self.stages.append(Stage(self, rows))
        return self.stages[-1]

    def __enter__(self) -> Crew:
        for helper in self.helpers:
            helper.start()
        return self

    def __exit__(self, *_: Any) -> None:
        with self.changed:
            self.ended = True
            self.changed.notify_all()
        for helper in self.helpers:
            helper.join()
        if self.failure is not None:
            raise self.failure

    def _help(self, enter: Callable[[], AbstractContextManager[None]]) -> None:
        with enter():
            while True:
                with self.changed:
                    stage = self.changed.wait_for(lambda: self.ended or self.next_stage())
                    if not isinstance(stage, Stage):
                        return
                    stage.busy = True
                stage.make()

    def next_stage(self, before: Stage | None = None) -> Stage | None:
        """The last stage (of those `before` one) that nobody is at and whose input is there."""
        room = sum(len(stage.pieces) for stage in self.stages) < self.ahead
        ready, found = room, None
        for stage in self.stages:
            if stage is before:
                break
            if ready and not stage.busy and not stage.done:
                found = stage
            ready = bool(stage.pieces) or stage.done
        return found


class Stage(Rows):
    """The rows of a stream, some of them made ahead."""

    def __init__(self, crew: Crew, stream: Rows) -> None:
        self.crew = crew
        self.stream = stream
        self.pieces: deque[Piece] = deque()
        self.busy = False
        self.done = False

    def __next__(self) -> Piece:
        crew = self.crew
        while True:
            with crew.changed:
                crew.changed.wait_for(lambda: self.pieces or not self.busy or crew.next_stage(self))
                if self.pieces:
                    crew.changed.notify_all()
                    return self.pieces.popleft()
                if crew.failure is not None:
                    raise crew.failure
                if self.done:
                    raise StopIteration
                # while another thread makes the piece: what comes after it
                stage = (crew.next_stage(self) if self.busy else None) or self
                stage.busy = True
            stage.make()

    def make(self) -> None:
        """Make the next piece; `busy` is set already, for this thread."""
        piece = failure = None
        try:
            piece = next(self.stream, None)
        except BaseException as error:
            failure = error
        with self.crew.changed:
            self.crew.failure = self.crew.failure or failure
            self.busy = False
            if piece is None:
                self.done = True
            else:
                self.pieces.append(piece)
            self.crew.changed.notify_all()
