"""The network as a stream of rows: the same output for pieces of every height, and no layer holds the scene."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hsisr_core.fast import convolution as layers
from hsisr_core.fast.rows import Added, Piece, Windows, cut
from hsisr_core.models import SSRNet, ssrnet
from hsisr_core.training.estimate import LiveBytes

SWITCHES: list[dict[str, Any]] = [
    {},
    {"block": "standard"},
    {"local_fusion": False},
    {"global_residual": False},
    {"order": "spectral-first", "weight_norm": False},
    {"modules": 2, "units": 2},
    {"scale": 3},
    {"scale": 4, "units": 1},
]


def network(**switches: Any) -> SSRNet:
    torch.manual_seed(3)
    model = SSRNet(**{"scale": 2, "features": 5, "modules": 1, "init": "he", **switches}).double().eval()
    for name, value in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(value, std=0.1)
    return model


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
@pytest.mark.parametrize("height", [1, 2, 13])
@pytest.mark.parametrize("rows", [1, 2, 4, 50])
@pytest.mark.parametrize("enough", [1, 6], ids=["fours", "direct"])
def test_stream_equals_the_scene_at_once(
    switches: dict[str, Any], height: int, rows: int, enough: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "ENOUGH", enough)  # of the 5 features
    model = network(**switches)
    lr = torch.rand(2, 4, height, 6, dtype=torch.float64)
    whole = model(lr)  # gradients are on: every layer on all rows
    monkeypatch.setattr(model, "piece_rows", lambda bands, width: rows)
    with torch.inference_mode():
        streamed = list(model.stream(lr - model.mean))
        assert len(streamed) > 1 or height < 13 or rows == 50
        torch.testing.assert_close(torch.cat(streamed, dim=2) + model.mean, whole, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(model(lr), whole, rtol=1e-12, atol=1e-12)


def test_the_height_of_a_scene_costs_no_memory_but_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssrnet, "PIECE_BYTES", 1)  # pieces of one row
    model = network().folded()
    peaks = []
    for height in (60, 240):
        lr = torch.rand(1, 4, height, 6, dtype=torch.float64)
        with torch.inference_mode(), LiveBytes() as live:
            for _ in model.stream(lr):
                pass
        peaks.append(live.peak)
    assert peaks[1] - peaks[0] == (240 - 60) * lr.nbytes // 240


def test_a_stage_that_adds_needs_no_equal_pieces() -> None:
    new, old = torch.rand(1, 2, 7, 3, 1), torch.rand(1, 2, 7, 3, 1)
    for first, second in ((1, 7), (7, 1), (2, 3), (3, 2)):
        streams = [
            cut(iter([Piece(x.clone(), True, True)]), rows) for x, rows in ((new, first), (old, second))
        ]
        total = torch.cat([piece.values for piece in Added(*streams)], dim=2)
        torch.testing.assert_close(total, new + old)


def test_windows_know_their_neighbours_and_the_border() -> None:
    x = torch.arange(1.0, 6.0).reshape(1, 1, 5, 1, 1)
    windows = list(Windows(cut(iter([Piece(x, True, True)]), 2)))
    assert [piece.values.flatten().tolist() for piece in windows] == [[0, 1, 2], [1, 2, 3, 4], [3, 4, 5, 0]]
    assert [(piece.first, piece.last) for piece in windows] == [(True, False), (False, False), (False, True)]
