"""Tables in the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_plan import finish, small_plan

from hsisr_core.cli.report import duration, estimate_table, status_table
from hsisr_core.runs.status import RunState, run_state
from hsisr_core.training import Estimate


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (45, "45 s"), (100, "1.7 min"), (3600, "60 min"), (9000, "2.5 h"), (864000, "10.0 d")],
)  # fmt: skip
def test_a_duration_in_the_unit_that_suits_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_status_names_every_run_and_counts(tmp_path: Path) -> None:
    runs = small_plan(tmp_path, "[{product: {seed: [1, 2, 3, 4]}}]", steps=2000)
    finish(runs[0], psnr=31.234, seconds=200)
    states = [run_state(run) for run in runs[:2]]
    states += [RunState("running", 1000, 2000, 150.0), RunState("failed", 0, 2000, error="no luck")]
    lines = status_table(runs, states).splitlines()
    assert lines[0].split() == ["state", "steps", "time", "PSNR", "(dB)"]
    assert lines[1].split() == ["seed=1", "done", "2,000/2,000", "3.3", "min", "31.23"]
    assert lines[2].split() == ["seed=2", "missing", "0/2,000"]
    assert lines[3].split() == ["seed=3", "running", "1,000/2,000", "2.5", "min"]
    assert lines[4].split() == ["seed=4", "failed", "0/2,000"]
    assert lines[-2] == "seed=4: no luck"
    assert lines[-1] == "4 runs: 1 done, 1 running, 1 failed, 1 missing"


def test_estimates_say_what_they_are(tmp_path: Path) -> None:
    runs = small_plan(tmp_path, "[{product: {seed: [1, 2]}}]")
    estimates = [Estimate(1650, 3e12, int(2e8), 90.0, "9 steps", 40.0)] * 2
    text = estimate_table(runs, estimates, "A100")
    first = text.splitlines()[1]
    assert first.split() == ["seed=1", "1,650", "20", "3", "200", "MB", "90", "s", "40", "s", "9", "steps"]
    assert "In all 3.0 min here, 80 s on one A100." in text
    assert "Estimates:" in text
    assert (
        "A100: not measured; 35% of 19.5 TFLOP/s, the peak FP32 rate of one (A100 Tensor Core GPU datasheet"
        in text
    )
    assert "not measured" not in estimate_table(runs, [Estimate(1, 1.0, 1, 1.0, "", None)] * 2, None)
