"""What the figures of results draw, also where a method gives no value."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hsisr_core import plots as result_plots
from hsisr_core.errors import HsisrError


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


def test_error_maps_share_one_scale(methods: tuple[dict[str, np.ndarray], np.ndarray]) -> None:
    srs, hr = methods
    figure = result_plots.error_maps(srs, hr, band=3, wavelength=660.4)
    truth, *maps = with_images(figure)[:3]
    np.testing.assert_allclose(pixels_of(truth), hr[3])
    assert truth.get_title() == "HR, band 4 of 5, 660 nm"
    errors = {name: np.abs(np.clip(sr[3], 0, 1) - hr[3]) for name, sr in srs.items()}
    for axes, (name, error) in zip(maps, errors.items(), strict=True):
        np.testing.assert_allclose(pixels_of(axes), error, atol=1e-7)
        assert axes.get_title() == f"{name}\nRMSE {np.sqrt(np.mean(error**2)):.4f}"
    limits = {axes.images[0].get_clim() for axes in maps}
    assert len(limits) == 1
    assert limits.pop() == (0, pytest.approx(np.percentile(list(errors.values()), 99.5)))
    assert "HR, band 4 of 5" in result_plots.error_maps(srs, hr, 3, float("nan")).axes[0].get_title()
    assert figure.axes[-1].get_ylabel() == "absolute error"  # the colour bar


def test_error_maps_of_a_perfect_result(methods: tuple[dict[str, np.ndarray], np.ndarray]) -> None:
    hr = methods[1]
    maps = with_images(result_plots.error_maps({"copy": hr}, hr, 0))
    assert pixels_of(maps[1]).max() == 0


def test_spectral_curves_values(methods: tuple[dict[str, np.ndarray], np.ndarray]) -> None:
    srs, hr = methods
    wavelengths = np.array([400.0, 450, 500, 550, 600])
    pixels = [(2, 7), (11, 0)]
    grid = np.array(result_plots.spectral_curves(srs, hr, wavelengths, pixels).axes).reshape(2, 2)
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
    srs = {f"method {i}": hr for i in range(8)}
    figure = result_plots.spectral_curves(srs, hr, np.arange(5.0), [(0, 0)] * 3)
    assert len(figure.axes[0].lines) == 9
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    assert 0 <= legend.x0 < legend.x1 <= figure.bbox.width, "the legend is not cut"


def test_curves_values() -> None:
    step = np.arange(1, 201)
    loss = np.linspace(2, 1, 200)
    history = pd.DataFrame(
        {"step": step, "loss": loss, "psnr": np.where(step % 50 == 0, 30 + step / 100, np.nan)}
    )
    figure = result_plots.curves(history, "run", bicubic_psnr=31.25)
    left, right = figure.axes
    raw, smooth = left.lines
    np.testing.assert_array_equal(y(raw), loss)
    assert y(smooth)[100] == pytest.approx(loss[97:101].mean())  # 200 / 50 = 4 values
    np.testing.assert_array_equal(x(right.lines[0]), [50, 100, 150, 200])
    np.testing.assert_allclose(y(right.lines[0]), [30.5, 31, 31.5, 32])
    assert y(right.lines[1])[0] == 31.25
    assert right.lines[1].get_label() == "bicubic 31.25 dB"


def test_band_psnr_draws_the_psnr_of_each_band() -> None:
    hr = np.zeros((3, 4, 4))
    sr = hr + np.array([0.1, 0.01, 1.0])[:, None, None]
    (axes,) = result_plots.band_psnr({"a": sr, "b": sr / 10}, hr, [500, 600, 700]).axes
    first, second = axes.lines
    np.testing.assert_allclose(np.asarray(first.get_xdata()), [500, 600, 700])
    np.testing.assert_allclose(np.asarray(first.get_ydata()), [20, 40, 0], atol=1e-9)
    np.testing.assert_allclose(np.asarray(second.get_ydata()), [40, 60, 20], atol=1e-9)


def test_what_a_method_lacks_is_left_out(methods: tuple[dict[str, np.ndarray], np.ndarray]) -> None:
    hr = methods[1]
    lacking = hr + 0.1
    lacking[[0, -1]] = np.nan  # as 3D-FCNN: no outer bands, no border
    lacking[:, [0, -1]] = np.nan
    srs = {"all": hr + 0.2, "some": lacking}
    axes = with_images(result_plots.error_maps(srs, hr, 2))
    some = np.abs(np.clip(lacking[2, 1:-1], 0, 1) - hr[2, 1:-1])
    assert axes[2].get_title() == f"some\nRMSE {np.sqrt(np.mean(some**2)):.4f}"
    assert np.isfinite(axes[1].images[0].get_clim()).all()
    assert with_images(result_plots.error_maps(srs, hr, 0))[2].get_title() == "some\nnot in this band"
    assert np.isfinite(
        with_images(result_plots.error_maps({"some": lacking}, hr, 0))[1].images[0].get_clim()
    ).all()
    (panel,) = result_plots.band_psnr(srs, hr, np.arange(5.0)).axes
    np.testing.assert_allclose(lines(panel)["some"], [np.nan, 20, 20, 20, np.nan], rtol=1e-5)
    upper = result_plots.spectral_curves(srs, hr, np.arange(5.0), [(3, 3)]).axes[0]
    np.testing.assert_array_equal(np.isfinite(lines(upper)["some"]), [False, True, True, True, False])


def test_the_band_of_the_paper_s_maps() -> None:
    assert result_plots.band_near(np.linspace(400, 700, 31)) == 26, "the 27th band of CAVE"
    assert result_plots.band_near([400.0, 668.0, 655.0]) == 2
    assert result_plots.band_near([np.nan, np.nan]) == 0


def test_telling_pixels_are_those_that_every_method_has() -> None:
    hr = np.zeros((2, 10, 10))
    first = np.sqrt(np.arange(100.0)).reshape(1, 10, 10).repeat(2, axis=0)
    second = np.full_like(hr, np.nan)
    second[1, :8] = 0  # one band of the upper 80 pixels
    assert result_plots.telling_pixels({"first": first, "second": second}, hr) == [(7, 9), (4, 0), (0, 4)]
    with pytest.raises(HsisrError, match="No pixel has a value from every method"):
        result_plots.telling_pixels({"first": first, "second": np.full_like(hr, np.nan)}, hr)
