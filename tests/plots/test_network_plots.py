"""The figures draw the numbers they are given."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hsisr_core.plots import patch_pairs, reach_maps


def test_reach_maps_show_the_sum_and_the_frame() -> None:
    gradient = torch.zeros(5, 9, 9)
    gradient[:, 4, 4], gradient[1, 4, 6] = 2.0, 1.0
    figure = reach_maps(gradient, halo=3)
    front, side = (axes.images[0].get_array() for axes in figure.axes[:2])
    assert front[4, 4] == 0
    assert front[4, 6] == pytest.approx(np.log10(1 / 10))
    assert side[1, 6] == pytest.approx(np.log10(1 / 2))
    (frame,) = figure.axes[0].patches
    assert (frame.get_x(), frame.get_width()) == (0.5, 7)


def test_patch_pairs_show_every_patch_at_its_size() -> None:
    rng = np.random.default_rng(0)
    lr, hr = rng.random((3, 5, 4, 4), dtype=np.float32), rng.random((3, 5, 8, 8), dtype=np.float32)
    figure = patch_pairs(lr, hr, np.linspace(400, 700, 5))
    shapes = [axes.images[0].get_array().shape for axes in figure.axes]
    assert shapes == [(4, 4, 3)] * 3 + [(8, 8, 3)] * 3
