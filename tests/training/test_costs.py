"""The tables of chapter "What it costs", from a file made here, and the cost of a scene."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hsisr_core.errors import HsisrError
from hsisr_core.training.costs import about, bars, covered, gpu_days, load_benchmarks, scene_cost, stage_table
from hsisr_core.training.estimate import GPUS, PEAK_SHARE

ROW = {"unit": "x", "low": None, "high": None, "at_least": None, "at_most": None, "met": None}


@pytest.fixture
def results() -> dict[str, Any]:
    machine = {"cores": 2, "threads": 2, "isa": "x86_64 AVX2", "memory_bytes": 8e9, "system": "Linux"}
    bar = {"group": "score", "name": "score", "value": 5.126, "at_least": 5.0, "met": True}
    part = {"seconds": 1.0, "gflop": 3.0, "gflops": 3.0, "flop_per_byte": 2.0, "share": 0.1}
    return {
        "quick": False,
        "machine": machine | {"versions": {"torch": "2.13.0"}, "date": "2026-01-02"},
        "rows": [
            ROW | bar | {"low": 4.9, "high": 6},
            ROW | {"group": "quality", "name": "quality", "value": None},
        ],
        "stages": [part | {"scale": 4, "stage": "a"}, part | {"scale": 4, "stage": "b", "seconds": 3.0}],
    }  # fmt: skip


def test_bars_are_printed_with_spread_and_verdict(results: dict[str, Any]) -> None:
    assert list(bars(results, ["score"]).loc["score"]) == ["5.13 x (4.9 to 6)", "at least 5, met"]
    assert list(bars(results, ["quality"]).loc["quality"]) == ["not reached", ""]


def test_the_machine_is_the_file_s(results: dict[str, Any]) -> None:
    assert about(results)["instruction set"] == "x86_64 AVX2"
    assert about(results)["sizes"] == "full"
    assert "mean nothing" in about(results | {"quick": True})["sizes"]


def test_stages_share_the_time(results: dict[str, Any]) -> None:
    assert stage_table(results, 4)["share of time"].tolist() == [0.25, 0.75]
    with pytest.raises(HsisrError, match="no stages at x2"):
        stage_table(results, 2)


def test_operations_that_take_no_time_share_one_row(results: dict[str, Any]) -> None:
    small: dict[str, Any] = {"scale": 4, "gflop": 0.02, "gflops": 2.0, "flop_per_byte": 1.0, "share": 0.1}
    results["best_gflops"] = 10.0
    results["stages"] += [small | {"stage": name, "seconds": 0.01} for name in ("a", "b")]
    table = stage_table(results, 4)
    last = table.iloc[-1]
    assert table.index[-1] == "others, each below 1% of the time"
    assert len(table) == 3
    assert (last["seconds"], last["GFLOP"], last["of the best rate"]) == pytest.approx((0.02, 0.04, 0.2))
    assert table["share of time"].sum() == pytest.approx(1)


def test_the_committed_file_can_be_read() -> None:
    results = load_benchmarks()
    assert {row["group"] for row in results["rows"]} >= {"inference", "training", "score", "sizes"}
    assert about(results)["cores"] >= 1


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "does not exist"), ("{", "no valid JSON"), (json.dumps({"quick": 1}), "no 'machine'")],
)
def test_a_file_that_is_none(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "results.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(HsisrError, match=message):
        load_benchmarks(path)


@pytest.mark.parametrize(("side", "tile", "halo"), [(10, 4, 3), (7, 7, 2), (100, 30, 24), (5, 9, 1)])
def test_covered_pixels_of_tiles(side: int, tile: int, halo: int) -> None:
    spans = [range(max(0, start - halo), min(side, start + tile + halo)) for start in range(0, side, tile)]
    assert covered(side, tile, halo) == sum(map(len, spans))


def test_cost_of_a_scene() -> None:
    small, large = scene_cost(5, 80, 80, 2, features=8), scene_cost(5, 160, 80, 2, features=8)
    assert small["SR pixels"] == "160 x 160, 5 bands"
    assert large["multiply-adds (10^12)"] == pytest.approx(2 * small["multiply-adds (10^12)"])
    assert large["memory (GB)"] == pytest.approx(2 * small["memory (GB)"], rel=0.05)
    assert large["seconds"] > 0
    with pytest.raises(HsisrError, match="at least 1 by 1"):
        scene_cost(3, 0, 20, 2)


def test_gpu_days_follow_from_the_operations() -> None:
    """25 scenes: 360 patches each, 562 steps an epoch, 200 epochs; 40.45 G multiply-adds a patch at x2."""
    flop = 3 * 2 * 40_451_506_176 * 16 * 112_400
    days = gpu_days(25, scales=(2,))["days at x2"]
    assert days["A100"] == pytest.approx(flop / (PEAK_SHARE * GPUS["A100"][0] * 1e12) / 86400)
