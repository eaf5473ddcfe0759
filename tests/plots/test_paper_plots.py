"""The figures of chapter 11: what stands where."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle

from hsisr_core.errors import HsisrError
from hsisr_core.plots.paper import margin_panels, rank_maps

CELLS = pd.MultiIndex.from_tuples([("CAVE", 2), ("Foster", 4)])


def test_margin_panels_draw_each_margin_with_its_rival() -> None:
    margins = pd.DataFrame({"PSNR (dB)": [1.5, -0.5], "SSIM": [0.001, 0.0]}, CELLS)
    rivals = pd.DataFrame({"PSNR (dB)": ["EDSR", "GDRRN"], "SSIM": ["EDSR", "bicubic"]}, CELLS)
    figure = margin_panels(margins, rivals)
    for panel, (name, values) in zip(figure.axes, margins.items(), strict=True):
        assert panel.get_xlabel() == name
        assert [bar.get_width() for bar in panel.patches if isinstance(bar, Rectangle)] == list(values)
        assert [text.get_text() for text in panel.texts] == list(rivals[name])
    ahead, behind = (bar.get_facecolor() for bar in figure.axes[0].patches)
    assert ahead != behind
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["CAVE x2", "Foster x4"]
    bottom, top = figure.axes[0].get_ylim()
    assert bottom > top, "the first row stands on top"


def test_rank_maps_write_every_rank_in_its_place() -> None:
    ranks = pd.DataFrame([[1, 2, 3], [2, 1, 3]], CELLS, ["A", "B", "C"])
    figure = rank_maps({"by PSNR": ranks, "by SAM": 4 - ranks})
    first, second = figure.axes
    assert [panel.get_title() for panel in figure.axes] == ["by PSNR", "by SAM"]
    written = {text.get_position(): int(text.get_text()) for text in second.texts}
    assert written == {(x, y): value for (y, x), value in np.ndenumerate(4 - ranks.to_numpy())}
    assert [tick.get_text() for tick in first.get_xticklabels()] == ["A", "B", "C"]


def test_nothing_to_draw() -> None:
    with pytest.raises(HsisrError, match="no margins to draw"):
        margin_panels(pd.DataFrame(), pd.DataFrame())
    with pytest.raises(HsisrError, match="no ranks to draw"):
        rank_maps({})
