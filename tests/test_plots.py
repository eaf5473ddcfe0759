"""What the figures draw: the values of lines and images, and scales shared between panels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hsisr_core import plots
from hsisr_core.data.scene import Scene
from hsisr_core.degrade import make_pair
from hsisr_core.errors import HsisrError


def scene(
    first: float = 400, last: float = 700, bands: int = 31, side: int = 20, name: str = "noise"
) -> Scene:
    cube = np.random.default_rng(bands).random((bands, side, side + 4)).astype(np.float32)
    return Scene(name, cube, np.linspace(first, last, bands), 1.0, "random")


def unknown_wavelengths(known: Scene) -> Scene:
    return Scene(known.name, known.cube, np.full(known.bands, np.nan), 1.0, "random")


def with_images(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.images]


def lines(axes: Axes) -> dict[str, np.ndarray]:
    """Values of the labelled lines."""
    labelled = {str(line.get_label()): y(line) for line in axes.lines}
    return {label: values for label, values in labelled.items() if not label.startswith("_")}


def x(line: Line2D) -> np.ndarray:
    return np.asarray(line.get_xdata())


def y(line: Line2D) -> np.ndarray:
    return np.asarray(line.get_ydata())


def pixels_of(axes: Axes) -> np.ndarray:
    return np.asarray(axes.images[0].get_array())


@pytest.fixture(scope="module")
def methods() -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(7)
    hr = rng.random((5, 12, 9)).astype(np.float32)
    return {"bicubic": hr + 0.1, "SSRNet": hr - rng.uniform(0, 0.3, hr.shape)}, hr


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
    rgb, text = plots.false_colour(cube, np.linspace(first, last, bands))
    assert text == caption
    np.testing.assert_array_equal(rgb[:3, 0], np.eye(3))
    assert rgb[3:].max() == 0


def test_false_colour_of_a_scene_and_of_unknown_wavelengths() -> None:
    known = scene()
    np.testing.assert_array_equal(
        plots.false_colour(known)[0], plots.false_colour(known.cube, known.wavelengths)[0]
    )
    rgb, caption = plots.false_colour(unknown_wavelengths(known))
    assert caption == "R, G, B: bands 23, 16, 9"  # 3/4, 1/2 and 1/4 of bands 0 to 30, counted from 1
    assert rgb.shape == (20, 24, 3)
    assert plots.false_colour(known.cube)[1] == caption


def test_false_colour_stretches_between_percentiles() -> None:
    ramp = np.broadcast_to(np.linspace(0.2, 0.4, 101), (31, 3, 101))
    rgb, _ = plots.false_colour(ramp, np.linspace(400, 700, 31))
    assert rgb[0, 1, 0] == 0  # the 1st percentile
    assert rgb[0, 99, 0] == 1
    assert rgb[0, 50, 0] == pytest.approx(0.5 ** (1 / 1.8))
    infrared, _ = plots.false_colour(ramp, np.linspace(400, 1000, 31))
    assert infrared[0, 50, 0] == pytest.approx(0.5)


def test_scene_gallery_shows_each_scene() -> None:
    scenes = [scene(name="first"), scene(400, 1000, name="second", side=30)]
    figure = plots.scene_gallery(scenes)
    assert len(figure.axes) == 2
    for axes, shown in zip(figure.axes, scenes, strict=True):
        rgb, caption = plots.false_colour(shown)
        np.testing.assert_array_equal(pixels_of(axes), rgb)
        assert axes.get_title().startswith(shown.name)
        assert axes.get_xlabel() == caption


def test_mean_spectra_values() -> None:
    scenes = [scene(name="first"), unknown_wavelengths(scene(name="second", bands=7)), scene(name="third")]
    figure = plots.mean_spectra(scenes)
    assert [axes.get_title() for axes in figure.axes] == ["first", "second", "third"]
    for axes, shown in zip(figure.axes, scenes, strict=True):
        np.testing.assert_allclose(lines(axes)["mean"], shown.cube.mean(axis=(1, 2)), rtol=1e-5)
        band = np.asarray(axes.collections[0].get_paths()[0].vertices)
        percentiles = np.percentile(shown.cube, (5, 95), axis=(1, 2))
        assert band[:, 1].min() == pytest.approx(percentiles[0].min())
        assert band[:, 1].max() == pytest.approx(percentiles[1].max())
    np.testing.assert_array_equal(x(figure.axes[0].lines[0]), scenes[0].wavelengths)
    assert figure.axes[0].get_xlabel() == "wavelength (nm)"
    np.testing.assert_array_equal(x(figure.axes[1].lines[0]), np.arange(1, 8))
    assert figure.axes[1].get_xlabel() == "band"
    assert figure.axes[0].get_ylim() == figure.axes[2].get_ylim()


def test_band_statistics_values() -> None:
    smooth = scene()
    smooth.cube[10] = 1 - smooth.cube[9]  # correlation -1
    smooth.cube[20] = 0.5  # constant: no correlation with its neighbours
    top, bottom = plots.band_statistics(smooth).axes
    np.testing.assert_allclose(lines(top)["mean"], smooth.cube.mean(axis=(1, 2)), rtol=1e-5)
    correlation = y(bottom.lines[0])
    assert correlation.shape == (30,)
    assert correlation[9] == pytest.approx(-1, abs=1e-5)
    expected = np.corrcoef(smooth.cube[3].ravel(), smooth.cube[4].ravel())[0, 1]
    assert correlation[3] == pytest.approx(expected, abs=1e-5)
    assert list(np.flatnonzero(~np.isfinite(correlation))) == [19, 20]
    assert x(bottom.lines[0])[0] == pytest.approx(405)


def test_error_maps_share_one_scale(methods: tuple[dict[str, np.ndarray], np.ndarray]) -> None:
    srs, hr = methods
    figure = plots.error_maps(srs, hr, band=3, wavelength=660.4)
    truth, *maps = with_images(figure)[:3]
    np.testing.assert_allclose(pixels_of(truth), hr[3])
    assert truth.get_title() == "HR, band 4 of 5, 660 nm"
    errors = {name: np.abs(np.clip(sr[3], 0, 1) - hr[3]) for name, sr in srs.items()}
    for axes, (name, error) in zip(maps, errors.items(), strict=True):
        np.testing.assert_allclose(pixels_of(axes), error, atol=1e-7)
        assert axes.get_title() == f"{name}, RMSE {np.sqrt(np.mean(error**2)):.4f}"
    limits = {axes.images[0].get_clim() for axes in maps}
    assert len(limits) == 1
    assert limits.pop() == (0, pytest.approx(np.percentile(list(errors.values()), 99.5)))
    assert "HR, band 4 of 5" in plots.error_maps(srs, hr, 3, float("nan")).axes[0].get_title()
    assert figure.axes[-1].get_ylabel() == "absolute error (full scale = 1)"  # the colour bar


def test_error_maps_of_a_perfect_result(methods: tuple[dict[str, np.ndarray], np.ndarray]) -> None:
    hr = methods[1]
    maps = with_images(plots.error_maps({"copy": hr}, hr, 0))
    assert pixels_of(maps[1]).max() == 0


def test_spectral_curves_values(methods: tuple[dict[str, np.ndarray], np.ndarray]) -> None:
    srs, hr = methods
    wavelengths = np.array([400.0, 450, 500, 550, 600])
    pixels = [(2, 7), (11, 0)]
    grid = np.array(plots.spectral_curves(srs, hr, wavelengths, pixels).axes).reshape(2, 2)
    for (row, column), upper, lower in zip(pixels, *grid, strict=True):
        drawn = lines(upper)
        np.testing.assert_allclose(drawn.pop("HR"), hr[:, row, column])
        assert list(drawn) == list(srs)
        for name, difference in zip(srs, lower.lines, strict=False):
            np.testing.assert_allclose(drawn[name], srs[name][:, row, column])
            np.testing.assert_allclose(y(difference), (srs[name] - hr)[:, row, column], atol=1e-7)
        np.testing.assert_array_equal(x(upper.lines[0]), wavelengths)
        assert upper.get_title() == f"row {row}, column {column}"


def test_more_methods_than_colours_are_all_drawn(methods: tuple[dict[str, np.ndarray], np.ndarray]) -> None:
    hr = methods[1]
    figure = plots.spectral_curves({str(i): hr for i in range(8)}, hr, np.arange(5.0), [(0, 0)])
    assert len(figure.axes[0].lines) == 9


def test_curves_values() -> None:
    step = np.arange(1, 201)
    loss = np.linspace(2, 1, 200)
    history = pd.DataFrame(
        {"step": step, "loss": loss, "psnr": np.where(step % 50 == 0, 30 + step / 100, np.nan)}
    )
    figure = plots.curves({"run": history}, bicubic_psnr=31.25)
    left, right = figure.axes
    raw, smooth = left.lines
    np.testing.assert_array_equal(y(raw), loss)
    assert y(smooth)[100] == pytest.approx(loss[97:101].mean())  # 200 / 50 = 4 values
    np.testing.assert_array_equal(x(right.lines[0]), [50, 100, 150, 200])
    np.testing.assert_allclose(y(right.lines[0]), [30.5, 31, 31.5, 32])
    assert y(right.lines[1])[0] == 31.25
    assert right.texts[0].get_text() == "bicubic 31.25 dB"

    left, right = plots.curves({"a": history, "b": history.drop(columns="psnr")}).axes
    assert list(lines(left)) == ["a", "b"]
    assert list(lines(right)) == ["a"]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_border_rule_is_at_the_border_only(scale: int) -> None:
    cube = np.random.default_rng(9).random((3, 60, 49)).astype(np.float32)
    figure = plots.border_rule(cube, scale)
    image = pixels_of(with_images(figure)[0])
    assert image.shape == (10, 10)
    assert image[3:, 3:].max() < 1e-12
    drawn = lines(figure.axes[1])
    assert image.max() <= drawn["largest"][0]
    assert drawn["largest"][0] > 1e-3
    assert drawn["largest"][2:].max() < 1e-12
    assert (drawn["mean"] <= drawn["largest"]).all()
    height, width = make_pair(cube, scale)[0].shape[1:]
    assert f"{height}×{width} pixels" in with_images(figure)[0].get_title()


CUBE = np.zeros((4, 12, 12))


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.false_colour(CUBE, np.arange(3.0)), "one wavelength per band"),
        (lambda: plots.false_colour(CUBE[0]), "expected"),
        (lambda: plots.scene_gallery([]), "no scenes"),
        (lambda: plots.mean_spectra([]), "no scenes"),
        (lambda: plots.error_maps({}, CUBE, 0), "no methods"),
        (lambda: plots.error_maps({"a": CUBE[:, :8]}, CUBE, 0), r"SR of a has shape \(4, 8, 12\)"),
        (lambda: plots.error_maps({"a": CUBE}, CUBE, 4), "bands 0 to 3"),
        (lambda: plots.error_maps({"a": CUBE}, CUBE, -1), "bands 0 to 3"),
        (lambda: plots.spectral_curves({"a": CUBE}, CUBE, np.arange(4.0), []), "no pixels"),
        (lambda: plots.spectral_curves({"a": CUBE}, CUBE, np.arange(4.0), [(12, 0)]), "outside"),
        (lambda: plots.spectral_curves({"a": CUBE}, CUBE, np.arange(3.0), [(0, 0)]), "one per band"),
        (lambda: plots.curves({}), "no runs"),
        (lambda: plots.curves({"a": pd.DataFrame({"step": [1]})}), "history of a"),
        (lambda: plots.border_rule(CUBE, 5), "2, 3 and 4"),
    ],
)
def test_mistakes_are_named_and_leave_no_figure(draw: Callable[[], Any], message: str) -> None:
    before = plt.get_fignums()
    with pytest.raises(HsisrError, match=message):
        draw()
    assert plt.get_fignums() == before


def test_band_psnr_draws_the_psnr_of_each_band() -> None:
    hr = np.zeros((3, 4, 4))
    sr = hr + np.array([0.1, 0.01, 1.0])[:, None, None]
    (axes,) = plots.band_psnr({"a": sr, "b": sr / 10}, hr, [500, 600, 700]).axes
    first, second = axes.lines
    np.testing.assert_allclose(np.asarray(first.get_xdata()), [500, 600, 700])
    np.testing.assert_allclose(np.asarray(first.get_ydata()), [20, 40, 0], atol=1e-9)
    np.testing.assert_allclose(np.asarray(second.get_ydata()), [40, 60, 20], atol=1e-9)
