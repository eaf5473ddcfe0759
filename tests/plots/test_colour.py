"""Colours: known tristimulus values and hues, and what cannot be shown."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from hsisr_core.plots import false_colour, true_colour
from hsisr_core.plots.colour import colour_matching
from hsisr_core.scenes import Scene

NM = np.arange(400.0, 701, 10)


def scene() -> Scene:
    cube = np.random.default_rng(31).random((31, 20, 24)).astype(np.float32)
    return Scene("noise", cube, NM, 1.0, "random")


def one_band(centre: float) -> np.ndarray:
    return np.where(np.isclose(NM, centre), 1.0, 0.0).reshape(-1, 1, 1)


def test_the_fit_is_close_to_the_table_of_the_cie() -> None:
    table = {450: (0.3362, 0.0380, 1.77211), 550: (0.43345, 0.99495, 0.00875), 600: (1.0622, 0.6310, 0.0008)}
    for nm, values in table.items():
        np.testing.assert_allclose(colour_matching([nm])[:, 0], values, atol=0.023)


@pytest.mark.parametrize("nm", [NM, np.arange(420.0, 721, 10), np.sort(np.concatenate([NM, NM[5:9] + 3]))])
def test_a_flat_spectrum_has_no_colour(nm: np.ndarray) -> None:
    cube = np.full((len(nm), 2, 200), 0.25)
    cube[:, :, -4:] = 0.5  # the 99th percentile: white
    rgb, caption = true_colour(cube, nm)
    assert caption == "CIE 1931"
    np.testing.assert_allclose(rgb[:, -4:], 1)
    np.testing.assert_allclose(rgb[:, :-4], 0.735357, atol=1e-5)  # sRGB's curve at 0.5


@pytest.mark.parametrize(("nm", "hue"), [(650, 0), (580, 60), (520, 120), (450, 270)])
def test_a_single_band_has_its_hue_and_is_clipped_to_the_screen(nm: float, hue: float) -> None:
    cube = np.concatenate([one_band(nm), np.tile(one_band(nm), (1, 1, 10)) * 0.5], axis=2)
    rgb = true_colour(cube, NM)[0][0, -1]
    assert rgb.min() == 0  # no screen shows a single wavelength
    assert rgb.max() <= 1
    assert colorsys.rgb_to_hsv(*rgb)[0] * 360 == pytest.approx(hue, abs=35)


def test_light_keeps_its_tint() -> None:
    lamp = np.tile(np.linspace(0.2, 1, 31).reshape(-1, 1, 1), (1, 2, 2))
    rgb = true_colour(lamp, NM)[0]
    assert rgb[0, 0, 0] > rgb[0, 0, 2] + 0.2


def test_black_stays_black_and_a_missing_value_stays_missing() -> None:
    assert true_colour(np.zeros((31, 3, 3)), NM)[0].max() == 0
    cube = np.full((31, 2, 2), 0.4)
    cube[:, 0, 0] = np.nan
    rgb = true_colour(cube, NM)[0]
    assert np.isnan(rgb[0, 0]).all()
    np.testing.assert_allclose(rgb[1], 1)


@pytest.mark.parametrize(
    "nm",
    [np.linspace(400, 2500, 31), np.full(31, np.nan), np.linspace(450, 700, 31), np.linspace(400, 640, 31)],
)
def test_a_sensor_without_the_visible_range_gets_false_colour(nm: np.ndarray) -> None:
    cube = scene().cube
    rgb, caption = true_colour(cube, nm)
    expected, bands = false_colour(cube, nm)
    np.testing.assert_array_equal(rgb, expected)
    assert caption == f"false colour: {bands}"


@pytest.mark.parametrize(
    ("first", "last", "bands", "chosen", "caption"),
    [
        (400, 700, 31, (24, 15, 6), "R 640, G 550, B 460 nm"),
        (400, 1000, 61, (46, 25, 15), "R 860, G 650, B 550 nm"),
        (1000, 2500, 9, (6, 4, 2), "R 2125, G 1750, B 1375 nm"),  # no visible bands: spread
    ],
)
def test_false_colour_picks_bands(
    first: float, last: float, bands: int, chosen: tuple[int, ...], caption: str
) -> None:
    cube = np.zeros((bands, 10, 10))
    for channel, band in enumerate(chosen):
        cube[band, channel] = 1  # rows 0, 1, 2 light up one channel each
    rgb, text = false_colour(cube, np.linspace(first, last, bands))
    assert text == caption
    np.testing.assert_array_equal(rgb[:3, 0], np.eye(3))
    assert rgb[3:].max() == 0


def test_false_colour_of_unknown_wavelengths() -> None:
    rgb, caption = false_colour(scene().cube, np.full(31, np.nan))
    assert caption == "R, G, B: bands 23, 16, 9"  # 3/4, 1/2 and 1/4 of bands 0 to 30, counted from 1
    assert rgb.shape == (20, 24, 3)


def test_false_colour_stretches_between_percentiles() -> None:
    ramp = np.broadcast_to(np.linspace(0.2, 0.4, 101), (31, 3, 101))
    rgb, _ = false_colour(ramp, np.linspace(400, 700, 31))
    assert rgb[0, 1, 0] == 0  # the 1st percentile
    assert rgb[0, 99, 0] == 1
    assert rgb[0, 50, 0] == pytest.approx(0.5 ** (1 / 1.8))
    infrared, _ = false_colour(ramp, np.linspace(400, 1000, 31))
    assert infrared[0, 50, 0] == pytest.approx(0.5)
