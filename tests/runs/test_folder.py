"""Run folders: named by their settings, never mixed up, collected into one table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from small_plan import finish, small_plan

from hsisr_core.errors import HsisrError
from hsisr_core.runs import HISTORY, RunConfig, load_results, open_run, read_run

TINY = str(Path(__file__).parents[1] / "tiny.yaml")


def test_the_folder_is_named_by_the_settings(tmp_path: Path) -> None:
    first, second = (open_run(RunConfig.from_preset(TINY, seed=seed), tmp_path) for seed in (1, 2))
    assert first.folder != second.folder
    assert first.folder == open_run(RunConfig.from_preset(TINY), tmp_path).folder
    assert first.folder.name.startswith("ssrnet-x2-indian-pines-")
    assert read_run(first.folder).config == first.config


def cut(text: str) -> str:
    return text[: text.index("scale:")]


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        lambda text: "{",
        lambda text: text + "colour: blue\n",
        lambda text: text.replace("features: 4", "features: 5"),
    ],
)
def test_damaged_settings_are_refused_and_written_again(tmp_path: Path, damage: Callable[[str], str]) -> None:
    """A file that was cut is not filled with defaults."""
    config = RunConfig.from_preset(TINY)
    folder = open_run(config, tmp_path).folder
    good = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(damage(good))
    with pytest.raises(HsisrError, match=r"config\.yaml"):
        read_run(folder)
    with pytest.warns(UserWarning, match="It is written again"):
        open_run(config, tmp_path)
    assert (folder / "config.yaml").read_text() == good


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
    (run.folder / "metrics.json").unlink()
    (run.folder / "weights.safetensors").write_bytes(b"weights")
    with pytest.raises(HsisrError, match="damaged"):
        run.model()


def test_a_history_being_written_can_be_read(tmp_path: Path) -> None:
    run = open_run(RunConfig.from_preset(TINY), tmp_path)
    (run.folder / "history.csv").write_text(",".join(HISTORY) + "\n0,0.5,1,1,,,\n10,0.25,1,1,,,\n20")
    history = run.history()
    assert list(history["step"]) == [0, 10, 20]
    assert list(history["loss"].dropna()) == [0.5, 0.25]
    for content in (b"loss\n1\n2\n", b"\xff\xfe", b""):
        (run.folder / "history.csv").write_bytes(content)
        with pytest.raises(HsisrError, match=r"history\.csv"):
            run.history()


def test_results_are_a_row_per_image_and_method(tmp_path: Path) -> None:
    for planned in small_plan(tmp_path, "[{seed: 1}, {seed: 2}]"):
        finish(planned, psnr=30.0 + planned.config.seed)
    # not finished: no row, no warning
    open_run(RunConfig.from_preset(TINY, seed=3), tmp_path / "runs")
    table = load_results(tmp_path / "runs")
    assert len(table) == 4
    chosen = table[(table["result"] == "ssrnet") & (table["seed"] == 2)]
    assert chosen["psnr"].item() == 32.0
    assert chosen["trained_steps"].item() == 20
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
