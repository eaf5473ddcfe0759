"""The test protocol: crop, reduce, super-resolve, clip, score; finished runs, scored again."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from small_plan import TINY, small_plan

from hsisr_core.cli.report import score_table
from hsisr_core.data import Scene, load_dataset
from hsisr_core.degrade import bicubic, make_pair
from hsisr_core.errors import HsisrError
from hsisr_core.fast import bytes_needed, runner
from hsisr_core.metrics import psnr
from hsisr_core.models import ERCSR, MCNet, SSRChain, SSRNet, build_model
from hsisr_core.predict import super_resolve
from hsisr_core.runs import RunConfig, load_results, read_run
from hsisr_core.training import (
    evaluate,
    mean_scores,
    reduce_measured,
    reduced_pairs,
    rescore,
    super_resolve_clipped,
    tile_for,
    train,
)
from hsisr_core.training.cost import LiveBytes


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


def test_what_touches_a_masked_pixel_is_not_scored() -> None:
    cube = load_dataset("indian-pines").scene("north-east").cube[:, :48]
    mask = np.ones(cube.shape[1:], np.bool_)
    mask[24:], mask[2, 3] = False, False
    rows = []
    for nothing in (0, 1):
        pair = reduce_measured(np.where(mask, cube, nothing), mask, 2, "it")
        rows += evaluate(build_model("bicubic", 2, len(cube)), {"a": pair}, "bicubic", bicubic=False)
    assert rows[0] == rows[1]
    # LR rows from 10 on have a kernel that reaches row 24, and SR is made of 4 LR rows; LR 3 x 4 touches the hole
    scored = np.isfinite(pair[1]).all(axis=0)
    expected = np.zeros_like(mask)
    expected[:17] = True
    expected[:9, :11] = False
    np.testing.assert_array_equal(scored, expected)
    assert rows[0]["masked_pixels"] == (~expected).sum()
    # as of the measured part alone, but for its own border
    _, hr = part = make_pair(cube[:, :24], 2)
    sr = bicubic(part[0], 2).clip(0, 1)
    assert rows[0]["psnr"] == pytest.approx(psnr(sr, hr, expected[:24]), abs=0.05)


def test_a_pixel_whose_blur_touches_a_masked_one_is_not_scored() -> None:
    cube, mask = np.random.default_rng(0).random((2, 32, 40)), np.ones((32, 40), np.bool_)
    mask[24:] = False
    for blur, rows in ((None, 17), (1.0, 15)):
        lr, hr = reduce_measured(cube, mask, 2, "it", blur)
        assert np.isfinite(hr).all(axis=(0, 2)).tolist() == [row < rows for row in range(32)]
        np.testing.assert_allclose(lr[:, :8], make_pair(cube, 2, blur)[0][:, :8])


def test_a_test_image_without_a_window_of_measured_pixels_is_refused() -> None:
    mask = np.zeros((48, 48), np.bool_)
    mask[:12] = True
    with pytest.raises(HsisrError, match="Test image a has too few measured pixels"):
        reduce_measured(np.ones((2, 48, 48), np.float32), mask, 4, "Test image a")


def test_cubes_are_clipped_and_scored_so() -> None:
    pairs = reduced_pairs(load_dataset("indian-pines"), 2)
    (lr, hr) = pairs["north-east"]
    model = build_model("bicubic", 2, len(lr))
    bright = {"a": (lr * 4, np.clip(hr * 4, 0, 1))}
    assert super_resolve(model, lr * 4).max() > 1
    assert super_resolve_clipped(model, lr * 4).max() == 1
    (row,) = evaluate(model, bright, "bicubic", bicubic=False)
    assert row["psnr"] == pytest.approx(psnr(super_resolve_clipped(model, lr * 4), bright["a"][1]))


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"scale": 2}, (31, 256, 256)),
        ({"scale": 4}, (31, 128, 128)),
        ({"scale": 3, "features": 16}, (103, 200, 300)),
        ({"scale": 2, "units": 1, "global_residual": False}, (31, 256, 256)),
        ({"scale": 4, "features": 8, "modules": 1}, (31, 900, 900)),  # SR outweighs the rows
        ({"kind": SSRChain, "scale": 2}, (31, 256, 256)),
        ({"kind": SSRChain, "scale": 4, "features": 32, "modules": 8}, (31, 128, 128)),
        *(
            ({"kind": partial(kind, weight_norm=False), "scale": scale, "features": features}, shape)
            for kind in (MCNet, ERCSR)
            for scale, features, shape in (
                (2, 64, (31, 64, 256)),
                (4, 16, (31, 64, 64)),
                (4, 32, (31, 16, 64)),  # less than the rows that could wait
                (2, 32, (31, 40, 2000)),  # row by row
            )
        ),
    ],
)
def test_inference_holds_what_it_says(options: dict[str, Any], shape: tuple[int, int, int]) -> None:
    kind = options.get("kind", partial(SSRNet, weight_norm=False))
    model = kind(**{key: value for key, value in options.items() if key != "kind"}).to("meta")
    with LiveBytes() as live, torch.inference_mode():
        runner(model)(torch.zeros(1, *shape, device="meta"))
    assert live.peak == pytest.approx(bytes_needed(model, *shape), rel=0.15)


def test_scores_are_those_of_the_training(tmp_path: Path) -> None:
    (plan,) = small_plan(tmp_path, "[{seed: 1}]", steps=3)
    train(plan.config, tmp_path / "runs", plan.dataset, progress=False)
    again = rescore(read_run(plan.folder))
    first = load_results(tmp_path / "runs")
    for column in ("run", "image", "result", "seed", "trained_steps"):
        assert again[column].tolist() == first[column].tolist()
    assert again["psnr"].tolist() == pytest.approx(first["psnr"].tolist(), abs=1e-6)
    assert set(again["split"]) == {"indian-pines"}


def test_the_self_ensemble_is_scored_beside(tmp_path: Path) -> None:
    config = RunConfig.from_preset(str(TINY), method="gdrrn", recursions=1, steps=2, evaluate_every=None)
    scored = rescore(train(config, tmp_path, progress=False), self_ensemble=True)
    assert scored["result"].tolist() == ["bicubic", "gdrrn", "gdrrn+"]
    table = score_table(scored)
    assert sum(line.startswith("gdrrn+ ") for line in table.splitlines()) == 2  # the image and the mean
