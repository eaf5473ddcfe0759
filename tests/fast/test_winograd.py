"""Four rows at once: the direct convolution, for every number of rows that a stream may bring."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from hsisr_core.fast import winograd
from hsisr_core.fast.convolution import convolve_views
from hsisr_core.fast.rows import Piece, cut
from hsisr_core.fast.winograd import ConvolvedRows, RowConvolution


def given(dtype: torch.dtype, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """x (2, 3, rows, 9, 5), weight and bias of 7 outputs."""
    torch.manual_seed(0)
    weight, bias = torch.randn(7, 5, 3, 3, dtype=dtype), torch.randn(7, dtype=dtype)
    return torch.randn(2, 3, rows, 9, 5, dtype=dtype), weight, bias


@pytest.mark.parametrize("chunk", [1, 300, 10**9])
@pytest.mark.parametrize("rows", [4, 12])
def test_equals_the_direct_convolution(rows: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "CHUNK", chunk)
    x, weight, bias = given(torch.float64, rows + 2)
    for part in (bias, None):
        result = RowConvolution(weight, part)(x[:, :, :2], x[:, :, 2:])
        torch.testing.assert_close(result, convolve_views(x, weight, part, (0, 1)), rtol=1e-12, atol=1e-12)


def test_the_error_in_single_precision_stays_small() -> None:
    x, weight, bias = given(torch.float64, 42)
    exact = convolve_views(x, weight, bias, (0, 1))
    single = RowConvolution(weight.float(), bias.float())(x[:, :, :2].float(), x[:, :, 2:].float())
    assert single.dtype == torch.float32
    assert float((single - exact).abs().max() / exact.abs().max()) < 2e-6


@pytest.mark.parametrize("height", [1, 4, 5, 16, 19])
@pytest.mark.parametrize("rows", [1, 3, 4, 8, 50])
def test_a_stream_of_any_pieces(height: int, rows: int) -> None:
    x, weight, bias = given(torch.float64, height)
    direct = partial(convolve_views, weight=weight, bias=bias, padding=(0, 1))
    stream = ConvolvedRows(cut(iter([Piece(x, True, True)]), rows), RowConvolution(weight, bias), direct)
    pieces = list(stream)
    assert [piece.first for piece in pieces] == [True] + [False] * (len(pieces) - 1)
    assert [piece.last for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    result = torch.cat([piece.values for piece in pieces], dim=2)
    torch.testing.assert_close(result, convolve_views(x, weight, bias, (1, 1)), rtol=1e-12, atol=1e-12)


def test_pieces_of_four_rows_need_the_direct_convolution_at_the_border_alone() -> None:
    x, weight, bias = given(torch.float64, 24)
    asked: list[int] = []

    def direct(window: Tensor) -> Tensor:
        asked.append(window.shape[2] - 2)
        return convolve_views(window, weight, bias, (0, 1))

    list(ConvolvedRows(cut(iter([Piece(x, True, True)]), 4), RowConvolution(weight, bias), direct))
    assert asked == [3, 1]
