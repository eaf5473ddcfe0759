"""Which parts of which scenes train and which test, as `book/splits/*.yaml` declares it.

A region is cut from the HR scene before anything is resized, so no pixel of a test region reaches a
training pixel through the resize filter. Where the names of all scenes are not known here, a split is a rule:
a seeded function of the names that are there.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Any, ClassVar

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, ValidationError

from hsisr_core.base import atomic_text, book_folder
from hsisr_core.data.sources import DATASETS
from hsisr_core.errors import HsisrError, describe_mistake
from hsisr_core.scenes import MINIMUM_SIDE, span

_TUNE = "-tune"
"""End of the names of splits that choose settings on the training scenes of another split."""


def _check_bounds(bounds: tuple[int, int]) -> tuple[int, int]:
    if not 0 <= bounds[0] < bounds[1]:
        raise ValueError("expected [start, stop] with 0 <= start < stop")
    return bounds


# a part of a path: without "/" or a leading dot
_Name = Annotated[str, Field(pattern=r"^[^/.][^/]*$")]
_Side = Annotated[StrictInt, Field(ge=MINIMUM_SIDE)]
_Part = Annotated[tuple[StrictInt, StrictInt], AfterValidator(_check_bounds)]


@dataclass(frozen=True)
class Region:
    """A part of a scene that trains or tests; its name is unique in its split.

    `rows` and `cols` are (start, stop) in HR pixels of the scene, stop excluded; None: all of them. `reduce_to` are
    the pixels of the longer side that a larger scene is reduced to before, by a whole factor, with `imresize`.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: _Name
    scene: _Name
    rows: _Part | None = None
    cols: _Part | None = None
    reduce_to: _Side | None = None

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


@dataclass(frozen=True)
class Split:
    """Training and test regions of a dataset; `note` says how they were chosen.

    None of `train` shares a pixel with one of `test`. Results are reported under the name `dataset`.
    """

    name: str
    dataset: str
    train: tuple[Region, ...]
    test: tuple[Region, ...]
    note: str = ""

    def __post_init__(self) -> None:
        if not self.train or not self.test:
            raise HsisrError(f"Split {self.name} needs at least one region in train and one in test.")
        names = [region.name for region in self.regions]
        for name in names:
            if names.count(name) > 1:
                raise HsisrError(f"Split {self.name} has two regions named {name!r}. Rename one.")
        for region in self.regions:
            if region.reduce_to != self.reduce_to(region.scene):
                raise HsisrError(
                    f"Split {self.name}: the regions of scene {region.scene} differ in reduce_to. Give one value."
                )
        for train, test in product(self.train, self.test):
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


def load_split(name_or_path: str | os.PathLike[str], scenes: Iterable[str] | None = None) -> Split:
    """Load a split by its name in `book/splits`, or from a YAML file; `scenes` are the names that a rule divides.

    The file has the keys name, dataset, note, and either train and test, two lists of scenes' names or regions (see
    `Region`), or rule, with the keys seed, train_fraction and test_side (see `divide_by_rule`).
    """
    return _read(_split_file(name_or_path)).split(scenes)


def choose_split(
    split: str | os.PathLike[str] | None, scenes: list[str], where: str, dataset: str | None = None
) -> Split:
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
    warning names the choice. A rule fits only its dataset, and a split that chooses settings (-tune) never.
    """
    splits = [_read(file) for file in sorted((book_folder() / "splits").glob("*.yaml"))]
    searched = [split for split in splits if not split.name.endswith(_TUNE)]
    fitting = [split for split in searched if split.dataset == dataset and split.scenes <= set(scenes)]
    if not fitting:
        fitting = [split for split in searched if split.rule is None and split.scenes <= set(scenes)]
    if not fitting:
        raise _none_fits(splits, scenes, where)
    ranks = [(split.name in DATASETS, len(split.scenes)) for split in fitting]
    several = f"{where} holds the scenes of several splits ({', '.join(split.name for split in fitting)})"
    if ranks.count(max(ranks)) > 1:
        raise HsisrError(f"{several}. Say which with -p split=NAME (in Python: split=).")
    best = fitting[ranks.index(max(ranks))]
    if len(fitting) > 1:
        warnings.warn(
            f"{several}: {best.name} is taken. Say another with -p split=NAME (in Python: split=).",
            stacklevel=4,
        )
    return best.split(scenes)


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
    atomic_text(path, yaml.safe_dump(content, default_flow_style=None, sort_keys=False, width=10**6))
    return load_split(path)


def _fill(item: Any) -> Any:
    """A region may be given by its scene alone, and is named so if it has no other name."""
    if isinstance(item, str):
        item = {"scene": item}
    return {"name": item["scene"], **item} if isinstance(item, dict) and "scene" in item else item


_Regions = tuple[Annotated[Region, BeforeValidator(_fill)], ...]


class _Rule(BaseModel, extra="forbid"):
    seed: StrictInt
    train_fraction: float = Field(gt=0, lt=1)
    test_side: _Side | None = None


class _SplitFile(BaseModel, extra="forbid"):
    """A split's file, checked; a rule is not applied yet."""

    name: _Name
    dataset: _Name
    note: str = ""
    train: _Regions = ()
    test: _Regions = ()
    rule: _Rule | None = None

    @property
    def scenes(self) -> set[str]:
        """Names of the scenes that it needs; a rule needs none by name."""
        return {region.scene for region in self.train + self.test}

    def split(self, scenes: Iterable[str] | None) -> Split:
        """Return the split, with a rule applied to the names of the scenes at hand."""
        train, test = self.train, self.test
        if self.rule is not None:
            train, test = divide_by_rule(scenes or (), **self.rule.model_dump(), where=f"Split {self.name}")
        return Split(self.name, self.dataset, train, test, self.note.strip())


def _read(path: Path) -> _SplitFile:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise HsisrError(f"{path} is not readable YAML: {' '.join(str(error).split())}. Fix it.") from error
    try:
        split = _SplitFile.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the content"
        raise HsisrError(f"{path}: {key}: {describe_mistake(first)}. Fix the file.") from error
    if split.rule and (split.train or split.test):
        raise HsisrError(f"{path} has a rule and lists of scenes; expected one of the two. Remove the other.")
    return split


def _none_fits(splits: list[_SplitFile], scenes: list[str], where: str) -> HsisrError:
    needs = [
        f"{split.name} needs {_some(sorted(split.scenes))}"
        for split in splits
        if split.rule is None and not split.name.endswith(_TUNE)
    ]
    return HsisrError(
        f"No split in book/splits fits the scenes in {where} ({_some(scenes) or 'none'}): "
        f"{'; '.join(needs) or 'there is none'}. Name another with -p split=NAME, or write one and give it with "
        "-p split=FILE.yaml (in Python: split=)."
    )


def _some(names: Iterable[str]) -> str:
    return shorten(", ".join(names), width=250, placeholder=" ...")


def _split_file(name_or_path: str | os.PathLike[str]) -> Path:
    path = Path(name_or_path).expanduser()
    if path.parent == Path() and path.suffix not in (".yaml", ".yml"):
        path = book_folder() / "splits" / f"{path}.yaml"
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml"))) or "none"
            raise HsisrError(
                f"Unknown split {path.stem!r}. Known: {known}; or give the path of a .yaml file."
            )
    if not path.is_file():
        raise HsisrError(f"Split file {path} does not exist. Check the path.")
    return path
