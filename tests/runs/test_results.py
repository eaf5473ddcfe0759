"""The table of all results, and its export."""

from __future__ import annotations

import json
import math
import warnings
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
from small_plan import finish, small_plan

from hsisr_core.errors import HsisrError
from hsisr_core.runs import load_results, short_results, write_table

PLAN = "[{product: {scale: [2, 3], seed: [1, 2]}}]"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    runs = small_plan(tmp_path, PLAN)
    for number, run in enumerate(runs):
        finish(run, psnr=30.0 + number)
    return tmp_path / "runs"


def test_a_row_per_run_and_image_with_the_settings(folder: Path) -> None:
    table = load_results(folder)
    assert len(table) == 8
    assert list(table.columns[:4]) == ["run", "place", "preset", "method"]
    row = table[(table["scale"] == 3) & (table["seed"] == 2) & (table["result"] == "ssrnet")].iloc[0]
    assert (row["psnr"], row["trained_steps"], row["dataset"]) == (33.0, 20, "indian-pines")
    assert row["image_sizes"] == (1.0,)
    assert row["run"].startswith("ssrnet-x3-indian-pines-")


def test_one_run_folder_is_a_table_too(folder: Path) -> None:
    one = sorted(folder.iterdir())[0]
    assert set(load_results(one)["run"]) == {one.name}


def test_what_is_not_a_finished_run_is_named(folder: Path) -> None:
    first, _, third, fourth = sorted(folder.iterdir())
    (first / "metrics.json").write_text((first / "metrics.json").read_text()[:100])
    metrics = json.loads((third / "metrics.json").read_text())
    del metrics["seconds"]
    (third / "metrics.json").write_text(json.dumps(metrics))
    (folder / "holiday pictures").mkdir()
    (folder / "list").mkdir()
    (folder / "list" / "metrics.json").write_text("[1, 2]")
    (folder / ".hidden").mkdir()
    (folder / "notes.txt").touch()
    with pytest.warns(UserWarning, match="left out of the results") as caught:
        table = load_results(folder)
    assert len(set(table["run"])) == 2
    assert fourth.name in set(table["run"])
    said = {Path(str(item.message).split(" is left out")[0]).name: str(item.message) for item in caught}
    assert set(said) == {first.name, third.name, "holiday pictures", "list"}
    assert "metrics.json is not valid JSON: see line" in said[first.name]
    assert "metrics.json is damaged (seconds: Field required): train again" in said[third.name]
    assert "no config.yaml" in said["holiday pictures"]


def test_a_run_in_work_is_left_out_in_silence(tmp_path: Path) -> None:
    finish(small_plan(tmp_path, "[{seed: 1}]")[0])
    (path,) = (tmp_path / "runs").glob("*/metrics.json")
    path.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = load_results(tmp_path / "runs")
    assert table.empty
    assert {"run", "result", "psnr", "seed"} <= set(table.columns)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(HsisrError, match="nowhere is not a folder"):
        load_results(tmp_path / "nowhere")


def test_the_short_table_shows_what_differs(folder: Path) -> None:
    short = short_results(load_results(folder))
    assert {"preset", "dataset", "scale", "seed", "image", "result", "psnr"} <= set(short.columns)
    assert not {"features", "clip", "image_sizes"} & set(short.columns)
    assert list(short.columns).count("seed") == 1


def test_the_short_table_shows_options_of_a_network_of_ones_own(folder: Path) -> None:
    table = load_results(folder)
    table["width"], table["depth"] = [4, *[8] * (len(table) - 1)], 2
    short = short_results(table)
    assert short["width"].tolist() == table["width"].tolist()
    assert "depth" not in short


def test_the_short_table_has_the_first_digits_of_a_source(folder: Path) -> None:
    table = load_results(folder)
    assert "source" not in short_results(table)
    table["source"] = [None, *["0123456789abcdef"] * (len(table) - 1)]
    assert short_results(table)["source"].tolist() == ["", *["0123456789"] * (len(table) - 1)]


def test_csv_and_parquet_keep_every_column_and_row(folder: Path, tmp_path: Path) -> None:
    table = load_results(folder)
    write_table(table, tmp_path / "all.csv")
    csv = pd.read_csv(tmp_path / "all.csv")
    assert list(csv.columns) == list(table.columns)
    assert csv["psnr"].tolist() == table["psnr"].tolist()
    if not any(find_spec(engine) for engine in ("pyarrow", "fastparquet")):
        with pytest.raises(HsisrError, match="pip install pyarrow"):
            write_table(table, tmp_path / "all.parquet")
        assert not (tmp_path / "all.parquet").exists()
        return
    write_table(table, tmp_path / "all.parquet")
    parquet = pd.read_parquet(tmp_path / "all.parquet")
    assert parquet.shape == table.shape
    assert parquet["psnr"].tolist() == table["psnr"].tolist()
    assert list(parquet["image_sizes"][0]) == [1.0]


def test_latex_is_short_and_escaped(folder: Path, tmp_path: Path) -> None:
    table = load_results(folder)
    table["image"] = "toy_1 & 50%"
    table.loc[0, "sam"] = math.nan
    write_table(table, tmp_path / "all.tex")
    text = (tmp_path / "all.tex").read_text()
    assert text.startswith("\\begin{tabular}")
    assert "toy\\_1 \\& 50\\%" in text
    assert "trained steps" in text
    assert "fingerprint" not in text


def test_another_suffix_writes_nothing(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(HsisrError, match=r"expected a name that ends in one of \.csv, \.parquet, \.tex"):
        write_table(load_results(folder), tmp_path / "all.xlsx")
    assert not (tmp_path / "all.xlsx").exists()
