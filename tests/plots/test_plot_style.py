"""The style holds after the figure is returned, and no figure is left open."""

from __future__ import annotations

import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from hsisr_core.plots.style import (
    COLOURS,
    WIDTH,
    method_styles,
    panel_grid,
    show_image,
    spectral_axis,
    styled_figure,
)


@styled_figure
def draw() -> Figure:
    figure, axes = panel_grid(5, 3, 2.0)
    for panel in axes[:4]:
        panel.plot([0, 1], [0, 1], label="line")
        panel.set(xlabel="x", title="panel")
        panel.legend()
    show_image(axes[4], np.arange(6).reshape(2, 3), "image")
    return figure


def test_figure_is_closed_and_can_still_be_saved() -> None:
    before = plt.get_fignums()
    figure = draw()
    assert plt.get_fignums() == before
    file = io.BytesIO()
    figure.savefig(file, format="png")
    with Image.open(file) as picture:
        assert picture.size == (round(WIDTH * 150), 2 * 2 * 150)
        assert picture.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)  # readable on a dark page


def test_all_text_is_eight_points_or_more_whatever_the_callers_style() -> None:
    with plt.rc_context({"font.size": 4, "xtick.labelsize": 4, "ytick.labelsize": 4}):
        figure = draw()
        figure.canvas.draw()
    sizes = [float(text.get_fontsize()) for text in figure.findobj(Text) if text.get_text()]
    assert len(sizes) > 20
    assert min(sizes) >= 8
    assert plt.rcParams["font.size"] == plt.rcParamsDefault["font.size"]


def test_spare_panels_are_removed() -> None:
    assert len(draw().axes) == 5


def test_images_have_no_ticks() -> None:
    image = draw().axes[4]
    assert image.get_xticks().size == image.get_yticks().size == 0


def test_colours_stand_out_on_white() -> None:
    def luminance(colour: str) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    contrast = [1.05 / (luminance(colour) + 0.05) for colour in COLOURS]
    assert min(contrast) > 2
    assert min(contrast[:3]) > 3  # the ones most figures use


@pytest.mark.parametrize(
    ("wavelengths", "values", "label"),
    [([400, 410.5], [400, 410.5], "wavelength (nm)"), ([np.nan] * 3, [1, 2, 3], "band")],
)
def test_spectral_axis(wavelengths: list[float], values: list[float], label: str) -> None:
    x, text = spectral_axis(wavelengths)
    np.testing.assert_array_equal(x, values)
    assert text == label


def test_ssrnet_is_the_solid_blue_line_in_every_company() -> None:
    for methods in (["SSRNet"], ["bicubic", "EDSR", "SSRNet", "SSRNet+"]):
        look = method_styles(methods)["SSRNet"]
        assert (look["color"], look["linestyle"], look["marker"]) == (COLOURS[0], "-", "o")
    every = method_styles(
        ["bicubic", "GDRRN", "3D-FCNN", "EDSR", "SSRNet", "MCNet", "SFCSR", "ERCSR", "SSRChain"]
    )
    assert len({(look["color"], str(look["linestyle"])) for look in every.values()}) == 9
