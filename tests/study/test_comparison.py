"""Table V beside runs with made-up scores: every number follows by hand."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_plan import small_plan

from hsisr_core.base import write_json
from hsisr_core.errors import HsisrError
from hsisr_core.paper import method_label
from hsisr_core.plots import gain_panels, method_curves
from hsisr_core.runs.config import RunConfig
from hsisr_core.runs.folder import Run, open_run
from hsisr_core.study import (
    at_largest_scale,
    by_row,
    compare_methods,
    compare_successors,
    data_needed,
    ensemble_scores,
    learning_curves,
    not_converged,
    one_per_row,
    run_scores,
    show_comparison,
    show_successors,
    super_resolve_each,
)
from hsisr_core.training import train

PLAN = "[{scale: 3}, {seed: 1}, {seed: 2}, {method: 3d-fcnn}, {method: gdrrn}, {method: 3d-fcnn, keep_size: true}]"
PSNR = {"SSRNet": 38.0, "GDRRN": 36.5, "3D-FCNN": 39.0, "3D-FCNN, padded": 37.5}
CUT = {"scored_bands": 23, "scored_border": 6}
WHOLE = {"scored_bands": 31, "scored_border": 0}
PRINTED = ["bicubic", "GDRRN", "3D-FCNN", "EDSR", "SSRNet"]
ROWS = {2: [*PRINTED[:3], "3D-FCNN, padded", *PRINTED[3:]], 3: PRINTED, 4: PRINTED}


def label(run: Run) -> str:
    return method_label(run.config.method, run.config.keep_size)


def finish(run: Run, dataset: str, psnr: float, bicubic: float, region: dict[str, int]) -> None:
    """What a finished training leaves: two images, 1 dB above and below the mean."""
    others = {"mpsnr": 0.0, "rmse": 0.0, "ergas": 0.0}
    means = {
        "bicubic": {"psnr": bicubic, "ssim": 0.9, "sam": 3.0, **others},
        run.config.method: {"psnr": psnr, "ssim": 0.95, "sam": 2.0, **others},
    }
    rows = [
        {"image": image, "result": result, **scores, "psnr": scores["psnr"] + shift, **region}
        for image, shift in (("a", 1.0), ("b", -1.0))
        for result, scores in means.items()
    ]
    values = {
        "config": run.config.to_dict(),
        "fingerprint": run.fingerprint,
        "mean": means,
        "images": rows,
        "dataset": dataset,
        "steps": 20,
        "seconds": 2.0,
        "parameters": 1234,
        "processor_seconds": 3.0,
    }
    write_json(
        run.folder / "metrics.json", values | {"split": {"name": "s", "train": [], "test": ["a", "b"]}}
    )
    (run.folder / "history.csv").write_text(
        f"step,loss,psnr\n0,,{psnr - 1}\n10,1,{psnr - 0.01}\n20,1,{psnr}\n"
    )


def finished(tmp_path: Path, dataset: str = "indian-pines") -> list[Run]:
    """The runs of `PLAN`; bicubic has 37 dB, or 38.5 on what the 3D-FCNN without padding keeps."""
    runs = []
    for planned in small_plan(tmp_path, PLAN):
        run = open_run(planned.config, tmp_path / "runs", planned.dataset)
        cut = label(run) == "3D-FCNN"
        psnr = PSNR[label(run)] + 0.4 * (run.config.seed - 1)
        finish(run, dataset, psnr, 38.5 if cut else 37.0, CUT if cut else WHOLE)
        runs.append(run)
    return runs


def row(table: Any, *place: object) -> dict[str, Any]:
    return dict(table.loc[place].to_dict())


def test_a_row_for_every_method_scale_and_dataset(tmp_path: Path) -> None:
    table = compare_methods(finished(tmp_path))
    assert list(table.index.unique("data")) == ["indian-pines", "CAVE", "Harvard", "Foster"]
    assert len(table) == 45 + 7
    ours = table.loc["indian-pines"]
    assert list(ours.loc[2].index) == ["bicubic", "GDRRN", "3D-FCNN", "3D-FCNN, padded", "SSRNet"]
    assert list(ours.loc[3].index) == ["bicubic", "SSRNet"]
    assert list(table.loc["CAVE"].loc[4].index) == ["bicubic", "GDRRN", "3D-FCNN", "EDSR", "SSRNet"]
    assert table["psnr"].notna().sum() == 7
    assert row(table, "CAVE", 4, "EDSR")["paper_psnr"] == 38.58
    assert row(table, "CAVE", 4, "EDSR")["paper_over_bicubic"] == pytest.approx(38.58 - 35.75)
    assert table.attrs["ours"] == "preset tiny, indian-pines (split s, test: a, b), seeds 1, 2, trained here"


def test_rows_are_means_over_seeds_and_bicubic_is_whole(tmp_path: Path) -> None:
    table = compare_methods(finished(tmp_path))
    network = row(table, "indian-pines", 2, "SSRNet")
    assert network["psnr"] == pytest.approx(38.2)
    assert network["over_bicubic"] == pytest.approx(1.2)
    assert (network["sam"], network["steps"], network["parameters"]) == (2.0, 20, 1234)
    bicubic = row(table, "indian-pines", 2, "bicubic")
    assert (bicubic["psnr"], bicubic["bands"], bicubic["border"]) == (37.0, 31, 0)
    assert np.isnan(bicubic["steps"])
    cut = row(table, "indian-pines", 2, "3D-FCNN")
    assert (cut["psnr"], cut["bands"], cut["border"]) == (39.0, 23, 6)
    assert cut["over_bicubic"] == pytest.approx(0.5), "over bicubic on the same pixels"


def test_on_data_of_the_paper_ours_stand_in_its_rows(tmp_path: Path) -> None:
    table = compare_methods(finished(tmp_path, "harvard"))
    assert list(table.index.unique("data")) == ["CAVE", "Harvard", "Foster"]
    network = row(table, "Harvard", 2, "SSRNet")
    assert (network["paper_psnr"], network["psnr"]) == (46.25, pytest.approx(38.2))
    assert np.isnan(row(table, "Harvard", 4, "SSRNet")["psnr"])
    with pytest.raises(HsisrError, match="no run to compare"):
        compare_methods([])


def test_what_came_after_stands_beside_ssrnet(tmp_path: Path) -> None:
    runs = []
    for planned, psnr in zip(small_plan(tmp_path, "[{seed: 1}, {method: sfcsr}]"), (38.0, 38.3), strict=True):
        runs.append(open_run(planned.config, tmp_path / "runs", planned.dataset))
        finish(runs[-1], "indian-pines", psnr, 37.0, WHOLE)
    table = compare_successors(compare_methods(runs))
    assert list(table.index.unique("data")) == ["indian-pines", "CAVE", "Harvard", "Foster", "Pavia Centre"]
    ours = row(table, "indian-pines", 2, "SFCSR")
    assert (ours["psnr"], ours["over_ssrnet"], ours["steps"]) == (38.3, pytest.approx(0.3), 20)
    printed = row(table, "CAVE", 2, "MCNet")
    assert (printed["paper_psnr"], printed["paper_over_ssrnet"]) == (45.102, pytest.approx(0.112))
    assert np.isnan(row(table, "CAVE", 4, "ERCSR")["paper_over_ssrnet"]), "a misprint"
    assert list(table.loc["CAVE"].loc[2].index) == ["SSRNet", "MCNet", "SFCSR", "ERCSR"]
    html = show_successors(table).to_html()
    assert ">0.9739<" in html
    assert ">45.300<" in html
    assert ">44.99<" in html, "the digits that were printed, and no more"
    assert not re.search(r"\d\.\d{5}", html)


def cells(html: str, bold: bool = True) -> dict[str, set[str]]:
    """The bold values of the page's table, of one dataset, by row heading "x2 SSRNet"."""
    styles = re.findall(r"(#T_[^{]*?) \{\s*font-weight: bold;", html, re.DOTALL)
    marked = set(re.findall(r"#(T_\w+_row\d+_col\d+)", " ".join(styles)))
    found: dict[str, set[str]] = {}
    scale = ""
    for line in re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL):
        headings = dict(re.findall(r'row_heading level(\d) row\d+"[^>]*>(.*?)</th>', line))
        scale = headings.get("1", scale)
        values = re.findall(r'<td id="(T_\w+)"[^>]*>(.*?)</td>', line)
        if values:
            found[f"{scale} {headings['2']}"] = {
                value for place, value in values if (place in marked) is bold
            }
    return found


def test_the_best_is_bold(tmp_path: Path) -> None:
    runs = finished(tmp_path)
    more = [{**run_scores(runs[1])[1], "method": "SSRNet+", "psnr": 38.9, "over_bicubic": 1.9}]
    html = show_comparison(compare_methods(runs, more)).to_html()
    ours = cells(html)
    assert ours["x2 3D-FCNN"] == set(), "not on all bands"
    assert ours["x2 SSRNet+"] == {"38.90", "+1.90", "0.9500", "2.00"}
    assert ours["x2 SSRNet"] == ours["x2 GDRRN"] == {"0.9500", "2.00"}, "ties are all bold"
    assert "23 bands, 6 px less" in cells(html, False)["x2 3D-FCNN"]
    assert not re.search("CAVE|paper|not trained", html), "no column or row without a number"


def test_scenes_of_cave_stand_beside_the_paper(tmp_path: Path) -> None:
    table = compare_methods(finished(tmp_path, "cave-25"))
    html = show_comparison(table).to_html()
    ours = cells(html, False)
    assert list(ours) == [f"x{r} {name}" for r in (2, 3) for name in ROWS[r]], "nothing has x4"
    assert {"44.99", "0.974", "2.26", "38.20"} <= cells(html)["x2 SSRNet"]
    assert "not trained" in ours["x3 EDSR"]
    assert "paper, CAVE" in html
    assert "split s, test: a, b" in html


def test_3d_fcnn_with_padding_alone_stands_beside_the_paper_s(tmp_path: Path) -> None:
    runs = [run for run in finished(tmp_path, "cave-25") if label(run) in ("SSRNet", "3D-FCNN, padded")]
    for run in runs:
        images = [row | {"scored_bands": 8} for row in run.metrics["images"]]
        write_json(run.folder / "metrics.json", run.metrics | {"images": images})
    table = compare_methods(runs)
    seeds = table["seeds"].dropna().droplevel(["data", "scale"])
    assert list(seeds.items()) == [("3D-FCNN, padded", 1), ("SSRNet", 2), ("SSRNet", 1)], "bicubic has none"
    html = show_comparison(table).to_html()
    ours = cells(html, False)
    rows = [*PRINTED[:2], "3D-FCNN, padded", *PRINTED[3:]]
    assert list(ours) == [f"x{scale} {name}" for scale in (2, 3) for name in rows]
    assert {"43.15", "+2.39", "37.50", "+0.50"} <= ours["x2 3D-FCNN, padded"]
    assert {"38.20", "0.28", "2"} <= ours["x2 SSRNet"] | cells(html)["x2 SSRNet"]
    assert "not trained" in ours["x2 EDSR"]


def test_a_run_of_the_book_stands_beside_the_one_trained_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = finished(tmp_path, "cave-25")
    first = next(run for run in runs if run.config.scale == 3)
    of_the_book = tmp_path / "results" / "tiny" / first.folder.name
    monkeypatch.setattr("hsisr_core.runs.folder.results_folder", lambda: tmp_path / "results")
    assert first.of_the_book is None
    shutil.copytree(first.folder, of_the_book)
    finish(replace(first, folder=of_the_book), "cave-25", 37.5, 37.0, WHOLE)
    assert first.of_the_book is not None
    assert first.of_the_book.committed
    table = compare_methods(runs)
    found = row(table, "CAVE, 25 scenes, 8 bands", 3, "SSRNet")
    assert (found["psnr"], found["again_psnr"]) == (37.5, 38.0)
    assert "trained here again" in show_comparison(table).to_html()
    assert "trained here again" not in show_comparison(compare_methods(runs[1:])).to_html()


def test_commands_for_the_data_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSISR_DATASETS", str(tmp_path))
    needed = data_needed("indian-pines", "paper")
    cave, harvard, _ = needed.splitlines()
    assert cave.startswith("- CAVE: `python data_scripts/fetch.py cave`; `")
    assert harvard.startswith("- Harvard: `python data_scripts/fetch.py harvard`; `")
    monkeypatch.setattr("hsisr_core.study.comparison.missing_datasets", lambda: {"cave": ("a", "b")})
    lines = data_needed("indian-pines", "paper").splitlines()
    assert lines[2] == "- Foster: `hsisr runs paper --data foster`"


def test_one_value_of_scale_leaves_one_run_a_row() -> None:
    config = RunConfig(steps=5, epochs=None, schedule="constant")
    long, padded = config.changed(steps=9), config.changed(method="3d-fcnn", keep_size=True)
    valid = config.changed(method="3d-fcnn")
    blurred = config.changed(blur=1.0)
    configs = [config, long, config.changed(seed=2), valid, padded, blurred]
    assert one_per_row(configs) == [config, config.changed(seed=2), valid, padded, blurred]


def test_blurred_data_are_other_data(tmp_path: Path) -> None:
    runs = []
    for planned in small_plan(tmp_path, "[{blur: null}, {blur: 1.5}]"):
        runs.append(open_run(planned.config, tmp_path / "runs", planned.dataset))
        finish(runs[-1], "cave", 38.0 - 2 * bool(planned.config.blur), 37.0, WHOLE)
    table = compare_methods(runs)
    sharp, blurred = (row(table, name, 2, "SSRNet") for name in ("CAVE", "CAVE, blur 1.5"))
    assert (sharp["psnr"], blurred["psnr"], sharp["paper_psnr"]) == (38, 36, 44.99)
    assert np.isnan(blurred["paper_psnr"])
    assert list(by_row(runs)) == ["SSRNet x2, cave", "SSRNet x2, cave, blur 1.5"]
    assert at_largest_scale(runs) == runs[:1]


def test_rows_that_learn_and_their_curves(tmp_path: Path) -> None:
    runs = finished(tmp_path)
    rows = by_row(runs)
    assert {label: len(group) for label, group in rows.items()} == {
        "SSRNet x3": 1, "SSRNet x2": 2, "3D-FCNN x2": 1, "GDRRN x2": 1, "3D-FCNN, padded x2": 1,
    }  # fmt: skip
    assert not_converged(rows).startswith("**Below bicubic:** GDRRN x2 (by 0.50 dB). ")
    curves = learning_curves(runs)
    assert list(curves) == ["x2", "x3"]
    assert list(curves["x2"]) == ["GDRRN", "3D-FCNN", "3D-FCNN, padded", "SSRNet"]
    assert curves["x2"]["3D-FCNN"][0]["over_bicubic"].tolist() == pytest.approx([-0.5, 0.49, 0.5])
    figure = method_curves(curves)
    assert np.asarray(figure.axes[0].lines[3].get_ydata()) == pytest.approx(
        [0.2, 1.19, 1.2]
    )  # the mean of two seeds
    write_json(runs[0].folder / "metrics.json", runs[0].metrics | {"processor_seconds": None})  # on a GPU
    write_json(runs[2].folder / "metrics.json", runs[2].metrics | {"processor_seconds": 2.0})
    timed = learning_curves(runs, timed=True)
    assert runs[0].config.scale == 3
    assert [*timed] == ["x2"]
    assert timed["x2"]["SSRNet"][0]["step"].tolist() == [0, 1, 2], "the least of two seeds, not its own 3 s"
    for run in runs:
        (run.folder / "history.csv").write_text("step,loss,psnr\n0,,\n")
    with pytest.raises(HsisrError, match="set evaluate_every"):
        method_curves(learning_curves(runs))


def test_gains_of_the_paper_and_ours(tmp_path: Path) -> None:
    figure = gain_panels(compare_methods(finished(tmp_path)))
    assert [panel.get_title() for panel in figure.axes] == [
        "ours, indian-pines", "paper, CAVE", "paper, Harvard", "paper, Foster",
    ]  # fmt: skip
    ours, theirs = ({line.get_label(): line for line in panel.lines} for panel in figure.axes[:2])
    assert np.asarray(ours["SSRNet"].get_xdata()).tolist() == [2, 3, 4]
    assert np.asarray(ours["SSRNet"].get_ydata()) == pytest.approx([1.2, 1.0, np.nan], nan_ok=True), (
        "no line to x4"
    )
    assert ours["3D-FCNN"].get_color() == ours["3D-FCNN, padded"].get_color() == theirs["3D-FCNN"].get_color()


def test_what_the_pictures_show(tmp_path: Path) -> None:
    runs = finished(tmp_path)
    assert [label(run) for run in at_largest_scale(runs)] == ["SSRNet"]
    small = at_largest_scale(runs[1:])
    assert [label(run) for run in small] == ["GDRRN", "3D-FCNN", "3D-FCNN, padded", "SSRNet"]
    assert small[-1].config.seed == 1


def test_networks_super_resolve_one_cube_and_are_ensembled(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, "[{method: 3d-fcnn, steps: 1}]")
    run = train(plan[0].config, tmp_path / "runs", plan[0].dataset, progress=False)
    cubes = super_resolve_each([run], np.full((31, 12, 12), 0.5))
    assert list(cubes) == ["bicubic", "3D-FCNN"]
    assert cubes["bicubic"].shape == cubes["3D-FCNN"].shape == (31, 24, 24)
    assert np.isnan(cubes["3D-FCNN"][3]).all()
    (plus,) = ensemble_scores(run)
    (alone,) = (record for record in run_scores(run) if record["method"] == "3D-FCNN")
    assert plus["method"] == "3D-FCNN+"
    assert (plus["bands"], plus["border"]) == (23, 6)
    assert plus["psnr"] == pytest.approx(alone["psnr"], abs=0.5)
