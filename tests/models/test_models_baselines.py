"""GDRRN, 3D-FCNN and EDSR: counts by hand, values, reach, borders, any number of bands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hsisr_core.errors import HsisrError
from hsisr_core.metrics import psnr
from hsisr_core.models import (
    EDSR,
    FCNN3D,
    GDRRN,
    MODELS,
    Bicubic,
    SuperResolver,
    build_model,
    count_parameters,
    multiply_adds,
    option_names,
)
from hsisr_core.predict import super_resolve
from hsisr_core.runs.config import RunConfig
from hsisr_core.study.anatomy import reach
from hsisr_core.training import evaluate, super_resolve_clipped, tile_for

SMALL: list[tuple[str, dict[str, Any]]] = [
    ("gdrrn", {"features": 6, "recursions": 2}),
    ("3d-fcnn", {"features": 6}),
    ("3d-fcnn", {"features": 6, "keep_size": True}),
    ("edsr", {"features": 6, "blocks": 1}),
    ("mcnet", {"features": 4}),
    ("sfcsr", {"features": 4}),
    ("ercsr", {"features": 4}),
    ("ssrchain", {"features": 4, "modules": 1}),
]


def small(name: str, options: dict[str, Any], scale: int = 2, bands: int = 10, **more: Any) -> SuperResolver:
    torch.manual_seed(0)
    model = build_model(name, scale, bands, **(options | more))
    model.set_mean(torch.linspace(0.2, 0.6, bands))
    return model


def cube(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape).astype(np.float32)


def conv(inputs: int, outputs: int) -> int:
    """Weights and biases of a 3x3 convolution."""
    return 9 * inputs * outputs + outputs


@pytest.mark.parametrize("bands", [31, 33, 103, 200])
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_parameters_to_the_digit(scale: int, bands: int) -> None:
    enlarge = {4: 2, 8: 3}[scale] * conv(64, 256) if scale > 3 else conv(64, 64 * scale**2)
    by_hand = {
        "edsr": conv(bands, 64) + (2 * 16 + 1) * conv(64, 64) + enlarge + conv(64, bands),
        "gdrrn": 9 * (2 * bands * 128 + 2 * 128 * 128 // 2),
        "3d-fcnn": (64 * 9 * 9 * 7 + 64) + (32 * 64 + 32) + (9 * 32 + 9) + (9 * 5 * 5 * 3 + 1),
    }
    assert {name: count_parameters(build_model(name, scale, bands)) for name in by_hand} == by_hand


def test_parameters_of_the_paper_size() -> None:
    counts = {name: count_parameters(build_model(name, 2, 31)) for name in ("edsr", "gdrrn", "3d-fcnn")}
    assert counts == {"edsr": 1_402_143, "gdrrn": 218_880, "3d-fcnn": 39_405}


@pytest.mark.parametrize("bands", [31, 33, 103, 200])
@pytest.mark.parametrize(("name", "options"), SMALL)
def test_any_number_of_bands(name: str, options: dict[str, Any], bands: int) -> None:
    model = small(name, options, 2, bands)
    sr = model(torch.rand(1, bands, 8, 9))
    lost_bands, lost_pixels = (8, 12) if name == "3d-fcnn" and "keep_size" not in options else (0, 0)
    assert sr.shape == (1, bands - lost_bands, 16 - lost_pixels, 18 - lost_pixels)


def test_gdrrn_follows_its_figure() -> None:
    model = small("gdrrn", {"features": 6, "recursions": 2}, 3)
    lr = torch.rand(1, 10, 6, 5)
    weights = model.state_dict()
    bicubic = Bicubic(3)(lr - model.mean)

    def step(x: torch.Tensor, name: str, groups: int = 1) -> torch.Tensor:
        return F.conv2d(x, weights[f"{name}.weight"], padding=1, groups=groups)

    start = step(bicubic, "head")
    once = step(step(start.relu(), "first", 2).relu(), "second", 2) + start
    twice = step(step(once.relu(), "first", 2).relu(), "second", 2) + start
    expected = step(twice.relu(), "tail") + bicubic + model.mean
    torch.testing.assert_close(model(lr), expected)


def test_edsr_follows_its_figure() -> None:
    model = small("edsr", {"features": 6, "blocks": 1}, 4)
    lr = torch.rand(1, 10, 5, 6)
    weights = model.state_dict()

    def step(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)

    first = step(lr - model.mean, "head")
    block = step(step(first, "blocks.0.first").relu(), "blocks.0.second") + first
    x = step(block, "body_end") + first
    for index in (0, 1):
        x = F.pixel_shuffle(step(x, f"enlarge.{index}"), 2)
    torch.testing.assert_close(model(lr), step(x, "tail") + model.mean)


def test_without_padding_is_the_inside_of_with_padding() -> None:
    """The same weights with and without padding agree where the padding is not seen."""
    valid, same = (small("3d-fcnn", {"features": 6}, keep_size=keep) for keep in (False, True))
    same.load_state_dict(valid.state_dict())
    lr = torch.rand(1, 10, 9, 9)
    torch.testing.assert_close(valid(lr), valid.kept(same(lr)))


@pytest.mark.parametrize("scale", [2, 3, 4, pytest.param(8, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("name", "options"), SMALL)
def test_tiles_equal_the_whole(name: str, options: dict[str, Any], scale: int) -> None:
    model, lr = small(name, options, scale), cube(10, 17, 20)
    whole = super_resolve(model, lr)
    assert whole.shape == (10, 17 * scale, 20 * scale)
    np.testing.assert_allclose(super_resolve(model, lr, tile=4), whole, atol=1e-5)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("name", "options"), SMALL)
def test_halo_is_the_reach_of_a_pixel(name: str, options: dict[str, Any], scale: int) -> None:
    model = small(name, options, scale)
    side = 2 * model.halo + 13
    seen = reach(model, 10, side).sum(dim=0)
    rows = torch.nonzero(seen.amax(dim=1)).flatten() - side // 2
    # at x3 the middle SR pixel lies on an LR pixel, and back-projection enlarges that by one tap alone
    expected = model.halo - 2 * (name == "ssrchain" and scale == 3)
    assert max(-int(rows.min()), int(rows.max())) in (expected - 1, expected)


def test_the_margin_is_nan_in_a_whole_cube() -> None:
    model, lr = small("3d-fcnn", {"features": 6}), cube(10, 12, 14)
    for ensemble in (False, True):
        sr = super_resolve_clipped(model, lr, ensemble)
        assert sr.shape == (10, 24, 28)
        kept = np.zeros(sr.shape, bool)
        kept[4:6, 6:18, 6:22] = True
        np.testing.assert_array_equal(np.isfinite(sr), kept)
        assert model.kept(sr).shape == (2, 12, 16)


def test_scores_are_of_what_is_kept_for_bicubic_too() -> None:
    model, lr, hr = small("3d-fcnn", {"features": 6}), cube(10, 12, 14), cube(10, 24, 28)
    rows = evaluate(model, {"a": (lr, hr)}, "3d-fcnn", self_ensemble=True)
    assert [row["result"] for row in rows] == ["bicubic", "3d-fcnn", "3d-fcnn+"]
    assert {(row["scored_bands"], row["scored_border"]) for row in rows} == {(2, 6)}
    inside = (slice(4, 6), slice(6, 18), slice(6, 22))
    assert rows[0]["psnr"] == pytest.approx(psnr(super_resolve_clipped(Bicubic(2), lr)[inside], hr[inside]))
    assert rows[1]["psnr"] == pytest.approx(psnr(super_resolve_clipped(model, lr)[inside], hr[inside]))
    assert rows[2]["psnr"] == pytest.approx(psnr(super_resolve_clipped(model, lr, True)[inside], hr[inside]))


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize(("name", "options"), SMALL[:3])
def test_interpolation_start_is_bicubic(name: str, options: dict[str, Any], scale: int) -> None:
    model, lr = small(name, options, scale, init="interpolation"), torch.rand(1, 10, 14, 15)
    inner = (..., slice(12, -12), slice(12, -12))  # padding with the mean shows at the border
    bands = slice(4, -4) if name == "3d-fcnn" else slice(None)
    sr = super_resolve(model, lr[0].numpy())[inner][bands]
    np.testing.assert_allclose(sr, Bicubic(scale)(lr)[0].numpy()[inner][bands], atol=1e-6)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_interpolation_start_of_edsr_keeps_a_parabola(scale: int) -> None:
    model = small("edsr", {"features": 12, "blocks": 1}, scale, init="interpolation")
    side = 12

    def surface(n: int) -> torch.Tensor:
        place = (torch.arange(n) + 0.5) / n
        return (place[:, None] ** 2 - place[None] * place[:, None] + 0.3 * place[None]).expand(1, 10, n, n)

    inner = (..., slice(2 * scale, -2 * scale), slice(2 * scale, -2 * scale))
    sr = model(surface(side))[inner]
    # x2 twice: the second parabola meets the first one's values, exact up to rounding
    torch.testing.assert_close(sr, surface(side * scale)[inner], atol=1e-5, rtol=0)


def test_interpolation_start_of_edsr_with_few_features_is_the_mean_of_neighbours() -> None:
    lr = torch.rand(1, 7, 9, 9)
    few = EDSR(2, 7, features=3, blocks=1, init="interpolation").eval()
    many = EDSR(2, 7, features=7, blocks=1, init="interpolation").eval()
    groups = [[0, 1, 2], [3, 4], [5, 6]]
    means = torch.cat([lr[:, group].mean(1, keepdim=True).repeat(1, len(group), 1, 1) for group in groups], 1)
    torch.testing.assert_close(few(lr), many(means), rtol=0, atol=1e-6)


def test_interpolation_start_learns_everywhere() -> None:
    """Zero weights must not be dead: after two steps every layer has moved."""
    for name, options in SMALL:
        model = small(name, options | {"features": 12}, init="interpolation")
        before = {key: value.clone() for key, value in model.named_parameters()}
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(3):
            lr = torch.rand(1, 10, 7, 7)
            (model(lr) - 0.3).abs().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        still = [key for key, value in model.named_parameters() if torch.equal(value, before[key])]
        assert not still, (name, still)


def test_he_start_of_gdrrn_is_that_of_its_authors() -> None:
    torch.manual_seed(0)
    model = build_model("gdrrn", 2, 31, init="he")
    assert isinstance(model, GDRRN)
    assert model.first.weight.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)
    assert model.tail.weight.std().item() == pytest.approx((2 / (9 * 31)) ** 0.5, rel=0.02)


def test_multiply_adds_by_hand() -> None:
    def total(name: str, **options: Any) -> int:
        return multiply_adds(build_model(name, 2, 31, **options), 31, 8, 8)

    assert total("gdrrn") == 16 * 16 * 9 * (2 * 31 * 128 + 9 * 2 * 128 * 64), "nine times, in two groups"
    head, inside = 25 * 8 * 8 * 64 * 567, 25 * 8 * 8 * (64 * 32 + 32 * 9)
    assert total("3d-fcnn") == head + inside + 23 * 4 * 4 * 9 * 75
    low = 31 * 64 + 33 * 64 * 64 + 64 * 256
    assert total("edsr") == 9 * (8 * 8 * low + 16 * 16 * 64 * 31)


def test_tiles_where_memory_asks_for_them() -> None:
    large = np.broadcast_to(np.float32(0), (31, 256, 256))
    assert (
        tile_for(build_model("3d-fcnn", 2, 31), large, gigabytes=1) is not None
    )  # 64 features for each of 31 bands
    assert tile_for(build_model("gdrrn", 2, 31), large, gigabytes=1) is None  # 128 in all


def test_options_of_a_run_are_those_of_the_network() -> None:
    for name in MODELS:
        options = RunConfig(method=name, recursions=4, blocks=3, keep_size=True).model_options()
        assert tuple(options) == option_names(name)
    assert RunConfig(method="gdrrn", recursions=4).model_options()["recursions"] == 4
    assert "recursions" not in RunConfig(method="edsr").model_options()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: GDRRN(2, 31, features=7), "multiple of groups=2"),
        (lambda: GDRRN(2, 31, recursions=0), "recursions=0"),
        (lambda: EDSR(2, 31, blocks=0), "blocks=0"),
        (lambda: FCNN3D(2, init="xavier"), "pytorch, he, interpolation"),
        (lambda: build_model("edsr", 2, 31, modules=3), "features, blocks, init"),
        (lambda: build_model("bicubic", 2, 31, features=3), "it has: none"),
        (lambda: FCNN3D(2, features=2)(torch.rand(1, 8, 9, 9)), "8 bands .* keep_size=True"),
        (lambda: FCNN3D(2, features=2)(torch.rand(1, 9, 6, 9)), "loses 8 bands and 12 pixels"),
        (lambda: RunConfig(method="srcnn").model_options(), "'srcnn' is unknown"),
        (lambda: RunConfig(groups=0), "greater than or equal to 1"),
    ],
)
def test_wrong_options_are_one_clear_error(call: Callable[[], object], words: str) -> None:
    with pytest.raises(HsisrError, match=words):
        call()
