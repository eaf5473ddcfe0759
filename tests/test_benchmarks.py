"""The benchmarks' own arithmetic, and each piece of work once, small. Nothing is timed here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_book import ROOT

from benchmarks.__main__ import line
from benchmarks.measure import ratio
from benchmarks.stages import stages
from benchmarks.suite import Row
from benchmarks.work import WORK

SMALL: dict[str, Any] = {"scale": 2, "features": 4}
WAYS: dict[str, dict[str, Any]] = {
    "inference": SMALL | {"height": 9, "width": 7},
    "training": SMALL | {"batch": 2, "patch": 4},
    "scoring": {"side": 16},
    "resizing": {"side": 16, "scale": 0.5},
}


@pytest.mark.parametrize("work", WAYS)
def test_both_ways_do_the_same_work(work: str) -> None:
    outputs = []
    for way in ("ours", "plain"):
        run, warm_up = WORK[work](way, **WAYS[work])
        if work != "training":  # each step changes the weights
            warm_up()
        outputs.append(np.asarray(run()))
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=0, atol=1e-5)


def test_the_loader_loads() -> None:
    run, _ = WORK["loading"]("ours", scale=2, batch=3, patch=4, lr_side="scene", side=32)
    assert run().shape == (3, 31, 4, 4)


def test_the_corner_is_the_scene_s_own() -> None:
    scene, _ = WORK["inference"]("ours", **SMALL, height=40, width=36)
    corner, _ = WORK["corner"]("plain", **SMALL, height=40, width=36, part=30)
    inner = 2 * (30 - 24)  # the halo is 24
    np.testing.assert_allclose(scene()[:, :inner, :inner], corner()[:, :inner, :inner], rtol=0, atol=1e-5)


def test_stages_count_every_operation() -> None:
    parts = stages(2, 4, 6, 5)
    total = sum(float(part["gflop"]) for part in parts)
    assert total > 0
    assert any(part["stage"] == "everything else" and part["gflop"] == 0 for part in parts)
    assert all(float(part["flop_per_byte"]) > 0 for part in parts if part["gflop"])


def test_ratio_of_medians_and_its_spread() -> None:
    assert ratio([4.0, 8.0, 6.0], [2.0, 1.0, 3.0]) == (3.0, 4 / 3, 8.0)


def test_a_row_says_its_spread_and_its_verdict() -> None:
    row = Row("score", 5.126, 4.9, 6, at_least=5.0)
    assert (row.result, row.wanted) == ("5.13 x (4.9 to 6)", "at least 5, met")
    row = Row("memory", 0.25, unit="of plain", at_most=0.2)
    assert (row.result, row.wanted) == ("0.25 of plain", "at most 0.2, missed")
    assert (Row("quality", None).result, Row("quality", None).wanted) == ("not reached", "")


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (Row("a", 4.0, at_least=4.0), True),
        (Row("a", 3.9, at_least=4.0), False),
        (Row("a", 0.2, at_most=0.2), True),
        (Row("a", 0.3, at_most=0.2), False),
        (Row("a", 0.3), None),
        (Row("a", None, at_least=1.0), None),
    ],
)
def test_a_bar_is_met_or_not(row: Row, met: bool | None) -> None:
    assert row.met is met
    assert ("missed" in line(row)) == (met is False)


@pytest.mark.slow
def test_the_gpu_script_runs_to_its_end_before_a_gpu_is_paid_for(hsisr_data: Path, tmp_path: Path) -> None:
    data = str(hsisr_data / "cave_nine")
    command = [
        sys.executable,
        "-m",
        "benchmarks.gpu",
        str(tmp_path),
        "--data",
        data,
        "--steps=2",
        "--minutes=1",
    ]
    subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"HSISR_CACHE": str(tmp_path / "cache")})
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert {row["mode"] for row in found["timings"]} >= {"float32"}
    assert not [row["error"] for row in found["timings"] if "error" in row and "compiled" not in row["mode"]]
    for scale, training in zip((4, 2), found["trainings"], strict=True):
        metrics = json.loads((tmp_path / "runs" / training["run"] / "metrics.json").read_text())
        assert (metrics["steps"], metrics["config"]["scale"], metrics["config"]["precision"]) == (
            2,
            scale,
            "bf16",
        )
