"""The settings of one run: typed, checked, read from a preset, and hashed."""

import hashlib
import json
import reprlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from hsisr_core.base import book_folder, read_yaml
from hsisr_core.data import Dataset, Name, load_dataset
from hsisr_core.degrade import Scale
from hsisr_core.errors import HsisrError, describe_mistake
from hsisr_core.models import MODELS, MOST, check_source, find_network, option_names

# How a run is carried out, not what it computes: these do not enter the hash.
EXECUTION_FIELDS = ("device", "checkpoint_every", "evaluate_every")
# How the files of the data are read, as keywords of `read_scene`.
READING_FIELDS = ("key", "band_axis", "divisor", "bands")
# The data enter the hash by their fingerprint.
DATA_FIELDS = ("data", "split", *READING_FIELDS)
# These enter the hash whatever their value; a later setting where it differs from its default, so that the runs from
# before keep their names. Never add to this list.
SETTINGS_OF_0_1_0 = (
    "preset", "method", "scale", "seed", "features", "modules", "units", "block", "order", "local_fusion",
    "global_residual", "weight_norm", "init", "recursions", "groups", "blocks", "keep_size", "mirror", "patch",
    "batch", "lr_side", "patches_per_image", "image_sizes", "augment", "loss", "learning_rate", "schedule",
    "halve_every", "epochs", "steps", "clip", "precision",
)  # fmt: skip
# (quarter turns, left-right flip): the paper's five, and all eight symmetries of the square
AUGMENTATIONS = {
    "none": ((0, False),),
    "paper": ((0, False), (1, False), (2, False), (3, False), (0, True)),
    "dihedral": tuple((turns, flip) for flip in (False, True) for turns in range(4)),
}


def _number(value: Any) -> Any:
    """YAML reads 1e-4 as a text."""
    with suppress(ValueError):
        return float(value) if isinstance(value, str) else value
    return value


def _choose_bands(value: Any) -> Any:
    """Bands as `read_scene` takes them, hashable."""
    if value in (None, "all") or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, list | tuple) and all(type(band) is int for band in value):
        return tuple(value)
    expected = "expected a number of bands, a list of 0-based indices, or 'all'"
    raise ValueError(f"bands={reprlib.repr(value)}: {expected}.")


Number = Annotated[float, BeforeValidator(_number)]
Size = Annotated[Number, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1, le=MOST)]
# strict=False: YAML has lists, no tuples
Sizes = Annotated[tuple[Size, ...], Field(min_length=1, strict=False)]
# Full precision is called "no" in the settings of 0.1.0.
Precision = Annotated[
    Literal["no", "bf16", "fp16"], BeforeValidator(lambda value: "no" if value == "float32" else value)
]


class RunConfig(BaseModel):
    """Everything that decides the result of one run; a value that is not allowed raises HsisrError.

    The defaults are the paper's. `preset` names where the values came from and stands in every table.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="allow", allow_inf_nan=False)

    preset: Name = "paper"
    # a network of one's own has its options as further settings
    method: str = "ssrnet"
    # SHA-256 of the text of such a network
    source: str | None = None
    # a known dataset, a folder of scenes or a scenes.h5
    data: str = "indian-pines"
    # name of a file in book/splits, or a path; None: the one that fits the data
    split: str | None = None
    # how its files are read: the array of a .mat or HDF5 file, the axis of its bands, the value that stands for 1
    key: str | None = None
    band_axis: Literal[0, 1, 2] | None = None
    divisor: Number | None = Field(None, gt=0)
    bands: Annotated[Any, BeforeValidator(_choose_bands)] = None
    scale: Scale = 2
    # of HR before the reduction (`blur_cube`): standard deviation in HR pixels; the paper has none
    blur: Number | None = Field(None, gt=0)
    seed: int = Field(1, ge=0)

    # the network (models/); each takes what it has
    features: Count = 64
    modules: Count = 3
    units: Count = 3
    block: Literal["separable", "standard"] = "separable"
    order: Literal["spatial-first", "spectral-first"] = "spatial-first"
    local_fusion: bool = True
    global_residual: bool = True
    weight_norm: bool = True
    init: Literal["pytorch", "he", "interpolation"] = "he"
    recursions: Count = 9  # GDRRN
    groups: Count = 2  # GDRRN
    blocks: Count = 16  # EDSR
    keep_size: bool = False  # 3D-FCNN: zero padding, all bands
    back_projection: bool = True  # SSRChain
    # LR pixels by which a scene, not a patch, is mirrored at its border
    mirror: int = Field(0, ge=0, le=MOST)

    # the patches (training/patches.py); `patch` in LR pixels a side
    patch: int = Field(32, ge=4)
    batch: int = Field(16, ge=1)
    # reduce the HR patch itself, or cut from the reduced scene
    lr_side: Literal["patch", "scene"] = "patch"
    # fixed places per image and size; None: new places
    patches_per_image: int | None = Field(24, ge=1)
    # of the training images, by imresize
    image_sizes: Sizes = (1.0, 0.75, 0.5)
    augment: Literal["paper", "dihedral", "none"] = "paper"

    # the optimisation (training/loop.py, training/losses.py)
    loss: Literal["l1", "l1+0.1*sam", "mse", "0.5*mse+0.5*sam", "mse+0.1*sam"] = "l1"
    learning_rate: Number = Field(1e-4, gt=0)
    schedule: Literal["halve", "cosine", "constant"] = "halve"
    halve_every: int = Field(35, ge=1)  # epochs
    # exactly one of epochs and steps
    epochs: int | None = Field(200, ge=1)
    steps: int | None = Field(None, ge=1)
    # largest gradient norm; None: no clipping
    clip: Number | None = Field(None, gt=0)
    precision: Precision = "no"

    # execution
    device: Literal["auto", "cpu", "cuda"] = "auto"
    checkpoint_every: int = Field(500, ge=1)  # steps
    # steps; None: only the finished network
    evaluate_every: int | None = Field(None, ge=1)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**_add_own_settings(values, [*type(self).model_fields]))
        except ValidationError as error:
            raise HsisrError(_describe(error)) from None
        # a default of a network of one's own is not its user's choice for another one
        self.model_fields_set.intersection_update(values)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(f"epochs={self.epochs}, steps={self.steps}: give exactly one of them.")
        if self.patches_per_image is None and (self.epochs is not None or self.schedule == "halve"):
            raise ValueError("patches_per_image=null has no epochs: give `steps`, and no schedule 'halve'.")
        if self.method == "ssrchain" and self.blur is not None and self.back_projection:
            raise ValueError("back-projection reduces without a blur: set back_projection to false.")
        return self

    @classmethod
    def from_preset(cls, preset: str = "demo", **overrides: Any) -> Self:
        """Read `book/presets/<preset>.yaml` (or a file's path) without a plan's `runs`; `overrides` replace values."""
        values = preset_values(preset)
        values.pop("runs", None)
        return cls.from_mapping(values, f"preset {preset}").changed(**overrides)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str = "the configuration") -> Self:
        """Make a config from a mapping; HsisrError for a key that does not exist, or a value out of range."""
        budget = {"epochs": None, "steps": None} if {"epochs", "steps"} & set(values) else {}
        try:
            return cls(**budget | {str(name): value for name, value in values.items()})
        except HsisrError as error:
            raise HsisrError(f"{where}: {error}") from None

    def changed(self, **overrides: Any) -> Self:
        """A copy with other values. Setting `steps` clears `epochs`, and the other way round."""
        for name, other in (("steps", "epochs"), ("epochs", "steps")):
            if overrides.get(name) is not None:
                overrides.setdefault(other, None)
        kept = set(self.model_fields_set)
        if overrides.get("method", self.method) != self.method:
            # without the options of the network before
            kept &= {*type(self).model_fields} - {"source"}
        values = {name: getattr(self, name) for name in kept}
        return type(self)(**values | overrides)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for YAML or JSON."""
        return self.model_dump(mode="json")

    def command(self) -> str:
        """The command that trains this run: its preset, and what differs from it."""
        try:
            preset = type(self).from_preset(self.preset)
        except HsisrError:  # a preset of its maker's own
            preset = self
        changed = [
            f" -p {name}={json.dumps(value, separators=(',', ':'))}"
            for name, value in self.to_dict().items()
            if name not in ("source", "data", "split", *EXECUTION_FIELDS)
            and getattr(self, name) != getattr(preset, name, None)
        ]
        return f"hsisr train --preset {self.preset} --data {self.data}{''.join(changed)}"

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.to_dict(), sort_keys=False)

    def hash(self, fingerprint: str) -> str:
        """Ten hexadecimal digits that name the result: of the settings, and the `fingerprint` in place of the data."""
        kept = {}
        for name, value in self.to_dict().items():
            field = type(self).model_fields.get(name)
            changed = field is None or getattr(self, name) != field.default
            if name in SETTINGS_OF_0_1_0 or (changed and name not in (*EXECUTION_FIELDS, *DATA_FIELDS)):
                kept[name] = value
        text = json.dumps(kept | {"fingerprint": fingerprint}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def load_dataset(self, split: str | None = None) -> Dataset:
        """The data of this run, or another `split` of them."""
        return load_dataset(self.data, split or self.split, **self.reading)

    @property
    def reading(self) -> dict[str, Any]:
        """The keywords of `load_dataset` that say how the files are read."""
        return {name: getattr(self, name) for name in READING_FIELDS if getattr(self, name) is not None}

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
        """The keywords of `build_model` for this method; HsisrError if a network of one's own has changed since."""
        check_source(self.method, self.source)
        return {name: getattr(self, name) for name in option_names(self.method)}


def _add_own_settings(values: dict[str, Any], settings: list[str]) -> dict[str, Any]:
    """Check the options of a network of one's own, and add its defaults and its source; a stored run, which has a
    `source`, is taken as it is where the network is not here, or is another."""
    method, source = str(values.get("method", "ssrnet")), values.get("source")
    own: dict[str, Any] = {}
    added: dict[str, Any] = {}
    try:
        network = find_network(method)
    except HsisrError:
        if source is None:
            raise
        network = None
    if network and source in (None, network.source):
        own = dict(network.settings.model_fields)
        options = {option for name in MODELS for option in option_names(name)}
        if taken := [name for name in own if name in settings and name not in options]:
            raise HsisrError(
                f"{method}: its option {taken[0]!r} is a setting of every run: name it otherwise."
            )
        found = network.settings(**{name: values[name] for name in own if name in values})
        added = {**dict(found), "method": network.name, "source": network.source}
    valid = [*settings, *own]
    unknown = [name for name in values if name not in valid]
    if unknown and (source is None or (network and source == network.source)):
        # an unknown network first
        option_names(method)
        names = ", ".join(dict.fromkeys([*own, *settings]))
        raise HsisrError(f"{reprlib.repr(unknown[0])} is not a setting of a run. Valid settings: {names}.")
    return values | added


def _describe(error: ValidationError) -> str:
    """The first mistake in one sentence."""
    first = error.errors()[0]
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    name, *places = map(str, first["loc"])
    expected = describe_mistake(first)
    if name in RunConfig.model_fields and type(None) in get_args(RunConfig.model_fields[name].annotation):
        expected += " or null"
    return f"{name}{''.join(f'[{place}]' for place in places)}={reprlib.repr(first['input'])}: {expected}."


def preset_path(preset: str) -> Path:
    """The YAML file of a preset: a name in book/presets, or a path that ends in .yaml."""
    folder = book_folder() / "presets"
    path = Path(preset) if preset.endswith((".yaml", ".yml")) else folder / f"{preset}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise HsisrError(f"preset {preset!r} does not exist: choose one of {names}, or a .yaml file.")
    return path


def preset_values(preset: str) -> dict[str, Any]:
    """The mapping in a preset file."""
    return read_yaml(preset_path(preset))
