"""The figures of the paper's tables show the numbers that they are given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hsisr_core.errors import HsisrError
from hsisr_core.models import MODELS
from hsisr_core.plots import (
    forest,
    gain_panels,
    method_curves,
    rows_beside,
)


def curve(*gains: float) -> pd.DataFrame:
    return pd.DataFrame({"step": range(0, 10 * len(gains), 10), "over_bicubic": gains})


def test_a_curve_is_the_mean_over_runs_in_a_band_of_their_range() -> None:
    figure = method_curves({"all": {"a": [curve(0, 1, 2), curve(2, 3, 4)], "b": [curve(5, 6, 7)]}})
    panel = figure.axes[0]
    assert panel.lines[0].get_ydata().tolist() == [1, 2, 3]
    band = panel.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (0, 4)
    assert panel.lines[2].get_ydata() == [0, 0]
    with pytest.raises(HsisrError, match="set evaluate_every"):
        method_curves({"all": {"a": [curve(np.nan, np.nan)]}})


def test_each_network_has_a_colour_of_its_own() -> None:
    methods = [method for method in MODELS if method != "bicubic"]
    panel = method_curves({"all": {method: [curve(0, 1)] for method in methods}}).axes[0]
    colours = [line.get_color() for line in panel.lines if line.get_label() in methods]
    assert len(set(colours)) == len(methods)


@pytest.fixture
def table() -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "paper_difference": [-0.1, 0.0],
            "psnr": [30.0, 31.0],
            "spread": [0.1, np.nan],
            "parameters": [1000.0, 2000.0],
        },
        index=["one", "two"],
    )
    table.attrs = {"baseline": "two"}
    return table


def test_rows_stand_beside_the_paper(table: pd.DataFrame) -> None:
    seeds = pd.DataFrame({"one": [-1.0, -3.0], "two": [0.0, 0.0]})
    left, right = rows_beside(table, seeds).axes
    assert left.lines[0].get_xdata().tolist() == [-0.1, 0.0]
    assert right.lines[0].get_xdata().tolist() == [-1, -3]
    assert right.lines[1].get_xdata().tolist() == [-2]
    assert [text.get_text() for text in left.get_yticklabels()] == ["one", "two"]


def test_labels_of_panels_side_by_side_do_not_touch(table: pd.DataFrame) -> None:
    seeds = pd.DataFrame({"one": [-1.2, -0.5], "two": [0.0, 0.0]})
    figure = rows_beside(table, seeds)
    left, right = (
        [
            text.get_window_extent()
            for text in panel.get_xticklabels()
            if panel.viewLim.containsx(text.get_position()[0])
        ]
        for panel in figure.axes
    )
    assert max(box.x1 for box in left) + 0.3 * figure.dpi < min(box.x0 for box in right)


def test_a_forest_has_a_panel_for_each_table() -> None:
    row = {"paper": -0.1, "mean": 0.2, "low": -0.3, "high": 0.7}
    tables = {"Table I": pd.DataFrame({"a": row, "b": row}).T, "Table II": pd.DataFrame({"c": row}).T}
    seeds = {
        "Table I": pd.DataFrame({"a": [0.1, 0.3], "b": [0.2, np.nan]}),
        "Table II": pd.DataFrame({"c": [0.2]}),
    }
    first, second = forest(tables, seeds).axes
    assert first.get_title(loc="left") == "Table I"
    drawn = [np.atleast_1d(line.get_xdata()).tolist() for line in first.lines[:4]]
    assert drawn == [[-0.3, 0.7], [0.1, 0.3], [0.2], [-0.1]]
    assert [text.get_text() for text in second.get_yticklabels()] == ["c"]


def test_factors_beyond_the_paper_are_drawn() -> None:
    places = [("mine", scale, "SSRNet") for scale in (2, 8)] + [("CAVE", 2, "SSRNet")]
    index = pd.MultiIndex.from_tuples(places, names=["data", "scale", "method"])
    gains = {"over_bicubic": [1.0, 0.5, np.nan], "paper_over_bicubic": [np.nan, np.nan, 3.0]}
    ours, paper = gain_panels(pd.DataFrame(gains, index)).axes[:2]
    labels = [[text.get_text() for text in panel.get_xticklabels()] for panel in (ours, paper)]
    assert labels == [["x2", "x3", "x4", "x8"], ["x2", "x3", "x4"]]
    assert ours.get_xlim()[1] > 8
