"""Every fast path against the plain one: the engine against the network as drawn, in values and in gradients."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.plain import fold, plain_imresize, plain_score
from hsisr_core.degrade import imresize
from hsisr_core.fast import Trainer, bytes_needed, convolution, doors, networks, runner, super_resolve
from hsisr_core.fast.convolution import finish
from hsisr_core.fast.rows import Piece, Sum, Windows, cut
from hsisr_core.fast.tail import _link
from hsisr_core.fast.threads import Crew
from hsisr_core.metrics import score
from hsisr_core.models import ERCSR, MCNet, SSRChain, SSRNet, SuperResolver, build_model
from hsisr_core.training.cost import LiveBytes

SIZES = [(3, 3, 4, 5), (1, 1, 3, 2)]  # (batch, bands, height, width): odd sides, one band, all border
SWITCHES: list[dict[str, Any]] = [
    {"block": block, "order": order, "local_fusion": fusion, "global_residual": skip, "weight_norm": norm}
    for block, order, fusion, skip, norm in itertools.product(
        ["separable", "standard"],
        ["spatial-first", "spectral-first"],
        [True, False],
        [True, False],
        [True, False],
    )
    if block == "separable" or order == "spatial-first"  # a standard block has no order
]
CASES = [{"scale": (2, 3, 4)[index % 3], **switches} for index, switches in enumerate(SWITCHES)]
DEPTHS = [{"modules": 1, "units": 1}, {"modules": 3, "units": 2, "scale": 3}, {"units": 3, "scale": 4}]
CHAINS: list[dict[str, Any]] = [
    {"kind": SSRChain, "scale": 2, "modules": 1},
    {"kind": SSRChain, "scale": 3, "modules": 2},
    {"kind": SSRChain, "scale": 4, "modules": 3, "back_projection": False},
]
OTHERS: list[dict[str, Any]] = [
    {"kind": kind, "scale": scale, "weight_norm": norm}
    for kind in (MCNet, ERCSR)
    for scale, norm in ((2, True), (3, False), (4, True))
]


@pytest.fixture
def set_threads() -> Iterator[Callable[[int], None]]:
    """Threads that PyTorch may use, as the user sets them."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def random_network(
    bands: int = 4, dtype: torch.dtype = torch.float64, kind: type = SSRNet, **switches: Any
) -> networks.Served:
    """Biases are large, so that a border rule which is wrong shows; weight norm's g is away from |v|."""
    torch.manual_seed(0)
    counts = {SSRNet: {"modules": 2, "units": 2}, SSRChain: {"modules": 2}}.get(kind, {})
    net: networks.Served = kind(**{"scale": 2, "features": 5, **counts, **switches})
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(0.5 + torch.rand_like(parameter))
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    net.set_mean(torch.linspace(0.1, 0.4, bands))
    return net.to(dtype)


def random_cube(*size: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(size, dtype=dtype, generator=torch.Generator().manual_seed(1))


def assert_near(found: Tensor, expected: Tensor, tolerance: float = 1e-12) -> None:
    """Equal up to `tolerance` times the largest expected value."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


def with_gradients(call: Any, net: networks.Served, lr: Tensor) -> list[Tensor]:
    """SR, and the gradient of every parameter for a random sum of its values."""
    sr = call(lr)
    loss = (sr * (random_cube(*sr.shape, dtype=sr.dtype) - 0.5)).sum()
    return [sr, *torch.autograd.grad(loss, [*net.parameters()])]


@pytest.mark.parametrize("switches", [*CASES, *DEPTHS, *CHAINS, *OTHERS], ids=str)
def test_training(switches: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """With shares of one size and of two; the spectral kernels' own gradients by matrix products and by PyTorch."""
    monkeypatch.setattr(doors, "PAYS", 0)
    # back-projection takes five LR pixels a side
    first, last = ((3, 3, 6, 5) if "kind" in switches else SIZES[0]), SIZES[1]
    for size, threads, enough in zip([first] * 3 + [last], (1, 2, 3, 2), (1, 6, 6, 1), strict=True):
        monkeypatch.setattr(convolution, "SPECTRAL", enough)  # of the 5 features
        net, lr = random_network(size[1], **switches), random_cube(*size)
        expected = with_gradients(net, net, lr)
        for found, wanted in zip(with_gradients(Trainer(net, threads), net, lr), expected, strict=True):
            assert_near(found, wanted)


@pytest.mark.parametrize("switches", [*CASES, *DEPTHS, *CHAINS, *OTHERS], ids=str)
def test_inference(
    switches: dict[str, Any], set_threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces of every kind of height."""
    net = random_network(**switches)
    threads = itertools.cycle([2, 1, 3])
    for height, rows in ((1, 1), (9, 1), (9, 2), (9, 4), (9, 50)):
        set_threads(next(threads))
        monkeypatch.setattr(networks, "_piece_rows", lambda *_, rows=rows: rows)
        lr = random_cube(2, 4, height, 5)
        shares: list[float] = []
        assert_near(runner(net, shares.append)(lr), net(lr).detach())
        assert shares == sorted(shares)
        assert shares[-1] == 1
        assert len(shares) > 1 or height < 9 or rows == 50


@pytest.mark.parametrize("kind", [SSRNet, SSRChain, MCNet, ERCSR])
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_single_precision(scale: int, kind: type) -> None:
    net = random_network(dtype=torch.float32, kind=kind, scale=scale, features=50)
    lr = random_cube(1, 4, 9, 8, dtype=torch.float32)
    assert_near(runner(net)(lr), net(lr).detach(), 1e-5)
    for found, wanted in zip(
        with_gradients(Trainer(net), net, lr), with_gradients(net, net, lr), strict=True
    ):
        assert_near(found, wanted, 1e-4)


class Own(SuperResolver):
    """What a user may write: no engine knows it."""

    def __init__(self) -> None:
        super().__init__(2, halo=1)
        self.layer = torch.nn.Conv2d(4, 16, 3, padding=1)

    def super_resolve(self, lr: Tensor) -> Tensor:
        return F.pixel_shuffle(self.layer(lr), 2)


class Keeping(SuperResolver):
    """What a user may write too: it holds on to what it returns."""

    def __init__(self) -> None:
        super().__init__(2, halo=0)
        self.made = torch.ones(1, 4, 8, 8)

    def super_resolve(self, lr: Tensor) -> Tensor:
        return self.made


@pytest.mark.parametrize("mirror", [0, 1])
def test_what_a_network_holds_on_to_stays_as_it_is(mirror: int) -> None:
    """The mean is added in SR's memory for the engine alone."""
    net = Keeping().eval()
    net.set_mean(torch.full((4,), 0.5))
    net.mirror, side = mirror, 4 - 2 * mirror
    for _ in range(2):
        assert torch.equal(
            runner(net)(torch.zeros(1, 4, side, side)), torch.full((1, 4, 2 * side, 2 * side), 1.5)
        )


class Halved(SSRNet):
    """An SSRNet that computes something else: not for the engine either."""

    def super_resolve(self, lr: Tensor) -> Tensor:
        return super().super_resolve(lr) / 2


@pytest.mark.parametrize(
    "net", [Own(), Halved(2, features=5), build_model("edsr", 2, 4, features=5, blocks=1)]
)
def test_any_network_goes_through_the_same_doors(net: SuperResolver) -> None:
    lr = random_cube(1, 4, 6, 7, dtype=torch.float32)
    net.set_mean(torch.linspace(0.1, 0.4, 4))
    assert torch.equal(Trainer(net)(lr), net(lr))
    assert torch.equal(runner(net)(lr), net(lr))
    assert not runner(net)(lr).requires_grad
    assert bytes_needed(net, 4, 20, 20) == 4 * bytes_needed(net, 4, 10, 10)


def test_a_trainer_has_the_network_s_parameters_in_their_order() -> None:
    net = random_network()
    assert [id(p) for p in Trainer(net).parameters()] == [id(p) for p in net.parameters()]


def test_folded_weights_give_the_same() -> None:
    net, lr = random_network(), random_cube(1, 4, 6, 5)
    expected = net(lr)
    assert_near(fold(net)(lr), expected)


def test_a_network_that_has_predicted_first_can_be_trained() -> None:
    _link.cache_clear()
    net, lr = random_network(), random_cube(1, 4, 5, 5)
    with torch.inference_mode():
        runner(net)(lr)
    Trainer(net)(lr).sum().backward()
    assert net.upsample.bias is not None
    assert net.upsample.bias.grad is not None


def test_mirrored_borders() -> None:
    net, lr = random_network().eval(), random_cube(1, 4, 6, 5)
    without = net(lr).detach()
    net.mirror = 4
    assert_near(runner(net)(lr), net(lr).detach())
    assert (without - net(lr)).abs().max() > 1e-4


def test_trains_under_autocast() -> None:
    net, lr = random_network(dtype=torch.float32, features=8), random_cube(1, 4, 6, 6, dtype=torch.float32)
    parameters = list(net.parameters())
    exact = torch.autograd.grad(net(lr).sum(), parameters)
    with torch.autocast("cpu", torch.bfloat16):
        sr = Trainer(net)(lr)
    rounded = torch.autograd.grad(sr.sum(), parameters)
    for found, expected in zip(rounded, exact, strict=True):
        assert (found - expected).norm() < 0.1 * expected.norm() + 1e-3


def test_training_keeps_no_more_than_its_gradients_need() -> None:
    """In a module: 13 inputs of convolutions, the last unit's output, and what a ReLU gives inside the last block.

    Of the five ReLUs that a sum follows, it is one byte a value.
    """
    modules, features = 2, 16
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    trainer = Trainer(SSRNet(2, features=features, modules=modules))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        sr = trainer(torch.rand(2, 5, 6, 7))
    values = 2 * 5 * 6 * 7 * features
    sizes = list(kept.values())
    assert sr.requires_grad
    assert sizes.count(4 * values) == 15 * modules + 1  # the last one goes to the tail
    assert sizes.count(values) == 5 * modules


def test_the_height_of_a_scene_costs_no_memory_but_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "PIECE_BYTES", 1)  # pieces of one row
    net = random_network(weight_norm=False, modules=1, units=1)
    peaks = []
    for height in (14, 34):
        lr = random_cube(1, 4, height, 6)
        with torch.inference_mode(), LiveBytes() as live:
            for _ in networks.stream(net, lr, Crew(1)):
                pass
        peaks.append(live.peak)
    assert peaks[1] - peaks[0] == 20 * 4 * 6 * 8, "LR itself"


@pytest.mark.parametrize("kept", ["both", "convolution", "sum"])
def test_gradients_of_relu_and_sum_in_place(kept: str) -> None:
    torch.manual_seed(0)
    x, plus = torch.randn(2, 3, 4, dtype=torch.float64), torch.randn(2, 3, 4, dtype=torch.float64)
    x.requires_grad_(kept != "sum")
    plus.requires_grad_(kept != "convolution")
    torch.testing.assert_close(finish(x.clone(), True, plus), F.relu(x) + plus)
    assert torch.autograd.gradcheck(lambda x, plus: finish(x.clone(), True, plus), (x, plus))


def test_a_sum_needs_no_equal_pieces() -> None:
    new, old = torch.rand(1, 2, 7, 3, 1), torch.rand(1, 2, 7, 3, 1)
    for first, second in ((1, 7), (7, 1), (2, 3), (3, 2)):
        streams = [
            cut(iter([Piece(x.clone(), True, True)]), rows) for x, rows in ((new, first), (old, second))
        ]
        total = torch.cat([piece.values for piece in Sum(*streams)], dim=2)
        torch.testing.assert_close(total, new + old)


def test_windows_know_their_neighbours_and_the_border() -> None:
    x = torch.arange(1.0, 6.0).reshape(1, 1, 5, 1, 1)
    windows = list(Windows(cut(iter([Piece(x, True, True)]), 2)))
    assert [piece.values.flatten().tolist() for piece in windows] == [[0, 1, 2], [1, 2, 3, 4], [3, 4, 5, 0]]
    assert [(piece.first, piece.last) for piece in windows] == [(True, False), (False, False), (False, True)]


@pytest.mark.parametrize("tile", [None, 9])
def test_whole_scenes(tile: int | None) -> None:
    """With tiles, whose inner borders are no borders of the scene."""
    net = random_network(2, torch.float32, scale=3, modules=1, units=1).eval()
    lr = random_cube(2, 23, 14, dtype=torch.float32)
    sr = super_resolve(net, lr.numpy(), tile=tile)
    assert_near(torch.from_numpy(sr), net(lr[None])[0].detach(), 1e-5)


def test_score() -> None:
    rng = np.random.default_rng(2)
    hr = rng.random((3, 40, 71)).astype(np.float32)
    sr = hr + 0.1 * rng.standard_normal(hr.shape).astype(np.float32)
    found = score(sr, hr)
    for name, value in plain_score(sr, hr).items():
        assert found[name] == pytest.approx(value, abs=1e-5), name


@pytest.mark.parametrize("scale", [0.25, 0.5, 2, 4])
def test_imresize(scale: float) -> None:
    values = np.random.default_rng(3).random((3, 16, 20))
    np.testing.assert_allclose(imresize(values, scale), plain_imresize(values, scale), rtol=0, atol=1e-13)
