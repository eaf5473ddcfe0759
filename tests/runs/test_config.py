"""Settings of a run: what is refused, what enters the hash."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hsisr_core.errors import HsisrError
from hsisr_core.runs import RunConfig, preset_values
from hsisr_core.runs.config import DATA_FIELDS, EXECUTION_FIELDS, SETTINGS_OF_0_1_0


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
        ({"scale": 5}, "scale=5: expected 2, 3, 4 or 8"),
        ({"scale": "2"}, "scale='2': expected 2, 3, 4 or 8"),
        ({"scale": True}, "expected 2, 3, 4 or 8"),
        ({"blur": 0}, "blur=0: expected greater than 0 or null"),
        ({"seed": "2"}, "seed='2': expected a valid integer."),
        ({"seed": True}, "seed=True: expected a valid integer."),
        ({"seed": 2.0}, "seed=2.0: expected a valid integer."),
        ({"method": 3}, "method=3: expected a valid string."),
        ({"steps": "many"}, "steps='many': expected a valid integer or null."),
        ({"features": 0}, "features=0: expected greater than or equal to 1."),
        ({"learning_rate": 0}, "learning_rate=0: expected greater than 0."),
        ({"learning_rate": "fast"}, "expected a valid number"),
        ({"local_fusion": 1}, "expected a valid boolean"),
        ({"image_sizes": 0.5}, "expected a valid list"),
        ({"image_sizes": [1, 1.5]}, r"image_sizes\[1\]=1.5: expected less than or equal to 1."),
        ({"image_sizes": []}, "at least 1 item"),
        ({"learning_rate": float("inf")}, "finite"),
        ({"init": "xavier"}, "init='xavier': expected 'pytorch', 'he' or 'interpolation'."),
        ({"loss": "huber"}, "expected 'l1', 'l1\\+0.1"),
        ({"filters": 64}, "'filters' is not a setting of a run. Valid settings: preset, method"),
        ({1: 2}, "'1' is not a setting"),
        ({"epochs": 3, "steps": 3}, "exactly one"),
        ({"epochs": None, "steps": None}, "exactly one"),
        ({"method": "ssrchain", "blur": 1.0}, "back_projection to false"),
        ({"patches_per_image": None}, "no epochs"),
    ],
)
def test_wrong_values_are_refused(values: dict, words: str) -> None:
    with pytest.raises(HsisrError, match=f"^here: .*{words}"):
        RunConfig.from_mapping(values, "here")
    with pytest.raises(HsisrError, match=words):
        RunConfig(**{str(name): value for name, value in {"epochs": None, "steps": 3, **values}.items()})


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


class Later(RunConfig):
    """The settings of a later version."""

    dropout: float = 0.0


def test_a_setting_added_later_enters_the_hash_only_where_it_differs_from_its_default() -> None:
    """So the runs from before it keep their names."""
    base = RunConfig.from_preset("demo")
    later = Later.from_preset("demo")
    assert later.hash("a") == base.hash("a")
    assert later.changed(seed=2).hash("a") == base.changed(seed=2).hash("a")
    assert later.changed(dropout=0.1).hash("a") != base.hash("a")
    assert Later.from_mapping(base.to_dict()) == later, "a folder from before opens"


def test_every_setting_is_of_0_1_0_or_has_a_default() -> None:
    assert {*SETTINGS_OF_0_1_0, *EXECUTION_FIELDS, *DATA_FIELDS} <= set(RunConfig.model_fields)
    assert not any(item.is_required() for item in RunConfig.model_fields.values())


def test_how_files_are_read_is_a_setting_of_the_data() -> None:
    config = RunConfig.from_preset("demo", key="rad", band_axis=0, divisor=4095, bands=[0, 2, 5])
    assert config.reading == {"key": "rad", "band_axis": 0, "divisor": 4095.0, "bands": (0, 2, 5)}
    assert config.hash("a") == RunConfig.from_preset("demo").hash("a")
    assert RunConfig.from_mapping(yaml.safe_load(config.to_yaml())) == config
    assert len({config, config.changed()}) == 1
    assert "-p bands=[0,2,5]" in config.command()
    assert RunConfig().reading == {}
    for bands in ("rad", [0.5], True):
        with pytest.raises(
            HsisrError, match=r"bands=.*: expected a number of bands, a list of 0-based indices"
        ):
            RunConfig(bands=bands)


def test_full_precision_has_two_names_and_one_hash() -> None:
    assert RunConfig(precision="float32") == RunConfig()
    assert RunConfig(precision="float32").hash("a") == RunConfig().hash("a")


def test_a_config_is_a_value() -> None:
    config = RunConfig.from_preset("demo", image_sizes=[1, 0.5])
    assert len({config, config.changed(), config.changed(image_sizes=(1.0, 0.5))}) == 1
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3


def test_steps_are_given_or_those_of_the_epochs() -> None:
    config = RunConfig(epochs=3, batch=16)
    assert config.steps_per_epoch(25) == 25 * 3 * 24 * 5 // 16
    assert config.total_steps(25) == 3 * 562
    given = config.changed(steps=7, schedule="cosine", patches_per_image=None)
    assert (given.steps_per_epoch(25), given.total_steps(25)) == (None, 7)
    assert config.changed(steps=7).steps_per_epoch(25) == 562


def test_round_trip_through_yaml() -> None:
    config = RunConfig.from_preset("demo", clip=None, scale=3)
    assert RunConfig.from_mapping(yaml.safe_load(config.to_yaml())) == config


def test_unknown_preset_and_broken_preset(tmp_path: Path) -> None:
    with pytest.raises(HsisrError, match=r"choose one of .*demo"):
        preset_values("demos")
    for text, words in (("a: [1", "not valid YAML"), ("- 1", "mapping"), ("", "mapping")):
        path = tmp_path / "x.yaml"
        path.write_text(text)
        with pytest.raises(HsisrError, match=words):
            preset_values(str(path))
    with pytest.raises(HsisrError, match="does not exist"):
        preset_values(str(tmp_path / "none.yaml"))
