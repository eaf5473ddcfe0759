"""What threads share: nothing is lost or left waiting when one fails, and what is waited for takes no core."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from hsisr_core.errors import HsisrError
from hsisr_core.fast import Trainer, doors, networks, one_thread, runner
from hsisr_core.fast.rows import Piece, Rows, Sum, apply, cut, fork
from hsisr_core.fast.threads import Crew, in_threads
from hsisr_core.models import SSRNet

SCENE = torch.arange(40.0).reshape(1, 1, 40, 1, 1)


class Stopped(BaseException):
    """Like KeyboardInterrupt: no Exception."""


def way(crew: Crew, function: object = None) -> Rows:
    """A scene through six stages and a fork that goes around all of them."""
    rows, first = fork(cut(iter([Piece(SCENE, True, True)]), 2), 2)
    for index in range(6):
        rows = crew.stage(apply(function if index == 3 and callable(function) else lambda x: x + 1, rows))
    return Sum(rows, first)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_a_way_gives_the_same_whoever_makes_it(threads: int) -> None:
    for _ in range(20):
        with Crew(threads) as crew:
            made = torch.cat([piece.values for piece in way(crew)], dim=2)
        assert torch.equal(made, 2 * SCENE + 6)


@pytest.mark.parametrize("error", [ValueError, Stopped])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_an_error_in_a_stage_reaches_the_caller(threads: int, error: type[BaseException]) -> None:
    def fail(x: Tensor) -> Tensor:
        if x.max() > 11:
            raise error("row 12")
        return x

    before = threading.active_count()
    with pytest.raises(error, match="row 12"), Crew(threads) as crew:
        list(way(crew, fail))
    assert threading.active_count() == before


def take_one_and_stop(rows: Rows) -> None:
    next(rows)
    raise KeyboardInterrupt


def test_a_caller_that_stops_stops_the_helpers() -> None:
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt), Crew(3) as crew:
        take_one_and_stop(way(crew))
    assert threading.active_count() == before


def test_few_pieces_wait() -> None:
    """However slow the caller is."""
    taken: list[Piece] = []

    def pieces() -> Iterator[Piece]:
        for piece in cut(iter([Piece(SCENE, True, True)]), 1):
            taken.append(piece)
            yield piece

    with Crew(2) as crew:
        rows: Rows = pieces()
        for _ in range(4):
            rows = crew.stage(rows)
        next(rows)
        threading.Event().wait(0.2)
        assert len(taken) <= 1 + 2 + 1, "the caller's, those that wait, one at work"


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_inference_takes_pytorch_s_threads_and_leaves_them(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    crews: list[int] = []

    def crew(count: int) -> Crew:
        crews.append(count)
        return Crew(count)

    monkeypatch.setattr(networks, "Crew", crew)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        runner(SSRNet(2, features=4, modules=1))(torch.rand(1, 3, 9, 5))
        assert torch.get_num_threads() == threads
        assert Trainer(SSRNet(2, features=4)).threads == threads
    finally:
        torch.set_num_threads(before)
    assert crews == [threads]


def test_one_thread_is_for_the_block() -> None:
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_an_error_in_a_share_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "PAYS", 0)
    net = SSRNet(2, features=4)
    net.set_mean(torch.zeros(3))
    with pytest.raises(HsisrError, match="3 bands and the cube has 5"):
        Trainer(net, 2)(torch.rand(2, 5, 4, 4))


def test_small_batches_are_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    shared: list[int] = []

    def count(function: Callable[..., Any], *arguments: Sequence[Any]) -> list[Any]:
        shared.append(len(arguments[0]))
        return in_threads(function, *arguments)

    monkeypatch.setattr(doors, "in_threads", count)
    net = SSRNet(2, features=4, modules=1, units=1)
    for size in ((4, 3, 4, 4), (1, 31, 48, 48), (3, 31, 28, 28)):
        Trainer(net, 2)(torch.rand(size))
    assert shared == [2], "the last one alone"


class Normalised(SSRNet):
    """Of a user, and it depends on the whole batch."""

    def super_resolve(self, lr: Tensor) -> Tensor:
        return super().super_resolve(lr / lr.std())


def test_a_user_s_network_sees_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "PAYS", 0)
    net, lr = Normalised(2, features=4), torch.rand(4, 3, 5, 5)
    assert torch.equal(Trainer(net, 2)(lr), net(lr))


@pytest.mark.parametrize(("given", "found"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_waiting_threads_sleep_unless_the_user_says_otherwise(
    given: str | None, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set before PyTorch is loaded, which is when OpenMP reads it."""
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if given:
        monkeypatch.setenv("OMP_WAIT_POLICY", given)
    code = "import hsisr_core, os, sys; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [found, "False"]
