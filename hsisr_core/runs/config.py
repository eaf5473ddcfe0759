"""The settings of one run: typed, checked, read from a preset, and hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from hsisr_core.base.paths import book_folder
from hsisr_core.errors import HsisrError
from hsisr_core.models import option_names
from hsisr_core.runs.expand import expand

__all__ = ["AUGMENTATIONS", "EXECUTION_FIELDS", "RunConfig", "preset_path", "preset_values", "typed"]

# how a run is carried out, not what it computes: these do not enter the hash
EXECUTION_FIELDS = ("device", "checkpoint_every", "evaluate_every")
CHECKED_RUNS = 1000  # of a plan, when only its defaults are asked for: a product can be endless
# (quarter turns, left-right flip): the paper's five, and all eight symmetries of the square
AUGMENTATIONS = {
    "none": ((0, False),),
    "paper": ((0, False), (1, False), (2, False), (3, False), (0, True)),
    "dihedral": tuple((turns, flip) for flip in (False, True) for turns in range(4)),
}
TYPE_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def setting(
    default: Any, *choices: Any, at_least: float | None = None, more_than: float | None = None
) -> Any:
    """A dataclass field with the values it allows."""
    limits = {"choices": choices, "at_least": at_least, "more_than": more_than}
    return field(default=default, metadata=limits)


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides the result of one run. The defaults are the paper's.

    `preset` names where the values came from and is carried into every table. Attributes marked
    "execution" change how a run is carried out and not its hash.
    """

    preset: str = "paper"
    method: str = "ssrnet"
    data: str = "indian-pines"  # a known dataset, a folder of scenes or a scenes.h5
    split: str | None = None  # name of a file in book/splits, or a path; None: the one that fits the data
    scale: int = setting(2, 2, 3, 4)
    seed: int = setting(1, at_least=0)
    # the network (models/); each takes what it has
    features: int = setting(64, at_least=1)
    modules: int = setting(3, at_least=1)
    units: int = setting(3, at_least=1)
    block: str = setting("separable", "separable", "standard")
    order: str = setting("spatial-first", "spatial-first", "spectral-first")
    local_fusion: bool = True
    global_residual: bool = True
    weight_norm: bool = True
    init: str = setting("he", "pytorch", "he", "interpolation")
    recursions: int = setting(9, at_least=1)  # GDRRN
    groups: int = setting(2, at_least=1)  # GDRRN
    blocks: int = setting(16, at_least=1)  # EDSR
    keep_size: bool = False  # 3D-FCNN: zero padding, all bands
    mirror: int = setting(0, at_least=0)  # LR pixels by which a scene, not a patch, is mirrored at its border
    # the patches (data/patches.py)
    patch: int = setting(32, at_least=4)  # LR pixels a side
    batch: int = setting(16, at_least=1)
    lr_side: str = setting(
        "patch", "patch", "scene"
    )  # reduce the HR patch itself, or cut from the reduced scene
    patches_per_image: int | None = setting(
        24, at_least=1
    )  # fixed places per image and size; None: new places
    image_sizes: tuple[float, ...] = (1.0, 0.75, 0.5)  # of the training images, by imresize
    augment: str = setting("paper", "paper", "dihedral", "none")
    # the optimisation (train.py, losses.py)
    loss: str = setting("l1", "l1", "l1+0.1*sam", "mse", "0.5*mse+0.5*sam", "mse+0.1*sam")
    learning_rate: float = setting(1e-4, more_than=0)
    schedule: str = setting("halve", "halve", "cosine", "constant")
    halve_every: int = setting(35, at_least=1)  # epochs
    epochs: int | None = setting(200, at_least=1)  # exactly one of epochs and steps
    steps: int | None = setting(None, at_least=1)
    clip: float | None = setting(None, more_than=0)  # largest gradient norm; None: no clipping
    precision: str = setting("no", "no", "bf16", "fp16")
    # execution
    device: str = setting("auto", "auto", "cpu", "cuda")
    checkpoint_every: int = setting(500, at_least=1)  # steps
    evaluate_every: int | None = setting(None, at_least=1)  # steps; None: only the finished network

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for item in fields(self):
            value = typed(item.name, getattr(self, item.name), hints[item.name])
            check_limits(item.name, value, item.metadata)
            object.__setattr__(self, item.name, value)
        if (self.epochs is None) == (self.steps is None):
            raise HsisrError(
                f"epochs={self.epochs} and steps={self.steps}: give exactly one of them and set the other to null."
            )
        if self.patches_per_image is None and (self.epochs is not None or self.schedule == "halve"):
            raise HsisrError(
                "patches_per_image=null draws new places for ever, so there are no epochs: "
                "give `steps` and a schedule other than 'halve'."
            )
        if not self.image_sizes or not all(0 < size <= 1 for size in self.image_sizes):
            raise HsisrError(f"image_sizes={list(self.image_sizes)}: each is larger than 0 and at most 1.")

    @classmethod
    def from_preset(cls, preset: str = "demo", **overrides: Any) -> RunConfig:
        """Read `book/presets/<preset>.yaml` (or a YAML file's path) and replace what `overrides` names.

        A preset that is a plan gives its defaults; its `runs` are checked, not returned (`read_plan` does).
        """
        values = preset_values(preset)
        where = f"preset {preset}"
        config = cls.from_mapping({name: values[name] for name in values if name != "runs"}, where)
        if "runs" in values:
            for _ in islice(config.variants(values["runs"], where), CHECKED_RUNS):
                pass  # making a configuration checks it
        return config.changed(**overrides)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str = "the configuration") -> RunConfig:
        """Make a config from a mapping; HsisrError for a key that does not exist, or a value out of range."""
        known = [item.name for item in fields(cls)]
        unknown = [key for key in values if key not in known]
        if unknown:
            raise HsisrError(
                f"{where}: {unknown[0]!r} is no setting of a run. Valid settings: {', '.join(known)}."
            )
        budget = {"epochs": None, "steps": None} if {"epochs", "steps"} & set(values) else {}
        return cls(**(budget | dict(values)))

    def changed(self, **overrides: Any) -> RunConfig:
        """A copy with other values. Setting `steps` clears `epochs`, and the other way round."""
        unknown = [key for key in overrides if key not in asdict(self)]
        if unknown:
            raise HsisrError(
                f"{unknown[0]!r} is no setting of a run. Valid settings: {', '.join(asdict(self))}."
            )
        if overrides.get("steps") is not None:
            overrides.setdefault("epochs", None)
        if overrides.get("epochs") is not None:
            overrides.setdefault("steps", None)
        return replace(self, **overrides)

    def variants(self, runs: Any, where: str) -> Iterator[tuple[str | None, RunConfig]]:
        """Table and configuration of each run that `expand` finds in `runs`, with these defaults."""
        for entry, settings in expand(runs, where):
            try:
                yield entry.table, self.changed(**settings)
            except HsisrError as error:
                listed = any(isinstance(value, list) for value in settings.values())
                hint = " A list of values expands only inside `product`." if listed else ""
                raise HsisrError(f"{entry.place}: {error}{hint}") from error

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for YAML or JSON."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.to_dict(), sort_keys=False)

    def hash(self, fingerprint: str) -> str:
        """Ten hexadecimal digits that name the result: the settings and the data's `fingerprint`.

        The fingerprint stands for the data, so the same cubes in another folder give the same hash.
        """
        left_out = {*EXECUTION_FIELDS, "data", "split"}
        kept = {key: value for key, value in self.to_dict().items() if key not in left_out}
        text = json.dumps(kept | {"fingerprint": fingerprint}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def steps_per_epoch(self, train_images: int) -> int | None:
        """Whole batches in an epoch over `train_images` images; None where patches are drawn endlessly."""
        if self.patches_per_image is None:
            return None
        images = train_images * len(self.image_sizes)
        return images * self.patches_per_image * len(AUGMENTATIONS[self.augment]) // self.batch

    def total_steps(self, train_images: int) -> int:
        """Steps of the whole training: given, or those of its epochs over `train_images` images."""
        per_epoch = self.steps_per_epoch(train_images)
        if self.epochs is None or per_epoch is None:
            return self.steps or 0
        return self.epochs * per_epoch

    def model_options(self) -> dict[str, Any]:
        """The keywords of `build_model` for this method."""
        return {name: getattr(self, name) for name in option_names(self.method)}


def typed(name: str, value: Any, hint: Any) -> Any:
    """Return `value` if it has the type `hint`; a whole number passes for a float, a list for a tuple."""
    optional = type(None) in getattr(hint, "__args__", ())
    if value is None and optional:
        return None
    base = next((part for part in getattr(hint, "__args__", (hint,)) if part is not type(None)), hint)
    if getattr(hint, "__origin__", None) is tuple:
        if isinstance(value, list | tuple):
            return tuple(typed(name, item, float) for item in value)
        raise HsisrError(f"{name}={value!r}: expected a list of numbers.")
    if base is float and isinstance(value, str):
        with suppress(ValueError):  # YAML reads 1e-4 as a text
            value = float(value)
    if base is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, base) and not (base is int and isinstance(value, bool)):
        return value
    expected = TYPE_NAMES.get(base, str(base)) + (" or null" if optional else "")
    raise HsisrError(f"{name}={value!r}: expected {expected}.")


def check_limits(name: str, value: Any, limits: Mapping[str, Any]) -> None:
    """Raise HsisrError when `value` is none of the choices or out of range."""
    if value is None or not limits:
        return
    if limits["choices"] and value not in limits["choices"]:
        raise HsisrError(f"{name}={value!r}: expected one of {', '.join(map(str, limits['choices']))}.")
    if limits["at_least"] is not None and value < limits["at_least"]:
        raise HsisrError(f"{name}={value!r}: expected at least {limits['at_least']}.")
    if limits["more_than"] is not None and not value > limits["more_than"]:
        raise HsisrError(f"{name}={value!r}: expected more than {limits['more_than']}.")


def preset_path(preset: str) -> Path:
    """The YAML file of a preset: a name in book/presets, or a path that ends in .yaml."""
    if preset.endswith((".yaml", ".yml")):
        path = Path(preset)
        if not path.is_file():
            raise HsisrError(f"Preset file {preset} does not exist.")
        return path
    folder = book_folder() / "presets"
    path = folder / f"{preset}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise HsisrError(
            f"preset {preset!r} is unknown: choose one of {names}, or give a path to a .yaml file."
        )
    return path


def preset_values(preset: str) -> dict[str, Any]:
    """The mapping in a preset file."""
    path = preset_path(preset)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise HsisrError(f"{path} is no valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise HsisrError(f"{path} must hold a mapping of settings, one `name: value` a line.")
    return values
