"""The resize is MATLAB's: against exact arithmetic, the fixture, and values worked out by hand."""

from __future__ import annotations

import json
import math
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hsisr_core import degrade
from hsisr_core.degrade import bicubic, blur_cube, imresize, make_pair, resize_matrix, shrink_mask
from hsisr_core.errors import HsisrError

REFERENCE = Path(__file__).parent / "reference"
RATIOS = {
    "half": Fraction(1, 2),
    "third": Fraction(1, 3),
    "quarter": Fraction(1, 4),
    "three_quarters": Fraction(3, 4),
    "times2": Fraction(2),
    "times3": Fraction(3),
    "times4": Fraction(4),
}


def exact_matrix(length: int, out_length: int, scale: Fraction) -> np.ndarray:
    """MATLAB's resize of one axis in rational arithmetic, shape (length, out_length)."""

    def keys(t: Fraction) -> Fraction:
        t = abs(t)
        if t <= 1:
            return Fraction(3, 2) * t**3 - Fraction(5, 2) * t**2 + 1
        if t <= 2:
            return -Fraction(1, 2) * t**3 + Fraction(5, 2) * t**2 - 4 * t + 2
        return Fraction(0)

    stretch = min(scale, Fraction(1))
    reach = math.ceil(2 / stretch) + 1
    matrix = np.zeros((length, out_length))
    for i in range(out_length):
        centre = (i + Fraction(1, 2)) / scale - Fraction(1, 2)
        taps = range(math.floor(centre) - reach, math.ceil(centre) + reach + 1)
        weights = [keys(stretch * (centre - tap)) for tap in taps]
        for tap, weight in zip(taps, weights, strict=True):
            while not 0 <= tap < length:  # reflect with the edge sample repeated
                tap = -1 - tap if tap < 0 else 2 * length - 1 - tap
            matrix[tap, i] += float(weight / sum(weights))
    return matrix


@pytest.fixture(scope="module")
def fixture() -> dict[str, np.ndarray]:
    with np.load(REFERENCE / "imresize_fixture.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.mark.parametrize("name", RATIOS)
def test_imresize_equals_exact_arithmetic(fixture: dict[str, np.ndarray], name: str) -> None:
    cube, ratio = fixture["input"], RATIOS[name]
    out = imresize(cube, float(ratio))
    rows = exact_matrix(cube.shape[1], out.shape[1], ratio)
    columns = exact_matrix(cube.shape[2], out.shape[2], ratio)
    assert out.dtype == np.float64
    np.testing.assert_allclose(out, rows.T @ cube @ columns, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", RATIOS)
def test_imresize_equals_fixture(fixture: dict[str, np.ndarray], name: str) -> None:
    # The fixture's outputs are single-precision numbers, up to 1.2e-6 (times3) from exact arithmetic.
    assert np.array_equal(fixture[name], fixture[name].astype(np.float32))
    out = imresize(fixture["input"], float(RATIOS[name]))
    assert out.shape == fixture[name].shape
    np.testing.assert_allclose(out, fixture[name], rtol=0, atol=1.5e-6)


def test_imresize_halves_a_ramp_by_hand() -> None:
    # Antialiased by 2: taps at distances 0.25, 0.75, 1.25, 1.75 have weights 111, 29, -9, -3 (of 256, each
    # side), and samples -3..7 of the ramp 0 1 2 3 fold to 2 1 0 0 1 2 3 3 2 1.
    first = (-3 * 2 - 9 * 1 + 29 * 0 + 111 * 0 + 111 * 1 + 29 * 2 - 9 * 3 - 3 * 3) / 256
    np.testing.assert_allclose(imresize([[0.0, 1, 2, 3]], size=(1, 2)), [[first, 3 - first]], atol=1e-15)


def test_imresize_does_not_antialias_when_growing_and_repeats_the_edge() -> None:
    # At x2 the outputs lie at -0.25, 0.25: taps -2..1 weigh -3, 29, 111, -9 of 128, taps -1..2 the reverse,
    # samples -2 and -1 fold to samples 1 and 0.
    step = imresize([[0.0, 1, 1, 1, 1, 1]], size=(1, 12))[0]
    np.testing.assert_allclose(step[:2], [(-9 - 3) / 128, (29 - 3) / 128], atol=1e-15)
    assert step.max() > 1.05  # overshoots are kept


def test_imresize_differs_from_torch_at_the_border_only() -> None:
    cube = np.random.default_rng(0).random((2, 48, 60))
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(cube)[None], scale_factor=0.5, mode="bicubic", antialias=True
    )[0].numpy()
    difference = np.abs(imresize(cube, 0.5) - theirs)
    assert difference[:, 2:-2, 2:-2].max() < 1e-6
    assert difference.max() > 1e-2


def test_size_sets_the_scale_of_each_axis(fixture: dict[str, np.ndarray]) -> None:
    cube = fixture["input"]  # 20 by 26
    np.testing.assert_array_equal(imresize(cube, size=(10, 13)), imresize(cube, 0.5))
    mixed = imresize(cube, size=(40, 13))
    rows, columns = exact_matrix(20, 40, Fraction(2)), exact_matrix(26, 13, Fraction(1, 2))
    np.testing.assert_allclose(mixed, rows.T @ cube @ columns, atol=1e-13)
    # ceil(20 / 3) = 7: by size the factor is 7/20, by scale it stays 1/3, and the samples lie elsewhere.
    assert np.abs(imresize(cube, size=(7, 9)) - imresize(cube, 1 / 3)).max() > 1e-3


def test_a_third_of_a_multiple_of_three_is_exact() -> None:
    lengths = range(3, 3 * 700, 3)
    assert [imresize(np.zeros((1, n)), 1 / 3).shape[1] for n in lengths] == [n // 3 for n in lengths]


def test_imresize_types_and_leading_axes() -> None:
    cube = np.random.default_rng(1).random((2, 3, 12, 9))
    out = imresize(cube, 2)
    assert out.shape == (2, 3, 24, 18)
    np.testing.assert_array_equal(out[1, 2], imresize(cube[1, 2], 2))
    single = cube.astype(np.float32)
    expected = imresize(single.astype(np.float64), 0.5)
    halved = imresize(single, 0.5)
    assert halved.dtype == np.float32
    np.testing.assert_array_equal(halved, expected.astype(np.float32))  # computed in double, rounded once
    counts = imresize(np.full((4, 4), 65535, dtype=np.uint16), 0.5)
    assert counts.dtype == np.float64
    np.testing.assert_allclose(counts, 65535, rtol=1e-15)


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cube = np.random.default_rng(2).random((2, 3, 20, 14))
    alone = [imresize(image, size=(7, 30)) for image in cube.reshape(6, 20, 14)]
    monkeypatch.setattr(degrade, "_THREADED", 0)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    np.testing.assert_array_equal(imresize(cube, size=(7, 30)), np.reshape(alone, (2, 3, 7, 30)))


@pytest.mark.parametrize("scale", [1 / 2, 1 / 3, 1 / 4, 0.75, 0.5])
def test_a_resized_mask_leaves_out_what_a_masked_pixel_reaches(scale: float) -> None:
    image = np.random.default_rng(0).random((41, 36))
    mask = np.ones(image.shape, np.bool_)
    mask[7, 30] = mask[20:23, 0] = False
    changed = imresize(image, scale) != imresize(np.where(mask, image, image + 1e3), scale)
    np.testing.assert_array_equal(shrink_mask(mask, scale), ~changed)


@pytest.mark.parametrize("arguments", [{}, {"scale": 2, "size": (4, 4)}])
def test_imresize_wants_one_of_scale_and_size(arguments: dict[str, Any]) -> None:
    with pytest.raises(HsisrError, match="exactly one"):
        imresize(np.zeros((4, 4)), **arguments)


@pytest.mark.parametrize("scale", [0, -2, math.nan, math.inf, "2", 1j])
def test_imresize_refuses_a_bad_scale(scale: Any) -> None:
    with pytest.raises(HsisrError, match="scale is"):
        imresize(np.zeros((4, 4)), scale)


@pytest.mark.parametrize("size", [4, (4,), (4, 0), (4, -1), (2.5, 4), (2, 2, 2), "44"])
def test_imresize_refuses_a_bad_size(size: Any) -> None:
    with pytest.raises(HsisrError, match="size is"):
        imresize(np.zeros((4, 4)), size=size)


@pytest.mark.parametrize(
    ("cube", "message"),
    [
        (np.zeros(4), "shape"),
        (np.zeros((3, 0, 4)), "shape"),
        (np.array([["a", "b"]]), "type"),
        (np.zeros((2, 2), complex), "type"),
        (np.array([[1.0, np.nan]]), "NaN"),
        (np.array([[1.0, np.inf]]), "NaN or inf"),
    ],
)
def test_imresize_refuses_a_bad_cube(cube: np.ndarray, message: str) -> None:
    with pytest.raises(HsisrError, match=message):
        imresize(cube, 2)


def test_resize_matrix_keeps_constants_and_is_read_only() -> None:
    matrix = resize_matrix(11, 4, 1 / 3)
    assert matrix.shape == (11, 4)
    np.testing.assert_allclose(matrix.sum(axis=0), 1, atol=1e-15)
    with pytest.raises(ValueError, match="read-only"):
        matrix[0, 0] = 1
    assert resize_matrix(11, 4, 1 / 3) is matrix


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_make_pair_crops_at_the_bottom_right(scale: int) -> None:
    cube = np.random.default_rng(2).random((3, 26, 35)).astype(np.float32)
    lr, hr = make_pair(cube, scale)
    height, width = 26 // scale * scale, 35 // scale * scale
    np.testing.assert_array_equal(hr, cube[:, :height, :width])
    assert lr.shape == (3, height // scale, width // scale)
    assert lr.dtype == hr.dtype == np.float32
    np.testing.assert_array_equal(lr, imresize(cube[:, :height, :width], size=lr.shape[1:]))
    assert bicubic(lr, scale).shape == hr.shape


@pytest.mark.parametrize("blur", [0.5, 1.6, 9.0])
def test_blur_is_a_7x7_gaussian_with_the_border_repeated(blur: float) -> None:
    cube = np.random.default_rng(4).random((2, 12, 9))
    away = np.arange(-3, 4)
    kernel = np.exp(-(away[:, None] ** 2 + away**2) / (2 * blur**2))
    around = np.pad(cube, ((0, 0), (3, 3), (3, 3)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(around, (7, 7), axis=(1, 2))
    expected = np.einsum("bhwyx,yx->bhw", windows, kernel / kernel.sum())
    np.testing.assert_allclose(blur_cube(cube, blur), expected, atol=1e-14)
    lr, hr = make_pair(cube, 3, blur)
    np.testing.assert_allclose(lr, imresize(expected, size=(4, 3)), atol=1e-14)
    np.testing.assert_array_equal(hr, cube)
    assert blur_cube(cube, None) is cube


@pytest.mark.parametrize("scale", [1 / 2, 1 / 8])
def test_shrink_mask_knows_the_blur(scale: float) -> None:
    rng = np.random.default_rng(0)
    image, mask = rng.random((64, 48)), np.ones((64, 48), np.bool_)
    mask[20, 30], mask[60:] = False, False
    pair = (blur_cube(values, 1.0) for values in (image, np.where(mask, image, image + 1e3)))
    first, second = (imresize(values, scale) for values in pair)
    np.testing.assert_array_equal(shrink_mask(mask, scale, 1.0), np.abs(first - second) < 1e-9)


def test_make_pair_does_not_clip() -> None:
    cube = np.zeros((1, 16, 16))
    cube[:, :, 8:] = 1
    lr, _ = make_pair(cube, 2)
    assert lr.min() < -0.01
    assert lr.max() > 1.01
    assert lr.dtype == np.float64


@pytest.mark.parametrize("scale", [1, 5, 2.0, True, "2", None])
def test_pairs_refuse_a_bad_scale(scale: Any) -> None:
    with pytest.raises(HsisrError, match="2, 3, 4 or 8"):
        make_pair(np.zeros((1, 8, 8)), scale)
    with pytest.raises(HsisrError, match="2, 3, 4 or 8"):
        bicubic(np.zeros((1, 8, 8)), scale)


@pytest.mark.parametrize(
    ("cube", "message"),
    [
        (np.zeros((8, 8)), "shape"),
        (np.zeros((1, 1, 8, 8)), "shape"),
        (np.zeros((1, 3, 8)), "at least 4 by 4"),
        (np.zeros((1, 8, 8), np.uint16), "uint16"),
        (np.full((1, 8, 8), np.nan), "NaN"),
    ],
)
def test_make_pair_refuses_a_bad_cube(cube: np.ndarray, message: str) -> None:
    with pytest.raises(HsisrError, match=message):
        make_pair(cube, 4)


@pytest.mark.skipif(
    "HSISR_DATA" not in os.environ, reason="needs the real scenes: set HSISR_DATA to their folder"
)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_lr_of_stuffed_toys(scale: int) -> None:
    from hsisr_core.data import read_scene

    scene = read_scene(Path(os.environ["HSISR_DATA"]) / "cave_sample" / "stuffed_toys_ms")
    expected = json.loads((REFERENCE / "fixtures.json").read_text())["bicubic_on_stuffed_toys"][f"x{scale}"]
    lr, _ = make_pair(scene.cube, scale)
    assert list(lr.shape) == expected["lr_shape"]
    assert lr.mean(dtype=np.float64) == pytest.approx(expected["lr_mean"], abs=1e-7)
    assert lr.min() == pytest.approx(expected["lr_min"], abs=1e-7)
