"""The paper's tables as printed, and the truncation rule."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from hsisr_core.errors import HsisrError
from hsisr_core.paper import TABLES, agrees, paper_table, paper_value, successor_table, table_settings
from hsisr_core.runs.config import RunConfig


def test_tables_have_the_papers_rows_and_columns() -> None:
    metrics = ["psnr", "ssim", "sam"]
    expected = {
        "loss": (["loss", *metrics], 3),
        "ablation": (["local_fusion", "global_residual", *metrics], 4),
        "block": (["block", "parameters_k", *metrics], 2),
        "modules": (["modules", *metrics], 4),
        "comparison": (["dataset", "scale", "method", *metrics], 3 * 3 * 5),
    }
    assert list(expected) == list(TABLES)
    for name, (columns, rows) in expected.items():
        table = paper_table(name)
        assert list(table.columns) == columns
        assert len(table) == rows
        assert not table.isna().any(axis=None)
    assert paper_table("modules").attrs["table"] == "Table IV"


def test_values_as_printed() -> None:
    ablation = paper_table("ablation").set_index(["local_fusion", "global_residual"])
    assert ablation.loc[(True, False), "psnr"] == 44.39  # LFF1GRL0
    assert ablation.loc[(False, True), "psnr"] == 44.44  # LFF0GRL1
    block = paper_table("block").set_index("block")
    assert block.loc["separable", "parameters_k"] == 1275
    assert block.loc["standard", "parameters_k"] == 2562
    modules = paper_table("modules").set_index("modules")
    assert modules.loc[3, "psnr"] == 45.01
    assert paper_value("CAVE", 2, "ssrnet") == {"psnr": 44.99, "ssim": 0.974, "sam": 2.26}
    assert paper_value("Foster", 4, "3d-fcnn") == {"psnr": 52.18, "ssim": 0.992, "sam": 7.79}


def test_what_the_papers_after_it_print() -> None:
    table = successor_table()
    rows = {row[:3]: row[3:] for row in table.itertuples(index=False, name=None)}
    assert len(rows) == len(table) == 27
    assert rows["Harvard", 4, "sfcsr"] == (40.077, 0.9373, 2.407, False)
    assert rows["Pavia Centre", 2, "ercsr"] == (35.422, 0.9498, 3.435, False)
    assert [place for place, row in rows.items() if row[-1]] == [("CAVE", 4, "ercsr")]
    assert rows["CAVE", 4, "ercsr"][0] == rows["CAVE", 3, "ercsr"][0]


@pytest.mark.parametrize("arguments", [("Pavia", 2, "ssrnet"), ("CAVE", 8, "ssrnet"), ("CAVE", 2, "mcnet")])
def test_unknown_values_are_refused(arguments: tuple[str, int, str]) -> None:
    with pytest.raises(HsisrError, match="Table V of the paper has no"):
        paper_value(*arguments)


def test_rows_are_settings_of_a_run_in_the_order_of_the_table() -> None:
    for name in ("loss", "ablation", "block", "modules"):
        rows = table_settings(name)
        printed = paper_table(name)
        assert printed[list(rows[0])].to_dict("records") == rows
        assert [RunConfig(**row).to_dict() | row for row in rows] == [
            RunConfig(**row).to_dict() for row in rows
        ]
    assert table_settings("comparison") == [{}]
    with pytest.raises(HsisrError, match="loss, ablation, block, modules, comparison"):
        table_settings("results")


def test_unknown_table_is_refused() -> None:
    with pytest.raises(HsisrError, match="loss, ablation, block, modules, comparison"):
        paper_table("results")


@pytest.mark.parametrize(
    ("printed", "ours", "decimals", "expected"),
    [
        (44.99, 44.99, 2, True),
        (44.99, 44.9999999, 2, True),
        (44.99, 45.0, 2, False),
        (44.99, 44.9899999, 2, False),
        (0.974, 0.974, 3, True),  # the float is below 0.974, the printed number is the same float
        (0.97, 0.9709, 3, True),  # printed as 0.970
        (0.97, 0.971, 3, False),
        (2.3, 2.309, 2, True),
        (2.3, 2.31, 2, False),
        (0.29, 0.1 + 0.19, 2, True),
        (1275, 1275.138, 0, True),
        (2562, 2563.0, 0, False),
        ("0.970", np.float32(0.9701), 3, True),
        (44.99, math.nan, 2, False),
        (44.99, math.inf, 2, False),
    ],
)
def test_agrees_by_truncation(printed: Any, ours: float, decimals: int, expected: bool) -> None:
    assert agrees(printed, ours, decimals) is expected
