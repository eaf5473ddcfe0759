"""Verdicts on made-up scores, both ways, and their sentences."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from hsisr_core.runs import Run, read_run, results_folder
from hsisr_core.study import image_gains, judge_claims, judge_gains, list_claims


def gains(*rows: list[float]) -> pd.DataFrame:
    """A row for each image, a column for each seed."""
    return pd.DataFrame(rows, index=[f"image {number}" for number in range(len(rows))])


@pytest.mark.parametrize(
    ("table", "margin", "verdict"),
    [
        (gains([0.5, 0.6, 0.55], [0.4, 0.5, 0.45], [0.5, 0.55, 0.5]), 0.0, "holds"),
        (-gains([0.5, 0.6, 0.55], [0.4, 0.5, 0.45], [0.5, 0.55, 0.5]), 0.0, "does not hold"),
        (gains([0.5, -0.6, 0.1], [0.4, -0.5, 0.2], [0.5, 0.1, -0.3]), 0.0, "cannot be told"),
        (gains([0.01, 0.0, -0.01], [0.0, 0.01, 0.0], [-0.01, 0.0, 0.0]), 0.1, "holds"),
        (gains([0.5], [0.6], [0.7]), 0.0, "cannot be told"),
        (gains([0.5, 0.6, 0.7]), 0.0, "cannot be told"),
    ],
)
def test_a_verdict_turns_with_the_scores(table: pd.DataFrame, margin: float, verdict: str) -> None:
    assert judge_gains(table, margin)["verdict"] == verdict


def test_an_interval_by_hand() -> None:
    found = judge_gains(gains([1.0, 2.0], [3.0, 4.0]))
    # images 1.5 and 3.5, seeds 2 and 3: variances 2 and 0.5, two of each, so squared errors of 1 and
    # 0.25, each with one degree of freedom, together 1.25^2 / (1 + 0.25^2) = 1.4706; t is then 6.188
    assert (found["ours"], found["better"], found["images"], found["seeds"]) == (2.5, 2, 2, 2)
    assert found["high"] - 2.5 == pytest.approx(6.188 * (2 / 2 + 0.5 / 2) ** 0.5, abs=1e-3)
    # equal seeds leave four degrees of freedom of the images, t = 2.776, where min(m, n) - 1 are two, t = 4.303
    sure = judge_gains(gains(*([gain] * 3 for gain in (0.1, 0.3, 0.5, 0.7, 0.9))))
    assert sure["low"] == pytest.approx(0.5 - 2.776 * (0.1 / 5) ** 0.5, abs=1e-4)
    assert (sure["verdict"], sure["strict"]) == ("holds", "cannot be told")


def test_real_runs_are_judged_and_listed() -> None:
    runs: list[Run] = [read_run(folder.parent) for folder in results_folder().glob("tune/*/metrics.json")]
    ssrnet, edsr = ([run for run in runs if run.config.method == method] for method in ("ssrnet", "edsr"))
    assert (image_gains(ssrnet[:1]) > 0).all(axis=None), "better than bicubic"
    table = judge_claims({"comparison": [ssrnet[0], edsr[0]], "loss": []}).set_index("claim")
    row = table.loc["SSRNet over EDSR"]
    expected = ssrnet[0].metrics["mean"]["ssrnet"]["psnr"] - edsr[0].metrics["mean"]["edsr"]["psnr"]
    assert row["ours"] == pytest.approx(expected)
    assert row["paper"] == pytest.approx(44.99 - 44.06, abs=0.5)
    sam = [run.metrics["mean"][run.config.method]["sam"] for run in (ssrnet[0], edsr[0])]
    assert row["sam"] == pytest.approx(sam[0] - sam[1]), "negative: SSRNet's is the smaller angle"
    assert row["paper_sam"] == pytest.approx(2.26 - 2.63)
    assert (row["verdict"], table.loc["L1 over MSE", "verdict"]) == ("cannot be told", "not trained")
    table = table.reset_index()
    text = list_claims(table)
    assert text.startswith(
        '<p><a href="10-comparison.html">Table V, x2</a> (32 to 64 filters, 1,500 to 3,000 steps):</p>'
    )
    assert re.search(
        r"<li>SSRNet over bicubic: <b>cannot be told, one seed</b> "
        r"\(\+\d\.\d\d dB, better on 1 of 1 scenes; SAM [+-]\d\.\d\d°; "
        r"paper, CAVE: \+4\.\d\d dB\)</li>",
        text,
    )
    assert re.search(r'<p><b>not trained</b>: .*<a href="06-losses.html">L1 over MSE, x2</a>', text)
    table.loc[[0, 1], "seeds"], table.loc[0, ["low", "high"]] = 3, [1.5, 2.5]
    table.loc[0, "verdict"], table.loc[1, "verdict"], table.loc[1, "below"] = "holds", "does not hold", 0.25
    first, second, *_ = list_claims(table).split("</li>")
    assert re.search(
        r"<b>holds</b> \(\+\d\.\d\d dB, better on 1 of 1 scenes, 3 seeds, 95 % from \+1\.50 to \+2\.50; SAM",
        first,
    )
    assert "SSRNet over EDSR: <b>does not hold</b> (" in second
    assert second.endswith("; EDSR is 0.25 dB below bicubic)")
