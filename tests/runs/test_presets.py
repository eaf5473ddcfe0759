"""The `runs` of a plan as a list of settings."""

from __future__ import annotations

from typing import Any

import pytest

from hsisr_core.errors import HsisrError
from hsisr_core.runs.presets import count_runs, expand


def test_entries_and_products_in_their_order() -> None:
    runs = [
        {"seed": 5},
        {"features": 8, "product": {"scale": [2, 3], "seed": [1, 2]}},
        {},
        {"product": {"image_sizes": [[1.0], [1.0, 0.5]]}},
    ]
    assert [settings for _, settings in expand(runs, "plan x")] == [
        {"seed": 5},
        {"features": 8, "scale": 2, "seed": 1},
        {"features": 8, "scale": 2, "seed": 2},
        {"features": 8, "scale": 3, "seed": 1},
        {"features": 8, "scale": 3, "seed": 2},
        {},
        {"image_sizes": [1.0]},
        {"image_sizes": [1.0, 0.5]},
    ]
    assert count_runs(runs, "plan x") == 8


def test_an_entry_names_the_table_it_feeds() -> None:
    runs = [
        {"table": "ablation", "steps": 3, "product": {"seed": [1, 2]}},
        {"table": "comparison", "method": "ssrnet"},
        {"table": "modules"},
        {"seed": 4},
    ]
    expanded = [(entry.table, dict(settings)) for entry, settings in expand(runs, "plan x")]
    assert expanded[:3] == [
        ("ablation", {"steps": 3, "local_fusion": False, "global_residual": False, "seed": 1}),
        ("ablation", {"steps": 3, "local_fusion": False, "global_residual": False, "seed": 2}),
        ("ablation", {"steps": 3, "local_fusion": True, "global_residual": False, "seed": 1}),
    ]
    assert expanded[8:] == [
        ("comparison", {"method": "ssrnet"}),
        *(("modules", {"modules": depth}) for depth in (2, 3, 4, 5)),
        (None, {"seed": 4}),
    ]
    assert count_runs(runs, "plan x") == 4 * 2 + 1 + 4 + 1


def test_a_huge_product_is_counted_without_expanding_it() -> None:
    runs = [{"product": {name: list(range(1000)) for name in "abcdef"}}]
    assert count_runs(runs, "plan x") == 10**18


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        (None, "plan x: `runs` must be a list"),
        ([], "at least one entry"),
        ({"seed": 1}, "must be a list"),
        ([{"seed": 1}, "seed"], "entry 2 of runs is 'seed': expected a mapping"),
        ([{1: 2}], "entry 1 of runs is {1: 2}"),
        ([{"product": [1, 2]}], "`product` maps each setting"),
        ([{"product": {}}], "`product` maps each setting"),
        ([{"product": {"seed": 3}}], "product has seed=3, expected a list"),
        ([{"product": {"seed": []}}], "product has seed=[], expected a list"),
        ([{"seed": 1, "product": {"seed": [1, 2]}}], "seed is set inside and beside product"),
        ([{"table": "I"}], "entry 1 of runs: table='I', expected one of loss, ablation, block"),
        ([{"table": None}], "table=None, expected one of"),
        ([{"table": ["loss"]}], "table=['loss'], expected one of"),
        ([{"table": "loss", "loss": "l1"}], "loss is set by the rows of table loss"),
        ([{"table": "modules", "product": {"modules": [1]}}], "modules is set by the rows of table modules"),
    ],
)
def test_another_form_is_refused(runs: Any, words: str) -> None:
    for call in (lambda: list(expand(runs, "plan x")), lambda: count_runs(runs, "plan x")):
        with pytest.raises(HsisrError) as raised:
            call()
        assert words in str(raised.value)
