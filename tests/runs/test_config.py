"""Settings of a run: what is refused, what enters the hash."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hsisr_core.errors import HsisrError
from hsisr_core.runs.config import RunConfig, preset_values


def test_demo_and_paper_presets_are_valid_and_say_which_they_are() -> None:
    demo, paper = RunConfig.from_preset("demo"), RunConfig.from_preset("paper")
    assert (demo.preset, paper.preset) == ("demo", "paper")
    assert demo.init == "interpolation"
    assert paper.init == "he"


def test_paper_preset_is_the_paper() -> None:
    paper = RunConfig.from_preset("paper")
    stated = {
        "features": 64, "modules": 3, "units": 3, "patch": 32, "patches_per_image": 24, "learning_rate": 1e-4,
        "halve_every": 35, "image_sizes": (1.0, 0.75, 0.5), "loss": "l1", "augment": "paper", "clip": None,
    }  # fmt: skip
    assert {name: getattr(paper, name) for name in stated} == stated


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"scale": 5}, "scale=5: expected one of 2, 3, 4"),
        ({"scale": "2"}, "scale='2': expected a whole number"),
        ({"scale": True}, "expected a whole number"),
        ({"features": 0}, "at least 1"),
        ({"learning_rate": 0}, "more than 0"),
        ({"learning_rate": "fast"}, "expected a number"),
        ({"local_fusion": 1}, "true or false"),
        ({"image_sizes": 0.5}, "list of numbers"),
        ({"image_sizes": [1.5]}, "at most 1"),
        ({"init": "xavier"}, "pytorch, he, interpolation"),
        ({"loss": "huber"}, "expected one of l1"),
        ({"filters": 64}, "Valid settings: preset, method"),
        ({"epochs": 3, "steps": 3}, "exactly one"),
        ({"epochs": None, "steps": None}, "exactly one"),
        ({"patches_per_image": None}, "no epochs"),
    ],
)
def test_wrong_values_are_refused(values: dict, words: str) -> None:
    with pytest.raises(HsisrError, match=words):
        RunConfig.from_mapping(values)


def test_steps_in_an_override_replace_epochs() -> None:
    assert RunConfig.from_preset("paper").changed(steps=7).epochs is None
    with pytest.raises(HsisrError, match="Valid settings"):
        RunConfig().changed(step=7)


def test_numbers_written_as_yaml_reads_them() -> None:
    """YAML 1.1 reads 1e-4 as a text; a whole number is a number."""
    assert RunConfig.from_mapping(yaml.safe_load("learning_rate: 1e-4")).learning_rate == 1e-4
    assert RunConfig.from_mapping({"clip": 1}).clip == 1.0


def test_hash_follows_what_changes_the_result_and_nothing_else() -> None:
    base = RunConfig()
    assert base.hash("a") == RunConfig().hash("a")
    assert base.hash("a") != base.hash("b")
    assert base.hash("a") != base.changed(seed=2).hash("a")
    assert base.hash("a") == base.changed(device="cpu", checkpoint_every=7, evaluate_every=3).hash("a")
    assert base.hash("a") == base.changed(data="elsewhere").hash("a")


def test_round_trip_through_yaml() -> None:
    config = RunConfig.from_preset("demo", clip=None, scale=3)
    assert RunConfig.from_mapping(yaml.safe_load(config.to_yaml())) == config


def test_unknown_preset_and_broken_preset(tmp_path: Path) -> None:
    with pytest.raises(HsisrError, match=r"choose one of .*demo"):
        preset_values("demos")
    for text, words in (("a: [1", "no valid YAML"), ("- 1", "mapping"), ("", "mapping")):
        path = tmp_path / "x.yaml"
        path.write_text(text)
        with pytest.raises(HsisrError, match=words):
            preset_values(str(path))
    with pytest.raises(HsisrError, match="does not exist"):
        preset_values(str(tmp_path / "none.yaml"))
