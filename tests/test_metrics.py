"""Metrics against the reference numbers, scikit-image, and values worked out by hand."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from hsisr_core.degrade import bicubic, make_pair
from hsisr_core.errors import HsisrError
from hsisr_core.metrics import ergas, mpsnr, psnr, rmse, sam, score, score_maps, ssim

FIXTURES = json.loads((Path(__file__).parent / "reference" / "fixtures.json").read_text())


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """(SR, HR) as fixtures.json tells to build them."""
    y, x = np.mgrid[:64, :64]
    b = np.arange(31)[:, None, None]
    wave = np.sin(2 * np.pi * (x / 64 * (1 + b / 31) + 0.1 * b / 31)) * np.cos(2 * np.pi * y / 64)
    hr = np.clip(0.5 + 0.3 * wave + 0.1 * (b / 30), 0, 1).astype(np.float32)
    noise = (0.02 * np.cos(0.9 * x + 0.37 * y) * (1 + b / 31)).astype(np.float32)
    return np.clip(hr + noise, 0, 1), hr


def test_fixture_values(pair: tuple[np.ndarray, np.ndarray]) -> None:
    expected = FIXTURES["metric_fixture"]["values"]
    assert psnr(*pair) == pytest.approx(expected["psnr_global_f64"], abs=1e-9)
    assert mpsnr(*pair) == pytest.approx(expected["mpsnr"], abs=1e-9)
    sr, hr = (cube.astype(np.float64) for cube in pair)
    assert ssim(sr, hr) == pytest.approx(expected["ssim_skimage"], abs=1e-9)
    assert ssim(*pair) == pytest.approx(expected["ssim_skimage"], abs=1e-6)  # in single precision
    assert sam(*pair) == pytest.approx(expected["sam_f64_deg"], abs=1e-8)
    assert rmse(*pair) == pytest.approx(expected["rmse"], abs=1e-12)
    # The authors' own functions agree to the digits they print.
    assert ssim(*pair) == pytest.approx(expected["ssim_authors"], abs=1e-5)
    assert sam(*pair) == pytest.approx(expected["sam_authors_deg"], abs=1e-4)


def test_score_is_the_single_functions_after_clipping(pair: tuple[np.ndarray, np.ndarray]) -> None:
    sr, hr = pair
    wild = sr.astype(np.float64) * 2.5 - 0.6  # leaves [0, 1] on both sides
    clipped = np.clip(wild, 0, 1)
    assert score(wild, hr, scale=3) == pytest.approx(
        {
            "psnr": psnr(clipped, hr),
            "mpsnr": mpsnr(clipped, hr),
            "ssim": ssim(clipped, hr),
            "sam": sam(clipped, hr),
            "rmse": rmse(clipped, hr),
            "ergas": ergas(clipped, hr, 3),
            "zero_pixels": 0,
        },
        rel=1e-12,
    )
    assert psnr(wild, hr) < psnr(clipped, hr) - 1
    assert isinstance(score(sr, hr)["zero_pixels"], int)


def test_psnr_is_global_and_mpsnr_is_per_band() -> None:
    hr = np.full((2, 3, 4), 0.5)
    sr = hr.copy()
    sr[0] += 0.1  # mean squared errors 1e-2 and 1e-4
    sr[1] += 0.01
    assert psnr(sr, hr) == pytest.approx(-10 * math.log10(0.00505))
    assert mpsnr(sr, hr) == pytest.approx(30)
    assert rmse(sr, hr) == pytest.approx(math.sqrt(0.00505))


def test_identical_cubes(pair: tuple[np.ndarray, np.ndarray]) -> None:
    hr = pair[1]
    assert score(hr, hr) == {
        "psnr": math.inf,
        "mpsnr": math.inf,
        "ssim": pytest.approx(1, abs=1e-12),
        "sam": 0.0,
        "rmse": 0.0,
        "ergas": 0.0,
        "zero_pixels": 0,
    }


def test_one_band_identical_makes_mpsnr_infinite_only() -> None:
    hr = np.full((2, 2, 2), 0.5)
    sr = hr.copy()
    sr[1] = 0.6
    assert mpsnr(sr, hr) == math.inf
    assert psnr(sr, hr) == pytest.approx(-10 * math.log10(0.005))


@pytest.mark.parametrize("shape", [(2, 11, 11), (3, 11, 40), (1, 43, 53), (2, 75, 12)])
def test_ssim_equals_skimage(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(3)
    hr = rng.random(shape)
    sr = hr + 0.2 * rng.standard_normal(shape)
    expected = np.mean(
        [
            structural_similarity(
                a, b, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
            )
            for a, b in zip(sr, hr, strict=True)
        ]
    )
    assert ssim(sr, hr) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shape", [(2, 10, 40), (2, 40, 10)])
def test_ssim_needs_eleven_pixels(shape: tuple[int, int, int]) -> None:
    with pytest.raises(HsisrError, match="needs 11 pixels a side"):
        ssim(np.zeros(shape), np.ones(shape))


@pytest.mark.parametrize("degrees", [1e-7, 1e-3, 0.5, 45.0, 89.0, 120.0, 179.0])
def test_sam_of_a_known_angle(degrees: float) -> None:
    angle = math.radians(degrees)
    hr = np.array([0.8, 0.0]).reshape(2, 1, 1)
    sr = 0.3 * np.array([math.cos(angle), math.sin(angle)]).reshape(2, 1, 1)
    assert sam(sr, hr) == pytest.approx(degrees, rel=1e-9)


def test_sam_is_the_mean_over_pixels_across_chunks() -> None:
    rng = np.random.default_rng(4)
    hr, sr = rng.random((5, 70, 90)), rng.random((5, 70, 90))  # 6300 pixels: more than one chunk
    cosine = (hr * sr).sum(0) / np.linalg.norm(hr, axis=0) / np.linalg.norm(sr, axis=0)
    assert sam(sr, hr) == pytest.approx(np.degrees(np.arccos(cosine)).mean(), rel=1e-10)


def test_zero_pixels_are_left_out_and_counted() -> None:
    hr = np.full((3, 16, 16), 0.5)
    hr[:, :2] = 0  # 12.5 % of the pixels
    assert sam(hr, hr) == 0
    noisy = hr + 0.1  # SR is not zero there, which changes nothing in SAM
    result = score(noisy, hr)
    assert result["sam"] == pytest.approx(0, abs=1e-6)
    assert result["zero_pixels"] == 32


def test_a_zero_spectrum_of_sr_alone_is_ninety_degrees() -> None:
    hr = np.full((3, 16, 16), 0.5)
    sr = hr.copy()
    sr[:, :4] = 0
    assert sam(sr, hr) == pytest.approx(22.5)
    assert score(sr, hr)["zero_pixels"] == 0


def test_an_all_zero_reference() -> None:
    zeros, ones = np.zeros((2, 12, 12)), np.ones((2, 12, 12))
    assert math.isnan(sam(ones, zeros))
    assert math.isnan(ergas(ones, zeros, 2))
    with pytest.raises(HsisrError, match="zero everywhere"):
        score(ones, zeros)


def test_ergas_by_hand() -> None:
    hr = np.empty((3, 2, 2))
    hr[0], hr[1], hr[2] = 0.2, 0.5, 0.0
    sr = hr + np.array([0.02, 0.1, 0.3])[:, None, None]
    # Relative errors 0.1 and 0.2; the third band has no mean and is left out.
    assert ergas(sr, hr, 4) == pytest.approx(100 / 4 * math.sqrt((0.01 + 0.04) / 2))
    assert ergas(sr, hr, 2) == pytest.approx(2 * ergas(sr, hr, 4))


@pytest.mark.parametrize("scale", [0, -1, math.nan, True, "2"])
def test_ergas_refuses_a_bad_scale(scale: Any) -> None:
    cube = np.ones((1, 12, 12))
    with pytest.raises(HsisrError, match="scale is"):
        ergas(cube, cube, scale)
    with pytest.raises(HsisrError, match="scale is"):
        score(cube, cube, scale)


@pytest.mark.parametrize("metric", [psnr, mpsnr, rmse, ssim, sam, score])
def test_input_checks(metric: Callable[..., Any]) -> None:
    good = np.full((2, 12, 13), 0.5)
    with pytest.raises(HsisrError, match=r"\(2, 12, 13\).*\(2, 12, 12\)"):
        metric(good, good[:, :, :12])
    with pytest.raises(HsisrError, match=r"\(12, 13\)"):
        metric(good[0], good[0])
    for value in (math.nan, math.inf):
        bad = good.copy()
        bad[1, 3, 3] = value
        with pytest.raises(HsisrError, match="SR of shape"):
            metric(bad, good)
        with pytest.raises(HsisrError, match="HR of shape"):
            metric(good, bad)
    with pytest.raises(HsisrError, match="type"):
        metric(good.astype(complex), good)


def test_masked_pixels_are_left_out(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """Of a scene that is five eighths no-data every score is that of its measured part alone."""
    sr, hr = (cube.copy() for cube in pair)
    mask = np.zeros((64, 64), np.bool_)
    mask[3:27] = True
    sr[:, ~mask], hr[:, ~mask] = 7, np.nan
    part = pair[0][:, 3:27], pair[1][:, 3:27]
    for metric in (psnr, mpsnr, rmse, ssim, sam):
        assert metric(sr, hr, mask=mask) == pytest.approx(metric(*part), rel=1e-6)
    assert score(sr, hr, 2, mask) == pytest.approx(score(*part, 2), rel=1e-6)
    assert ergas(sr, hr, 2, mask) == pytest.approx(ergas(*part, 2))
    holed = np.ones((64, 64), np.bool_)
    holed[30, 31] = False
    windows = score_maps(*pair)["ssim"][5:-5, 5:-5]
    windows[20:31, 21:32] = np.nan
    assert ssim(*pair, holed) == pytest.approx(np.nanmean(windows), abs=1e-6)


def test_a_mask_that_fits_nothing_is_refused(pair: tuple[np.ndarray, np.ndarray]) -> None:
    masks: list[Any] = [np.ones((64, 63), np.bool_), np.ones((64, 64)), np.zeros((64, 64), np.bool_)]
    for mask in masks:
        with pytest.raises(HsisrError, match="expected bool of shape"):
            psnr(*pair, mask)
    stripes = np.broadcast_to(np.arange(64) % 10 > 0, (64, 64))
    with pytest.raises(HsisrError, match="there is no SSIM"):
        score(*pair, mask=stripes)


def test_score_refuses_counts() -> None:
    hr = np.random.default_rng(5).random((2, 12, 12)) * 65535
    with pytest.raises(HsisrError, match="full range"):
        score(hr / 65535, hr)


def test_input_is_not_changed(pair: tuple[np.ndarray, np.ndarray]) -> None:
    sr, hr = pair[0] + 0.7, pair[1].copy()
    before = sr.copy()
    score(sr, hr)
    np.testing.assert_array_equal(sr, before)
    np.testing.assert_array_equal(hr, pair[1])


@pytest.mark.filterwarnings("error")
def test_any_memory_layout_gives_the_same_score(pair: tuple[np.ndarray, np.ndarray]) -> None:
    sr, hr = pair
    expected = score(sr, hr)
    frozen = hr.copy()
    frozen.flags.writeable = False
    assert score(sr, frozen) == expected
    assert score(np.asfortranarray(sr), hr) == expected
    assert score(sr[:, ::-1, ::-1], hr[:, ::-1, ::-1]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("shape", [(2, 11, 60), (1, 59, 11), (2, 112, 13)])
def test_ssim_in_single_precision(shape: tuple[int, int, int]) -> None:
    """One block of the filter, the first value of a second, and several."""
    rng = np.random.default_rng(7)
    exact = rng.random(shape)
    hr = exact.astype(np.float32)
    sr = (exact + 0.1 * rng.standard_normal(shape)).astype(np.float32)
    in_double = ssim(sr.astype(np.float64), hr.astype(np.float64))
    assert ssim(sr, hr) == pytest.approx(in_double, abs=1e-6)
    assert ssim(hr, hr) == 1
    assert ssim(sr, hr.astype(np.float64)) == in_double


@pytest.mark.parametrize("shape", [(3, 20, 65), (2, 11, 34)])
def test_maps_average_to_the_metrics(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(6)
    hr = rng.random(shape)
    sr = hr + 0.1 * rng.standard_normal(shape)
    hr[:, 2, 5] = sr[:, 7, 7] = 0
    maps = score_maps(sr, hr)
    assert {name: values.shape for name, values in maps.items()} == dict.fromkeys(maps, shape[1:])
    assert -10 * np.log10(maps["mse"].mean()) == pytest.approx(psnr(sr, hr), abs=1e-12)
    assert np.nanmean(maps["ssim"]) == pytest.approx(ssim(sr, hr), abs=1e-12)
    assert np.isfinite(maps["ssim"]).sum() == (shape[1] - 10) * (shape[2] - 10)
    expected = structural_similarity(
        sr[0], hr[0], data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )[1]
    one_band = score_maps(sr[:1], hr[:1])["ssim"]
    np.testing.assert_allclose(one_band[5:-5, 5:-5], expected[5:-5, 5:-5], atol=1e-12)
    assert np.nanmean(maps["sam"]) == pytest.approx(sam(sr, hr), abs=1e-12)
    assert np.argwhere(np.isnan(maps["sam"])).tolist() == [[2, 5]]
    assert maps["sam"][7, 7] == 90


@pytest.mark.skipif(
    "HSISR_DATA" not in os.environ, reason="needs the real scenes: set HSISR_DATA to their folder"
)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_on_stuffed_toys(scale: int) -> None:
    from hsisr_core.data import read_scene

    scene = read_scene(Path(os.environ["HSISR_DATA"]) / "cave_sample" / "stuffed_toys_ms")
    expected = FIXTURES["bicubic_on_stuffed_toys"][f"x{scale}"]
    lr, hr = make_pair(scene.cube, scale)
    result = score(bicubic(lr, scale), hr, scale)
    assert result["psnr"] == pytest.approx(expected["psnr"], abs=1e-3)
    assert result["mpsnr"] == pytest.approx(expected["mpsnr"], abs=1e-3)
    assert result["ssim"] == pytest.approx(expected["ssim"], abs=1e-4)
    assert result["sam"] == pytest.approx(expected["sam_f64"], abs=1e-3)
