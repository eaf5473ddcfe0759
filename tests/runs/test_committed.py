"""Runs committed in book/results: whole, named by their hash, and without a path of the machine that trained them."""

from __future__ import annotations

import hashlib
import importlib
import json
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_book import ROOT
from small_plan import finish, small_plan

from hsisr_core import study
from hsisr_core.base import write_json
from hsisr_core.errors import HsisrError
from hsisr_core.models import SSRNet
from hsisr_core.paper import METHOD_NAMES
from hsisr_core.runs import (
    RunConfig,
    find_run,
    known_fingerprint,
    load_results,
    open_run,
    plan_for_chapters,
    read_run,
)
from hsisr_core.train import train

TRIED = RunConfig.from_preset("tune", features=32)

COMMITTED = sorted(file.parent for file in (ROOT / "book" / "results").glob("*/*/metrics.json"))


@pytest.mark.parametrize("folder", COMMITTED, ids=lambda folder: folder.name)
def test_a_committed_run_is_whole_and_named_by_its_hash(folder: Path) -> None:
    run = read_run(folder)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert folder.name.endswith(run.config.hash(run.fingerprint))
    assert metrics["fingerprint"] == run.fingerprint
    assert RunConfig.from_mapping(metrics["config"]) == run.config, "also where a setting has come since"
    assert run.fingerprint == known_fingerprint(run.config.data, run.config.split)
    scored = {(row["image"], row["result"]) for row in metrics["images"]}
    assert scored == set(product(metrics["split"]["test"], ("bicubic", run.config.method)))
    assert len(scored) == len(metrics["images"])
    assert np.isfinite([[row[name] for name in ("psnr", "ssim", "sam")] for row in metrics["images"]]).all()
    assert run.history()["step"].iloc[-1] == metrics["steps"] == run.config.steps
    assert "/" not in run.config.data
    assert not metrics["git_commit"].endswith("+")


def test_there_are_committed_runs_and_they_are_small() -> None:
    assert COMMITTED
    sizes = {file: file.stat().st_size for file in (ROOT / "book" / "results").rglob("*") if file.is_file()}
    assert sum(sizes.values()) < 5e6
    assert max(size for file, size in sizes.items() if file.suffix == ".png") < 300e3


def test_a_committed_run_is_found_without_its_data(tmp_path: Path) -> None:
    run = train(TRIED, tmp_path)
    assert run.committed
    assert run.folder.parent == ROOT / "book" / "results" / "tune"
    assert run.metrics["mean"]["ssrnet"]["psnr"] > run.metrics["mean"]["bicubic"]["psnr"] > 0
    command = r"`hsisr train --preset tune --data cave-25 -p features=32 --again`"
    with pytest.raises(HsisrError, match=f"without its weights. {command} trains it here"):
        run.model()
    assert find_run(TRIED.changed(seed=99), tmp_path) is None
    shown = train(RunConfig.from_preset("evidence"), tmp_path)
    assert shown.committed
    assert isinstance(shown.model(), SSRNet), "the shipped weights that were packed from this run"
    assert not list(tmp_path.iterdir())


def test_a_run_trained_here_comes_before_the_committed_one(tmp_path: Path) -> None:
    committed = train(TRIED, tmp_path).folder
    folder = tmp_path / committed.name
    folder.mkdir()
    (folder / "metrics.json").write_text("{}")
    assert find_run(TRIED, tmp_path) is None
    (folder / "weights.safetensors").touch()
    metrics = json.loads((committed / "metrics.json").read_bytes())
    write_json(folder / "metrics.json", metrics | {"weights_sha256": hashlib.sha256().hexdigest()})
    found = find_run(TRIED, tmp_path)
    assert found is not None
    assert (found.folder, found.committed) == (folder, False)


def test_all_results_hold_the_committed_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSISR_RUNS", str(tmp_path))
    table = load_results()
    assert {folder.name for folder in COMMITTED} == set(table["run"])
    assert set(table["place"]) == {str(folder.parent) for folder in COMMITTED}
    assert load_results(tmp_path).empty


def test_other_data_of_the_same_name_do_not_get_the_committed_results(tmp_path: Path) -> None:
    other = SimpleNamespace(name="cave-25", split=SimpleNamespace(name="cave-25-tune"), fingerprint="f" * 64)
    with pytest.warns(
        UserWarning, match="is not the cave-25 of the results .* fingerprint is ffffffffffff, not 883e"
    ):
        run = open_run(TRIED, tmp_path, other)  # type: ignore[arg-type]
    assert not run.committed


def test_trained_again_here(tmp_path: Path) -> None:
    """`again` needs the data: without them the command says so, and leaves nothing."""
    with pytest.raises(HsisrError, match="cave-25"):
        train(TRIED, tmp_path, again=True)
    assert not list(tmp_path.iterdir())


def test_runs_are_committed_by_name_and_without_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = importlib.import_module("commit_runs")
    monkeypatch.setattr(tool, "results_folder", lambda: tmp_path / "results")
    planned, other = small_plan(tmp_path, "[{seed: 1}, {seed: 2}]")
    monkeypatch.setattr(tool, "known_fingerprint", lambda data, split: planned.dataset.fingerprint)
    split = {"name": "indian-pines", "train": ["west"], "test": ["north-east"]}
    finish(planned, git_commit="0123456789ab", split=split)
    (planned.folder / "history.csv").write_text("step\n0\n")
    (planned.folder / "weights.safetensors").touch()
    open_run(other.config, other.folder.parent, other.dataset)
    tool.main(tmp_path / "runs", ["tiny"])
    (folder,) = (tmp_path / "results" / "tiny").iterdir()
    assert {file.name for file in folder.iterdir()} == {"config.yaml", "history.csv", "metrics.json"}
    run = read_run(folder)
    assert (run.config.data, run.metrics["config"]["data"]) == ("indian-pines", "indian-pines")
    assert folder.name.endswith(run.config.hash(run.fingerprint))
    metrics = json.loads((planned.folder / "metrics.json").read_bytes())
    tool.main(tmp_path / "runs", ["tiny"])
    assert not (tmp_path / "results" / "again.json").exists(), "the same weights"
    write_json(folder / "metrics.json", metrics | {"weights_sha256": "of another training"})
    tool.main(tmp_path / "runs", ["tiny"])
    (again,) = json.loads((tmp_path / "results" / "again.json").read_bytes()).values()
    assert (again["weights_sha256"], again["config"]["data"]) == (
        metrics["weights_sha256"],
        "indian-pines",
    )
    finish(other, git_commit="0123456789ab+", split=split)
    with pytest.raises(HsisrError, match="was trained with uncommitted changes"):
        tool.main(tmp_path / "runs", ["tiny"])


def test_the_command_names_what_differs_from_the_preset() -> None:
    config = RunConfig.from_preset("evidence", scale=3, steps=1500, clip=None, evaluate_every=500)
    expected = "hsisr train --preset evidence --data cave-25 -p scale=3 -p steps=1500 -p clip=null"
    assert config.command() == expected
    assert config.changed(preset="mine").command() == "hsisr train --preset mine --data cave-25"


def test_the_network_that_a_chapter_shows_is_the_one_that_was_committed() -> None:
    """An edit of its cell makes another network: train the chapter's run again (`-p live true`), and commit it."""
    cells = json.loads((ROOT / "book" / "your-own-network.ipynb").read_text(encoding="utf-8"))["cells"]
    (text,) = (source for cell in cells if (source := "".join(cell["source"])).startswith("@register("))
    (folder,) = (ROOT / "book" / "results" / "demo").glob("subspace-*")
    assert read_run(folder).config.source == hashlib.sha256(text.strip().encode()).hexdigest()


def test_each_figure_of_scenes_is_kept_for_the_runs_that_the_chapters_show() -> None:
    """A new run in Table V makes other figures: draw them again with `hsisr figures`, and remove the old ones."""
    runs = study.get_runs(study.one_per_row(plan_for_chapters("evidence", {}).table("comparison")))
    first = runs[:1]
    largest = [run for run in study.at_largest_scale(runs) if run.config.method in METHOD_NAMES]
    shown = {
        "05-results": {"bands": first, "errors": first, "spectra": first},
        "10-comparison": {"scenes": first, "errors": largest, "spectra": largest},
    }
    names = {
        f"{chapter}-{figure}-{hashlib.sha256(' '.join(run.folder.name for run in of).encode()).hexdigest()[:8]}.png"
        for chapter, figures in shown.items()
        for figure, of in figures.items()
    }
    assert {file.name for file in (ROOT / "book" / "results" / "figures").iterdir()} == names
