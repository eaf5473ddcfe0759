"""bfloat16 in the modules alone, and only where there is something that computes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hsisr_core.errors import HsisrError
from hsisr_core.fast import doors, super_resolve
from hsisr_core.models import SSRNet, build_model

SINGLE, HALF = torch.float32, torch.bfloat16


def network(**switches: Any) -> SSRNet:
    torch.manual_seed(0)
    return SSRNet(2, **{"features": 8, "modules": 2, "units": 2, **switches})


def cube(height: int = 9, width: int = 7) -> np.ndarray:
    return np.random.default_rng(0).random((4, height, width), np.float32)


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """Operands and results in bfloat16, products and sums in float32, as such a processor does it; what each took."""
    monkeypatch.setattr(doors, "computes_bf16", lambda: True)
    types: list[torch.dtype] = []
    for name in ("conv2d", "conv3d", "linear"):
        exact = getattr(F, name)

        def rounded(x: Any, weight: Any, bias: Any = None, exact: Any = exact, **options: Any) -> Any:
            assert x.dtype == weight.dtype
            assert bias is None or bias.dtype == x.dtype
            types.append(x.dtype)
            return exact(x.float(), weight.float(), bias if bias is None else bias.float(), **options).to(
                x.dtype
            )

        monkeypatch.setattr(F, name, rounded)
    return types


@pytest.mark.parametrize(
    "switches", [{}, {"block": "standard"}, {"global_residual": False, "local_fusion": False}]
)
def test_the_modules_alone_are_rounded(switches: dict[str, Any], emulated: list[torch.dtype]) -> None:
    net = network(**switches)
    lr = cube()
    exact = super_resolve(net, lr)
    assert set(emulated) == {SINGLE}
    emulated.clear()
    rounded = super_resolve(net, lr, precision="bf16")
    assert rounded.dtype == np.float32
    assert 0 < np.abs(rounded - exact).max() < 0.02 * np.abs(exact).max()
    # the head and the tail, and nothing between them
    kinds = [first for first, second in zip(emulated, [*emulated[1:], None], strict=True) if first != second]
    assert HALF in kinds
    assert kinds[0] == kinds[-1] == SINGLE


def test_what_the_modules_leave_at_zero_is_exact(emulated: list[torch.dtype]) -> None:
    """The head's features are added in full precision."""
    net = network()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("block.2.bias"):
                parameter.fill_(-1e6)
    lr = cube()
    np.testing.assert_array_equal(super_resolve(net, lr, precision="bf16"), super_resolve(net, lr))


@pytest.mark.parametrize("tile", [None, 5])
def test_tiles_and_self_ensemble_take_it_too(tile: int | None, emulated: list[torch.dtype]) -> None:
    net = network(modules=1, units=1)
    super_resolve(net, cube(8, 6), tile, self_ensemble=True, precision="bf16")
    assert HALF in emulated


@pytest.mark.parametrize(
    ("net", "precision", "words"),
    [
        (SSRNet(2, features=4), "bf16", "AVX512-BF16 or AMX"),
        (build_model("bicubic", 2, 3), "bf16", "SSRNet and SSRChain, not for Bicubic"),
        (build_model("mcnet", 2, 3, features=4), "bf16", "SSRNet and SSRChain, not for MCNet"),
        (SSRNet(2, features=4), "fp16", "'fp16' is unknown"),
    ],
)
def test_what_is_not_here_is_refused(
    net: Any, precision: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False})
    with pytest.raises(HsisrError, match=words):
        super_resolve(net, np.zeros((3, 6, 6), np.float32), precision=precision)


@pytest.mark.parametrize("name", ["avx512_bf16", "amx_bf16"])
def test_processors_that_have_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {name: True})
    assert doors.computes_bf16()
