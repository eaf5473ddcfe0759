"""Run folders: named by their settings, never mixed up, collected into one table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from hsisr_core.errors import HsisrError
from hsisr_core.runs import RunConfig, load_results, open_run, read_run

TINY = str(Path(__file__).parents[1] / "tiny.yaml")


def fake_metrics(folder: Path, psnr: float) -> None:
    """What train() writes last, with made-up scores."""
    run = read_run(folder)
    images = [{"image": "a", "result": name, "psnr": psnr} for name in ("bicubic", "ssrnet")]
    metrics = {
        "config": run.config.to_dict(), "dataset": "indian-pines", "fingerprint": run.fingerprint,
        "images": images, "steps": 3, "seconds": 1.5, "parameters": 7,
    }  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(metrics))


def test_the_folder_is_named_by_the_settings(tmp_path: Path) -> None:
    first, second = (open_run(RunConfig.from_preset(TINY, seed=seed), tmp_path) for seed in (1, 2))
    assert first.folder != second.folder
    assert first.folder == open_run(RunConfig.from_preset(TINY), tmp_path).folder
    assert first.folder.name.startswith("ssrnet-x2-indian-pines-")
    assert read_run(first.folder).config == first.config


def test_a_folder_of_another_config_is_refused(tmp_path: Path) -> None:
    config = RunConfig.from_preset(TINY)
    folder = open_run(config, tmp_path).folder
    path = folder / "config.yaml"
    text = path.read_text()
    path.write_text(text.replace("features: 4", "features: 5"))
    with pytest.raises(HsisrError, match="belongs to another run"):
        open_run(config, tmp_path)
    path.write_text("{")
    with pytest.raises(HsisrError, match="damaged"):
        open_run(config, tmp_path)
    path.write_text(text + "colour: blue\n")
    with pytest.raises(HsisrError, match="'colour' is not a setting"):
        open_run(config, tmp_path)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    run = open_run(RunConfig.from_preset(TINY), tmp_path)
    for call, words in (
        (lambda: run.metrics, "not finished"),
        (run.model, "no weights yet"),
        (run.history, "no history.csv"),
        (lambda: read_run(tmp_path), "no config.yaml"),
    ):
        with pytest.raises(HsisrError, match=words):
            call()
    (run.folder / "metrics.json").write_text('{"a": ')
    with pytest.raises(HsisrError, match="not valid JSON"):
        _ = run.metrics
    (run.folder / "weights.safetensors").write_bytes(b"weights")
    with pytest.raises(HsisrError, match="damaged"):
        run.model()


def test_a_history_being_written_can_be_read(tmp_path: Path) -> None:
    run = open_run(RunConfig.from_preset(TINY), tmp_path)
    (run.folder / "history.csv").write_text("step,loss\n0,0.5\n10,0.25\n20")
    history = run.history()
    assert list(history["step"]) == [0, 10, 20]
    assert list(history["loss"].dropna()) == [0.5, 0.25]


def test_results_are_a_row_per_image_and_method(tmp_path: Path) -> None:
    for seed in (1, 2):
        folder = open_run(RunConfig.from_preset(TINY, seed=seed), tmp_path).folder
        fake_metrics(folder, psnr=30.0 + seed)
    open_run(RunConfig.from_preset(TINY, seed=3), tmp_path)  # not finished: no row, no warning
    table = load_results(tmp_path)
    assert len(table) == 4
    chosen = table[(table["result"] == "ssrnet") & (table["seed"] == 2)]
    assert chosen["psnr"].item() == 32.0
    assert chosen["trained_steps"].item() == 3
    assert chosen["preset"].item() == "tiny"


def test_foreign_and_damaged_folders_are_left_out_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    folder = open_run(RunConfig.from_preset(TINY), tmp_path).folder
    (folder / "metrics.json").write_text("{}")
    with pytest.warns(UserWarning, match="left out of the results") as caught:
        assert load_results(tmp_path).empty
    named = " ".join(str(item.message) for item in caught)
    assert "foreign" in named
    assert folder.name in named


def test_config_yaml_is_plain_yaml(tmp_path: Path) -> None:
    run = open_run(RunConfig.from_preset(TINY), tmp_path)
    values = yaml.safe_load((run.folder / "config.yaml").read_text())
    assert values["fingerprint"] == run.fingerprint
    assert values["image_sizes"] == [1.0]
