"""The figures of chapter "What it costs" show the numbers they are given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hsisr_core.errors import HsisrError
from hsisr_core.plots.cost import cost_against_size, roofline


def test_cost_against_size() -> None:
    row = {"bands": 10, "height": 100, "width": 100, "seconds": 2.0, "bytes": 3e9, "way": "plain"}
    rows = [row, row | {"width": 1000, "seconds": 20.0}, row | {"way": "ours", "seconds": 1.0}]
    figure: Any = cost_against_size({"sizes": rows})
    plain, ours = figure.axes[0].lines
    np.testing.assert_allclose(plain.get_xdata(), [0.1, 1.0])
    np.testing.assert_allclose(plain.get_ydata(), [2.0, 20.0])
    np.testing.assert_allclose(ours.get_ydata(), [1.0])
    np.testing.assert_allclose(figure.axes[1].lines[0].get_ydata(), [3.0, 3.0])


def test_roofline() -> None:
    part = {"scale": 2, "stage": "a", "seconds": 3.0, "gflop": 6.0, "gflops": 2.0, "flop_per_byte": 8.0}
    other = part | {"stage": "everything else", "seconds": 1.0, "gflop": 0.0}
    results: dict[str, Any] = {"stages": [part, other], "best_gflops": 50.0, "best_gb_per_s": 10.0}
    axes: Any = roofline(results, 2).axes[0]
    assert axes.lines[0].get_ydata().max() == 50  # the flat part
    np.testing.assert_allclose(axes.collections[0].get_offsets(), [[8.0, 2.0]])
    assert "a (75% of the time)" in [text.get_text() for text in axes.get_legend().get_texts()]
    assert len(axes.collections) == 1


def test_without_the_measurements() -> None:
    with pytest.raises(HsisrError, match="no sizes"):
        cost_against_size({})
    with pytest.raises(HsisrError, match="no stages at x4"):
        roofline({"stages": []}, 4)
