"""The test protocol: crop, reduce, restore, clip, score."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hsisr_core.data import Scene, load_dataset
from hsisr_core.fast import bytes_needed, runner
from hsisr_core.metrics import psnr
from hsisr_core.models import SSRNet, build_model
from hsisr_core.predict import super_resolve
from hsisr_core.training.estimate import LiveBytes
from hsisr_core.training.evaluate import evaluate, mean_scores, reduced_pairs, restore, tile_for


def large_dataset() -> SimpleNamespace:
    cube = np.random.default_rng(0).random((2, 520, 530)).astype(np.float32)
    scene = Scene("big", cube, np.array([500.0, 600.0]), 1.0, "made for this test")
    return SimpleNamespace(test=["big"], scene=lambda name: scene)


@pytest.mark.parametrize(("scale", "side"), [(2, 512), (3, 510), (4, 512)])
def test_the_top_left_512_then_a_multiple_of_the_scale(scale: int, side: int) -> None:
    dataset = large_dataset()
    lr, hr = reduced_pairs(dataset, scale)["big"]  # type: ignore[arg-type]
    assert hr.shape == (2, side, side)
    assert lr.shape == (2, side // scale, side // scale)
    np.testing.assert_array_equal(hr, dataset.scene("big").cube[:, :side, :side])


def test_restored_cubes_are_clipped_and_scored_so() -> None:
    pairs = reduced_pairs(load_dataset("indian-pines"), 2)
    (lr, hr) = pairs["north-east"]
    model = build_model("bicubic", 2, len(lr))
    bright = {"a": (lr * 4, np.clip(hr * 4, 0, 1))}
    assert super_resolve(model, lr * 4).max() > 1
    assert restore(model, lr * 4).max() == 1
    (row,) = evaluate(model, bright, "bicubic", bicubic=False)
    assert row["psnr"] == pytest.approx(psnr(restore(model, lr * 4), bright["a"][1]))


def test_bicubic_stands_beside_the_method_and_means_are_over_images() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(1)
    pairs = {name: (rng.random((3, 8, 8)), rng.random((3, 16, 16))) for name in ("a", "b")}
    rows = evaluate(SSRNet(2, features=4, modules=1), pairs, "ssrnet")
    assert [(row["image"], row["result"]) for row in rows] == [
        ("a", "bicubic"), ("a", "ssrnet"), ("b", "bicubic"), ("b", "ssrnet"),
    ]  # fmt: skip
    assert mean_scores(rows, "ssrnet")["psnr"] == pytest.approx((rows[1]["psnr"] + rows[3]["psnr"]) / 2)


def test_tiles_only_where_memory_asks_for_them() -> None:
    small, large = np.zeros((31, 36, 36), np.float32), np.broadcast_to(np.float32(0), (31, 4096, 4096))
    model = SSRNet(2)
    assert tile_for(model, small) is None
    tile = tile_for(model, large)
    assert tile is not None
    side = tile + 2 * model.halo
    assert bytes_needed(model, 31, side, side) <= 3e9 < bytes_needed(model, 31, side + 1, side + 1)
    assert tile_for(build_model("bicubic", 2, 31), large[:, :512, :512]) is None
    assert tile_for(model, large[:, :, :512]) is None  # the height of a scene costs little


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"scale": 2}, (31, 256, 256)),
        ({"scale": 4}, (31, 128, 128)),
        ({"scale": 3, "features": 16}, (103, 200, 300)),
        ({"scale": 2, "modules": 5, "local_fusion": False}, (31, 256, 256)),
        ({"scale": 2, "units": 1, "global_residual": False}, (31, 256, 256)),
        ({"scale": 4, "features": 8, "modules": 1}, (31, 900, 900)),  # SR outweighs the rows
    ],
)
def test_inference_holds_what_it_says(options: dict[str, Any], shape: tuple[int, int, int]) -> None:
    model = SSRNet(**options, weight_norm=False).to("meta")
    with LiveBytes() as live, torch.inference_mode():
        runner(model)(torch.zeros(1, *shape, device="meta"))
    assert live.peak == pytest.approx(bytes_needed(model, *shape), rel=0.15)
