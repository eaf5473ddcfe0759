"""What the figures of scenes draw: the values of lines and images, and scales shared between panels."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hsisr_core import plots
from hsisr_core.plots import false_colour
from hsisr_core.scenes import Scene


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


def test_scene_gallery_shows_each_scene() -> None:
    scenes = [scene(name="first"), scene(400, 1000, name="second", side=30)]
    figure = plots.scene_gallery(scenes)
    assert len(figure.axes) == 2
    for axes, shown in zip(figure.axes, scenes, strict=True):
        rgb, caption = false_colour(shown.cube, shown.wavelengths)
        np.testing.assert_array_equal(pixels_of(axes), rgb)
        assert axes.get_title().startswith(shown.name)
        assert axes.get_xlabel() == caption


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


def test_cube_views_show_four_bands_and_three_spectra_of_the_marked_pixels() -> None:
    shown = scene(bands=17)
    figure = plots.cube_views(shown)
    np.testing.assert_array_equal(
        np.stack([pixels_of(axes) for axes in with_images(figure)]), shown.cube[[2, 6, 10, 14]]
    )
    assert figure.axes[0].get_title() == "band 3, 438 nm"
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
    known = scene(bands=17)
    figure = plots.cube_views(unknown_wavelengths(known))
    assert [axes.get_title() for axes in figure.axes[:4]] == ["band 3", "band 7", "band 11", "band 15"]
    assert figure.axes[-1].get_xlabel() == "band"
