"""What the figures about data, degradation and metrics draw: the right pixels, bands, weights and scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hsisr_core.data import Dataset, Region, Scene, Split, Store, write_store
from hsisr_core.errors import HsisrError
from hsisr_core.metrics import psnr, sam, ssim
from hsisr_core.plots.data import cube_views, filter_taps, metric_maps, split_map, wavelength_steps_back


def scene(name: str = "noise", bands: int = 17, height: int = 20, width: int = 24) -> Scene:
    cube = np.random.default_rng(bands).random((bands, height, width)).astype(np.float32)
    return Scene(name, cube, np.linspace(400, 700, bands), 1.0, "random")


def images(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


def titles(figure: Figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def test_cube_views_show_four_bands_and_three_spectra_of_the_marked_pixels() -> None:
    shown = scene()
    figure = cube_views(shown)
    np.testing.assert_array_equal(np.stack(images(figure)), shown.cube[[2, 6, 10, 14]])
    assert titles(figure)[0] == "band 3, 438 nm"
    spectra = figure.axes[-1].lines
    marks = figure.axes[0].lines
    for mark, spectrum in zip(marks, spectra, strict=True):
        column, row = np.asarray(mark.get_xydata(), int)[0]
        np.testing.assert_array_equal(np.asarray(spectrum.get_ydata()), shown.cube[:, row, column])
    levels = [float(np.asarray(spectrum.get_ydata()).mean()) for spectrum in spectra]
    assert levels == sorted(levels)
    means = shown.cube.mean(axis=0)
    low, high = np.percentile(means, (1, 99))
    assert levels[1] == pytest.approx((low + high) / 2, abs=0.01)


def test_cube_views_without_wavelengths_number_the_bands() -> None:
    known = scene()
    figure = cube_views(Scene(known.name, known.cube, np.full(known.bands, np.nan), 1.0, "random"))
    assert titles(figure) == ["band 3", "band 7", "band 11", "band 15"]
    assert figure.axes[-1].get_xlabel() == "band"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Two scenes; the first is cut into a training and a test region and leaves its last rows unused."""
    path = tmp_path / "scenes.h5"
    write_store(path, [scene("farm"), scene("town")], sources=[("farm/a", 1, "0")], dataset="small")
    regions = (Region("west", "farm", (0, 16), (0, 12)), Region("town", "town"))
    split = Split("small", "small", train=regions, test=(Region("east", "farm", (0, 16), (12, 24)),), note="")
    return Dataset("small", split, Store(path))


def frames(panel: Axes) -> list[Rectangle]:
    return [patch for patch in panel.patches if isinstance(patch, Rectangle)]


def test_split_map_frames_each_region_in_its_scene(dataset: Dataset) -> None:
    farm, town = split_map(dataset).axes
    assert [text.get_text() for text in farm.texts] == ["train: west", "test: east"]
    assert [text.get_text() for text in town.texts] == ["train"]
    west, east = frames(farm)
    centres = [(f.get_x() + f.get_width() / 2, f.get_y() + f.get_height() / 2) for f in (west, east)]
    np.testing.assert_allclose(centres, [(5.5, 7.5), (17.5, 7.5)])
    assert west.get_edgecolor() != east.get_edgecolor()
    assert west.get_linestyle() != east.get_linestyle()


def test_split_map_pales_what_no_region_uses(dataset: Dataset) -> None:
    farm, town = images(split_map(dataset))
    assert farm[16:].min() >= 0.65
    assert farm[:16].min() < 0.1
    assert town.min() < 0.1


def test_split_map_shows_test_scenes_first_when_there_are_too_many(dataset: Dataset) -> None:
    figure = split_map(dataset, limit=1)
    assert titles(figure) == ["farm\n20×24"]
    assert figure.get_suptitle() == "1 of 2 scenes"
    with pytest.raises(HsisrError, match="limit is 0"):
        split_map(dataset, limit=0)


def test_wavelength_steps_back_draws_the_list_in_its_own_order() -> None:
    centres = np.array([400.0, 410, 420, 415, 425, 435, 445, 430, 440])
    values = np.arange(9.0)
    first, second = wavelength_steps_back(centres, values, reach=1, label="count").axes
    assert [first.get_title(), second.get_title()] == ["bands 3 and 4", "bands 7 and 8"]
    assert [first.get_ylabel(), second.get_ylabel()] == ["count", ""]
    np.testing.assert_array_equal(first.lines[0].get_xydata(), np.c_[centres[1:5], values[1:5]])
    np.testing.assert_array_equal(second.lines[1].get_xydata(), [[445, 6], [430, 7]])


def test_wavelength_steps_back_refuses_what_it_cannot_draw() -> None:
    with pytest.raises(HsisrError, match="no step back"):
        wavelength_steps_back([1, 2, 3], [0, 0, 0])
    with pytest.raises(HsisrError, match="one of each per band"):
        wavelength_steps_back([1, 2, 3], [0, 0])


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_filter_taps_agree_inside_and_differ_at_the_border(scale: int) -> None:
    inside, border = filter_taps(scale).axes
    for panel in (inside, border):
        matlab, antialiased, plain = (np.asarray(line.get_ydata()) for line in panel.lines[:3])
        assert [matlab.sum(), antialiased.sum()] == pytest.approx([1, 1])
        same = np.allclose(matlab, antialiased, atol=1e-6)
        assert same == (panel is inside)
        assert np.abs(matlab - plain).max() > 0.05


def test_filter_taps_of_the_border_pixel_are_matlabs() -> None:
    """By hand at x2: weights of Keys' kernel at 0.25, 0.75, ... folded about the border."""
    border = filter_taps(2).axes[1]

    def kernel(x: float) -> float:
        x = abs(x) / 2
        near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        return (near if x <= 1 else far if x < 2 else 0.0) / 2

    expected = [kernel(i - 0.5) + kernel(-1 - i - 0.5) for i in range(5)]
    line = border.lines[0]
    np.testing.assert_array_equal(line.get_xdata(), range(5))
    np.testing.assert_allclose(np.asarray(line.get_ydata()), expected, atol=1e-12)


def test_metric_maps_average_to_the_metrics() -> None:
    rng = np.random.default_rng(3)
    hr = rng.random((4, 19, 23)).astype(np.float32)
    sr = np.clip(hr + rng.normal(0, 0.05, hr.shape), 0, 1).astype(np.float32)
    figure = metric_maps(sr, hr)
    error, similarity, angle = (np.ma.filled(image, np.nan) for image in images(figure))
    assert -10 * np.log10(np.square(error).mean()) == pytest.approx(psnr(sr, hr), abs=1e-9)
    assert np.nanmean(similarity) == pytest.approx(ssim(sr.astype(float), hr.astype(float)), abs=1e-9)
    assert np.isfinite(similarity).sum() == 9 * 13
    assert angle.mean() == pytest.approx(sam(sr, hr), abs=1e-5)
    assert titles(figure) == [
        f"PSNR {psnr(sr, hr):.2f} dB",
        f"SSIM {ssim(sr, hr):.4f}",
        f"SAM {sam(sr, hr):.3f} degrees",
    ]


def test_metric_maps_treat_zero_spectra_as_the_metric_does() -> None:
    rng = np.random.default_rng(4)
    hr, sr = rng.uniform(0.1, 1, (2, 3, 12, 12))
    hr[:, 2, 5] = sr[:, 2, 5] = 0
    sr[:, 7, 7] = 0
    angle = np.ma.filled(images(metric_maps(sr, hr))[2], np.nan)
    assert np.argwhere(np.isnan(angle)).tolist() == [[2, 5]]
    assert angle[7, 7] == 90
    assert np.nanmean(angle) == pytest.approx(sam(sr, hr), abs=1e-9)


@pytest.mark.parametrize(("sr", "hr"), [((3, 12, 12), (3, 12, 13)), ((12, 12), (12, 12)), ((3, 10, 30),) * 2])
def test_metric_maps_refuse_cubes_that_do_not_fit(sr: tuple[int, ...], hr: tuple[int, ...]) -> None:
    with pytest.raises(HsisrError, match="at least 11 pixels"):
        metric_maps(np.ones(sr), np.ones(hr))
