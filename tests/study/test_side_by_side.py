"""Tables of the paper beside runs with made-up scores: every number follows by hand."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_plan import small_plan

from hsisr_core.base import sha256_file, write_json
from hsisr_core.errors import HsisrError
from hsisr_core.runs import Run, find_run, open_run, read_plan, read_run, results_folder
from hsisr_core.study import (
    baseline,
    compare_methods,
    compare_rows,
    difference_table,
    get_runs,
    not_converged,
    origin,
    paired,
    repeats_needed,
    row_curves,
    row_label,
    rows_of,
    show_rows,
    show_tries,
    smallest_difference,
)

OTHERS = {"mpsnr": 30.0, "rmse": 0.1, "ergas": 1.0, "scored_bands": 200, "scored_border": 0}
SCORES = {("l1", 1): 30.0, ("l1", 2): 30.4, ("mse", 1): 29.0, ("mse", 2): 29.8, ("0.5*mse+0.5*sam", 1): 27.0}


def finished(tmp_path: Path, runs: str, scores: dict[Any, float], *names: str) -> list[Run]:
    """Runs of a plan with a PSNR by the settings `names`; bicubic has 29.5 dB."""
    made = []
    for number, planned in enumerate(small_plan(tmp_path, runs)):
        run = open_run(planned.config, tmp_path / "runs", planned.dataset)
        psnr = scores[tuple(getattr(run.config, name) for name in names)]
        mean = {
            "ssrnet": {"psnr": psnr, "ssim": 0.9, "sam": 2.0},
            "bicubic": {"psnr": 29.5, "ssim": 0.8, "sam": 3.0},
        }
        images = [
            {"image": "north-east", "result": name, **values, **OTHERS} for name, values in mean.items()
        ]
        write_json(
            run.folder / "metrics.json",
            {
                "config": run.config.to_dict(), "fingerprint": run.fingerprint, "seconds": 2.0,
                "mean": mean, "images": images, "dataset": "indian-pines", "steps": 20,
                "processor_seconds": 2.0 + number, "parameters": 7,
                "split": {"name": "indian-pines", "train": [], "test": ["north-east"]},
            },
        )  # fmt: skip
        (run.folder / "history.csv").write_text(
            f"step,loss,learning_rate,seconds,psnr\n0,,1,0,20\n10,1,1,1,{psnr - 0.2}\n20,1,1,2,{psnr}\n"
        )
        made.append(run)
    return made


@pytest.fixture
def losses(tmp_path: Path) -> list[Run]:
    runs = '[{product: {seed: [2, 1], loss: [l1, mse]}}, {loss: "0.5*mse+0.5*sam"}]'
    return finished(tmp_path, runs, SCORES, "loss", "seed")


def test_labels_and_the_paper_s_own_row() -> None:
    assert [baseline(name) for name in ("loss", "ablation", "block", "modules")] == [
        "L1",
        "LFF + GRL",
        "separable",
        "D = 3",
    ]
    assert row_label("ablation", {"local_fusion": False, "global_residual": False}) == "neither"
    assert row_label("ablation", {"local_fusion": False, "global_residual": True}) == "GRL"


def test_curves_of_rows_also_of_their_second_half(losses: list[Run]) -> None:
    curves = row_curves(rows_of("loss", losses))
    assert [curve["over_bicubic"].tolist() for curve in curves["all steps"]["MSE"]] == [
        pytest.approx([-9.5, -0.7, -0.5]),
        pytest.approx([-9.5, 0.1, 0.3]),
    ]
    assert curves["second half"]["L1"][0]["step"].tolist() == [10, 20]


def test_scenes_of_the_training_side_validate() -> None:
    tried, *_ = (read_run(file.parent) for file in results_folder().glob("tune/*/metrics.json"))
    assert "(split cave-25-tune, validation: thread_spools), seed 1, from the book" in origin([tried])


def test_a_cost_is_the_least_of_the_seeds(tmp_path: Path) -> None:
    runs = finished(tmp_path, "[{product: {seed: [1, 2, 3]}}]", {("l1",): 30.0}, "loss")
    write_json(runs[2].folder / "metrics.json", runs[2].metrics | {"processor_seconds": 2.0})
    assert compare_rows("loss", runs)["processor_seconds"]["L1"] == 2
    assert compare_methods(runs)["processor_seconds"].dropna().tolist() == [2]


def test_rows_means_and_differences(losses: list[Run]) -> None:
    table = compare_rows("loss", losses)
    assert list(table.index) == ["MSE", "L1", "0.5 MSE + 0.5 SAM"]
    assert table["paper_difference"].tolist() == pytest.approx([-0.37, 0, -1.77])
    assert table["psnr"].tolist() == pytest.approx([29.4, 30.2, 27.0])
    assert table["spread"].tolist()[:2] == pytest.approx([0.8 / 2**0.5, 0.4 / 2**0.5])
    assert np.isnan(table["spread"].to_dict()["0.5 MSE + 0.5 SAM"])
    # of the same seed: -1.0 and -0.6; the third loss has only seed 1
    assert table["difference"].tolist() == pytest.approx([-0.8, 0, -3.0])
    assert table["over_bicubic"].tolist() == pytest.approx([-0.1, 0.7, -2.5])
    assert table["seeds"].tolist() == [2, 2, 1]
    assert table["processor_seconds"].tolist() == pytest.approx([3, 2, 6])  # in the plan's order
    assert table.attrs["table"] == "Table I"
    assert table.attrs["ours"] == (
        "x2, preset tiny, indian-pines (split indian-pines, test: north-east), seeds 1, 2, trained here, 20 "
        "steps; bicubic 29.50 dB, 3.00°"
    )


def test_the_tries_are_shown_with_what_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSISR_RUNS", str(tmp_path))
    shown: Any = show_tries("tune").data  # type: ignore[attr-defined]
    assert list(shown.columns)[-4:] == ["PSNR", "SSIM", "SAM", "gain"]
    assert {"method", "learning rate", "steps"} <= set(shown.columns)
    assert not {"seed", "scale", "evaluate every"} & set(shown.columns)
    assert shown["method"].tolist() == sorted(shown["method"], reverse=True)
    assert len(shown) == len(list((results_folder() / "tune").glob("*/metrics.json")))


def test_what_came_with_the_book_is_taken_and_the_rest_not_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HSISR_RUNS", str(tmp_path))
    tries = read_plan("tune").configs
    runs = get_runs(tries)
    assert all(run.committed for run in runs)
    assert [run.config for run in runs] == [run.config for config in tries if (run := find_run(config))]
    assert not list(tmp_path.iterdir())
    # also where one of them was trained here
    own = tmp_path / runs[0].folder.name
    shutil.copytree(runs[0].folder, own)
    (own / "weights.safetensors").write_bytes(b"weights")
    digest = sha256_file(own / "weights.safetensors")
    write_json(own / "metrics.json", runs[0].metrics | {"weights_sha256": digest})
    assert [run.folder for run in get_runs(tries)] == [own, *(run.folder for run in runs[1:])]


def test_other_runs_are_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSISR_RUNS", str(tmp_path / "runs"))
    planned = [run.config for run in small_plan(tmp_path, "[{product: {seed: [1, 2]}}]", steps=1)]
    runs = get_runs(planned)
    assert [run.config for run in runs] == planned
    assert all(run.finished and not run.committed for run in runs)


def test_pairs_are_of_the_same_seed(losses: list[Run]) -> None:
    pairs = paired("loss", losses)
    assert pairs.index.tolist() == [1, 2]
    assert pairs["MSE"].tolist() == pytest.approx([-1.0, -0.6])
    assert pairs["L1"].tolist() == [0, 0]
    assert pairs["0.5 MSE + 0.5 SAM"].tolist() == pytest.approx([-3.0, np.nan], nan_ok=True)


def test_a_row_without_a_run_stays_in_the_table(losses: list[Run]) -> None:
    few = [run for run in losses if run.config.loss == "l1"]
    table = compare_rows("loss", few)
    assert table["paper_psnr"].tolist() == [44.62, 44.99, 43.22]
    assert np.isnan(table["psnr"].to_dict()["MSE"])
    html = show_rows(table).to_html()
    assert "44.62" in html
    assert "–" in html
    assert "seeds 1, 2, trained here, 20 steps" in html


def test_runs_that_differ_in_something_else_are_refused(tmp_path: Path, losses: list[Run]) -> None:
    other = small_plan(tmp_path, "[{scale: 3}]")[0]
    run = open_run(other.config, tmp_path / "runs", other.dataset)
    with pytest.raises(HsisrError, match=r"table loss differ in scale \(2, 3\), which is none of its rows"):
        rows_of("loss", [*losses, run])
    with pytest.raises(HsisrError, match="no run of table loss"):
        rows_of("loss", [])


def test_what_has_not_converged_is_said(losses: list[Run]) -> None:
    text = not_converged(rows_of("loss", losses))
    assert text.startswith("**Below bicubic:** MSE (by 0.10 dB); 0.5 MSE")
    assert "Not converged" not in text, "nothing is asked of a cosine schedule"
    steady = [
        dataclasses.replace(run, config=run.config.model_copy(update={"schedule": "constant"}))
        for run in losses
    ]
    text = not_converged(rows_of("loss", steady))
    assert text.startswith("**Below bicubic:** MSE (by 0.10 dB); 0.5 MSE")
    assert "**Not converged:** L1 (+0.20 dB from step 10 to 20). " in text
    for run in losses:
        run.folder.joinpath("history.csv").write_text("step,loss,psnr\n0,,20\n10,1,31\n20,1,31.01\n")
    assert "L1" not in not_converged(rows_of("loss", steady))
    better = not_converged({"L1": [run for run in losses if run.config.loss == "l1"]})
    assert better == "**No row is below bicubic.**"


def test_intervals_by_hand(losses: list[Run]) -> None:
    table = difference_table("loss", losses)
    assert list(table.index) == ["MSE", "0.5 MSE + 0.5 SAM"]
    mse = table.loc["MSE"].to_dict()
    assert mse["mean"] == pytest.approx(-0.8)
    assert mse["spread"] == pytest.approx(0.4 / 2**0.5)
    # Student's t of one degree of freedom is 12.706; the standard error of two is 0.2
    assert mse["high"] - mse["mean"] == pytest.approx(12.706 * 0.2, rel=1e-4)
    # t of 0.975 and 0.8 with 6 degrees of freedom: ((2.447 + 0.906) * 0.2828 / 0.37)^2 = 6.57
    assert mse["needed"] == 7
    assert np.isnan(table["low"].to_dict()["0.5 MSE + 0.5 SAM"]), "one seed has no spread"
    assert np.isnan(table["needed"].to_dict()["0.5 MSE + 0.5 SAM"])


def test_repeats_needed() -> None:
    # Cohen 1988, as G*Power prints them: pairs for effects of 0.2, 0.5, 0.8 and 1 at power 0.8, two-sided 5 %
    assert [repeats_needed(1.0, effect) for effect in (0.2, -0.5, 0.8, 1.0)] == [199, 34, 15, 10]
    assert repeats_needed(0.001, 1.0) == 3
    assert repeats_needed(1.0, 1e-4) == pytest.approx(2.8016**2 * 1e8, rel=1e-4)
    # the quantiles of Student's t with two degrees of freedom are 4.303 and 1.061
    assert smallest_difference(0.1, 3) == pytest.approx(0.1 * (4.303 + 1.061) / 3**0.5, rel=1e-3)
    assert repeats_needed(0.1, 0.0) == np.inf
    assert np.isnan(repeats_needed(np.nan, 0.1))
