"""What the figures of degradation and metrics draw: the right weights and scores."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from hsisr_core.errors import HsisrError
from hsisr_core.metrics import psnr, sam, ssim
from hsisr_core.plots import filter_taps, metric_maps


def images(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


def titles(figure: Figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


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
    with pytest.raises(HsisrError, match=r"expected the same|needs 11 pixels"):
        metric_maps(np.ones(sr), np.ones(hr))
