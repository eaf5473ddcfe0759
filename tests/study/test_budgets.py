"""Budgets of two networks, of runs with made-up scores: every number follows by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_plan import finish, small_plan

from hsisr_core.runs import Run
from hsisr_core.study import compare_budgets, show_budgets, with_any_steps

PLAN = """[{steps: 20}, {steps: 20, seed: 2}, {method: edsr, steps: 40}, {steps: 5},
{method: edsr, steps: 20, evaluate_every: 5}, {method: edsr, steps: 10, features: 8}, {steps: 20, scale: 3}]"""
SECONDS = (200.0, 120.0, 30.0, 50.0, 10.0)  # the second shows what a step of SSRNet takes
PSNR = (38.0, 39.0, 38.5, 36.0, 37.0)


def finished(folder: Path, *seconds: float | None) -> tuple[list[Run], list[Run]]:
    """The runs that differ from the first and the third in steps and seed alone; and these two."""
    planned = small_plan(folder, PLAN)
    rows = [planned[0].config, planned[2].config]
    kept = with_any_steps([run.config for run in (*planned, planned[0])], rows)
    assert kept == [run.config for run in planned[:5]], "one of each, and no other width or scale"
    for run, time, psnr in zip(planned, seconds, PSNR, strict=False):
        finish(run, psnr, processor_seconds=time)
    runs = [Run(run.folder, run.config, run.dataset.fingerprint) for run in planned[:5]]
    return runs, [runs[0], runs[2]]


def test_equal_steps_and_equal_time_by_hand(tmp_path: Path) -> None:
    runs, rows = finished(tmp_path, *SECONDS)
    table = compare_budgets(runs, [run.config for run in rows], ("ssrnet", "edsr"))
    assert list(table.index) == ["as in Table V", "at equal steps"], "6 s a step and 0.5 s have no equal time"
    assert table.T["as in Table V"].to_dict() == pytest.approx(
        {
            "steps SSRNet": 20, "steps EDSR": 40, "CPU s SSRNet": 120.0, "CPU s EDSR": 20.0,
            "PSNR SSRNet": 38.0, "PSNR EDSR": 38.5, "difference": -0.5,
        }
    )  # fmt: skip
    assert table.T["at equal steps"][["steps EDSR", "CPU s EDSR", "difference"]].tolist() == [20, 10.0, 1.0]


@pytest.mark.parametrize(("seconds", "equal"), [(15.9, False), (16.1, True), (24.9, True), (25.1, False)])
def test_times_within_a_quarter_are_equal(tmp_path: Path, seconds: float, equal: bool) -> None:
    """Five steps of SSRNet take `seconds`, 40 of EDSR 20."""
    runs, rows = finished(tmp_path, 4 * seconds, None, 20.0, None, None)
    table = compare_budgets(runs, [run.config for run in rows], ("ssrnet", "edsr"))
    assert table.loc["at equal time":, "steps SSRNet"].tolist() == [5] * equal
    assert table.loc["at equal time":, "CPU s SSRNet"].tolist() == pytest.approx([seconds] * equal)


def test_a_budget_says_what_it_belongs_to_and_a_gpu_has_no_processor_seconds(tmp_path: Path) -> None:
    runs, rows = finished(tmp_path, *[None] * 5)
    table = compare_budgets(runs, [run.config for run in rows], ("ssrnet", "edsr"))
    assert list(table.index) == ["as in Table V", "at equal steps"]
    assert table["CPU s EDSR"].isna().all()
    html = show_budgets(table).to_html()
    assert "<caption>x2, preset tiny, indian-pines (split indian-pines, test: north-east), seed 1, " in html
    assert all(text in html for text in (">–<", ">-0.50<", ">+1.00<"))
