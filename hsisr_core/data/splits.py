"""Which parts of which scenes train and which test, as `book/splits/*.yaml` declares it.

A region is cut from the HR scene before anything is resized, so no pixel of a test region reaches a
training pixel through the resize filter. Where the names of all scenes are not known here, a split is a rule:
a seeded function of the names that are there.
"""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, ConfigDict, Field, StrictInt, TypeAdapter, ValidationError, with_config

from hsisr_core.base import AnyPath, atomic_text, book_folder, read_yaml
from hsisr_core.data.sources import DATASETS
from hsisr_core.errors import HsisrError, describe_mistake
from hsisr_core.scenes import MINIMUM_SIDE, span

# letters and digits of any script with their marks; without "/" or a leading dot, so that it can be part of a path
Name = Annotated[str, Field(pattern=r"^[\p{L}\p{M}\p{N}_-][\p{L}\p{M}\p{N}._ -]*$")]
_Side = Annotated[StrictInt, Field(ge=MINIMUM_SIDE)]
_Part = tuple[StrictInt, StrictInt]


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class Region:
    """A part of a scene that trains or tests; its name is unique in its split.

    `rows` and `cols` are (start, stop) in HR pixels of the scene, stop excluded; None: all of them. `reduce_to` are
    the pixels of the longer side that a larger scene is reduced to before, by a whole factor, with `imresize`;
    `high_byte` says that of its 16-bit numbers the high byte alone counts (see `prepare`).
    """

    name: Name
    scene: Name
    rows: _Part | None = None
    cols: _Part | None = None
    reduce_to: _Side | None = None
    high_byte: bool = False

    def bounds(self, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return ((top, bottom), (left, right)) in a scene of `height` x `width` pixels, or raise HsisrError."""
        where = f"of region {self.name} in scene {self.scene} of {height}x{width} pixels"
        return span(self.rows, height, f"Rows {where}"), span(self.cols, width, f"Columns {where}")

    def overlaps(self, other: Region) -> bool:
        """Whether the two regions share a pixel."""
        if self.scene != other.scene:
            return False
        pairs = (self.rows, other.rows), (self.cols, other.cols)
        return all(one is None or two is None or (one[0] < two[1] and two[0] < one[1]) for one, two in pairs)


def _fill(item: Any) -> Any:
    """A region may be given by its scene alone, and is named so if it has no other name."""
    if isinstance(item, str):
        item = {"scene": item}
    return {"name": item["scene"], **item} if isinstance(item, dict) and "scene" in item else item


_Regions = tuple[Annotated[Region, BeforeValidator(_fill)], ...]


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class Rule:
    """How `divide_by_rule` makes the regions of a split."""

    seed: StrictInt
    train_fraction: Annotated[float, Field(gt=0, lt=1)]
    test_side: _Side | None = None


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class Split:
    """Training and test regions of a dataset; `note` says how they were chosen.

    None of `train` shares a pixel with one of `test`. Results are reported under the name `dataset`. With a `rule`
    there are no regions before `divide`. One that is taken `by_name` alone is not found by its scenes.
    """

    name: Name
    dataset: Name
    train: _Regions = ()
    test: _Regions = ()
    note: str = ""
    rule: Rule | None = None
    by_name: bool = False

    def __post_init__(self) -> None:
        if self.rule is not None and not self.regions:
            return
        if self.rule is not None or not self.train or not self.test:
            raise HsisrError(
                f"Split {self.name} needs either a rule, or at least one region in train and one in test."
            )
        sides: dict[str, int | None] = {}
        tests: dict[str, list[Region]] = defaultdict(list)
        for name, count in Counter(region.name for region in self.regions).items():
            if count > 1:
                raise HsisrError(f"Split {self.name} has two regions named {name!r}. Rename one.")
        for region in self.regions:
            if region.reduce_to != sides.setdefault(region.scene, region.reduce_to):
                raise HsisrError(
                    f"Split {self.name}: the regions of scene {region.scene} differ in reduce_to. Give one value."
                )
        for region in self.test:
            tests[region.scene].append(region)
        for train, test in ((one, other) for one in self.train for other in tests[one.scene]):
            if train.overlaps(test):
                raise HsisrError(
                    f"Split {self.name}: training region {train.name} and test region {test.name} share "
                    f"pixels of scene {train.scene}. Move one, so that no test pixel is trained on."
                )

    @property
    def regions(self) -> tuple[Region, ...]:
        """All regions, training first."""
        return self.train + self.test

    @property
    def scenes(self) -> list[str]:
        """Names of the scenes that the regions are cut from, sorted."""
        return sorted({region.scene for region in self.regions})

    def reduce_to(self, scene: str) -> int | None:
        """Pixels of the longer side that `scene` is reduced to when it is prepared, if larger; None: never."""
        return next(region.reduce_to for region in self.regions if region.scene == scene)

    @property
    def high_byte(self) -> set[str]:
        """Names of the scenes of which the high byte alone counts."""
        return {region.scene for region in self.regions if region.high_byte}

    def divide(self, scenes: Iterable[str] | None) -> Split:
        """Return the split with its rule, if it has one, applied to the names of the scenes at hand."""
        if self.rule is None:
            return self
        train, test = divide_by_rule(scenes or (), **vars(self.rule), where=f"Split {self.name}")
        return replace(self, train=train, test=test, rule=None)


def load_split(name_or_path: AnyPath, scenes: Iterable[str] | None = None) -> Split:
    """Load a split by its name in `book/splits`, or from a YAML file; `scenes` are the names that a rule divides.

    The file has the keys name, dataset, note, and either train and test, two lists of scenes' names or regions (see
    `Region`), or rule, with the keys seed, train_fraction and test_side (see `divide_by_rule`).
    """
    path = Path(name_or_path).expanduser()
    if path.parent == Path() and path.suffix not in (".yaml", ".yml"):
        path = book_folder() / "splits" / f"{path}.yaml"
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml"))) or "none"
            raise HsisrError(f"Unknown split {path.stem!r}. Known: {known}; or give a path of a .yaml file.")
    return _check(path, read_yaml(path)).divide(scenes)


def choose_split(split: AnyPath | None, scenes: list[str], where: str, dataset: str | None = None) -> Split:
    """Return the split that was asked for, or else the one that fits; all its scenes are there."""
    if split is None:
        return find_split(scenes, where, dataset)
    chosen = load_split(split, scenes)
    missing = [name for name in chosen.scenes if name not in scenes]
    if missing:
        raise HsisrError(
            f"Split {chosen.name} needs the scenes {', '.join(missing)}, which are not in {where}; it has "
            f"{_some(scenes) or 'none'}. Add them or choose another split."
        )
    return chosen


def find_split(scenes: list[str], where: str, dataset: str | None = None) -> Split:
    """Return the split in `book/splits` whose scenes are all at hand, in `where`.

    Those for `dataset` go first, then that of a whole dataset of the paper, then the one that needs most scenes; a
    warning names the choice. A rule fits only its dataset.
    """
    files = sorted((book_folder() / "splits").glob("*.yaml"))
    every = [_check(file, read_yaml(file)) for file in files]
    searched = [split for split in every if not split.by_name]
    listed = [split for split in searched if split.rule is None]
    fitting = [split for split in searched if split.dataset == dataset and set(split.scenes) <= set(scenes)]
    fitting = fitting or [split for split in listed if set(split.scenes) <= set(scenes)]
    if not fitting:
        needs = "; ".join(f"{split.name} needs {_some(split.scenes)}" for split in listed)
        raise HsisrError(
            f"No split in book/splits fits the scenes in {where} ({_some(scenes) or 'none'}): {needs}. "
            "Name another or a file with -p split= (in Python: split=)."
        )
    ranks = [(split.name in DATASETS, len(split.scenes)) for split in fitting]
    how = "-p split=NAME (in Python: split=)."
    several = f"{where} holds the scenes of several splits ({', '.join(split.name for split in fitting)})"
    if ranks.count(max(ranks)) > 1:
        raise HsisrError(f"{several}. Say which with {how}")
    best = fitting[ranks.index(max(ranks))]
    if len(fitting) > 1:
        warnings.warn(f"{several}: {best.name} is taken. Say another with {how}", stacklevel=4)
    return best.divide(scenes)


def divide_by_rule(
    scenes: Iterable[str],
    seed: int,
    train_fraction: float,
    test_side: int | None = None,
    where: str = "A split",
) -> tuple[tuple[Region, ...], tuple[Region, ...]]:
    """Divide scenes at random, but the same way everywhere: training and test regions, by name.

    The first `train_fraction` of the names in the order of the SHA-256 of "seed:name" train. Test regions are the top
    left `test_side` x `test_side` pixels of their scene (paper, Section IV-B: 512), or all of it.
    """
    names = sorted(set(scenes), key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    count = round(train_fraction * len(names))
    if not 0 < count < len(names):
        raise HsisrError(
            f"{where} takes {train_fraction:.0%} of the scenes for training, and there are {len(names)}: "
            "one side would be empty. Add scenes."
        )
    corner = None if test_side is None else (0, test_side)
    train = tuple(Region(name, name) for name in sorted(names[:count]))
    return train, tuple(Region(name, name, corner, corner) for name in sorted(names[count:]))


def write_split(path: Path, scenes: Iterable[str], test: float, seed: int) -> Split:
    """Divide scenes by `divide_by_rule`, a share of `test` for the test, write the split's file, and return it."""
    if path.suffix not in (".yaml", ".yml") or path.exists():
        raise HsisrError(f"{path}: give a new file, with a name that ends in .yaml, by -o FILE.yaml.")
    parts = divide_by_rule(scenes, seed, 1 - test, where=f"--test {test:g}")
    train, tested = ([region.scene for region in part] for part in parts)
    content = {"name": path.stem, "dataset": path.stem, "train": train, "test": tested}
    made = _check(path, content)
    atomic_text(path, yaml.safe_dump(content, default_flow_style=None, sort_keys=False, width=10**6))
    return made


def _check(path: Path, content: dict[str, Any]) -> Split:
    # of a file that is not a split, not even the names of its keys are shown
    if not {"name", "dataset"} <= content.keys():
        raise HsisrError(f"{path} is not a split: it needs the keys name and dataset.")
    try:
        return TypeAdapter(Split).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = shorten(".".join(map(str, first["loc"])), 80)
        raise HsisrError(f"{path}: {key}: {describe_mistake(first)}. Fix the file.") from error


def _some(names: Iterable[str]) -> str:
    return shorten(", ".join(names), width=250, placeholder=" ...")
