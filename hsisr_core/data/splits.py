"""Which scenes, or which parts of a scene, train and which test: declared in `book/splits/*.yaml`.

A region is cut from the HR scene before anything is resized, so no pixel of a test region reaches a
training pixel through the resize filter.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from hsisr_core.data.scene import Bounds, span
from hsisr_core.errors import HsisrError
from hsisr_core.paths import book_folder

__all__ = ["Region", "Split", "find_split", "load_split"]

_SPLIT_KEYS = ("name", "dataset", "note", "train", "test")
_REGION_KEYS = ("name", "scene", "rows", "cols")


@dataclass(frozen=True)
class Region:
    """A part of a scene that trains or tests.

    Attributes
    ----------
    name
        Name of the region, unique in its split.
    scene
        Name of the scene it is cut from.
    rows, cols
        (start, stop) in HR pixels of the scene, stop excluded; None: all of them.
    """

    name: str
    scene: str
    rows: Bounds = None
    cols: Bounds = None

    def bounds(self, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return ((top, bottom), (left, right)) in a scene of `height` x `width` pixels.

        Raises
        ------
        HsisrError
            The region leaves the scene.
        """
        where = f"of region {self.name} in scene {self.scene} of {height}x{width} pixels"
        return span(self.rows, height, f"Rows {where}"), span(self.cols, width, f"Columns {where}")

    def overlaps(self, other: Region) -> bool:
        """Whether the two regions share a pixel."""
        return (
            self.scene == other.scene
            and _intersect(self.rows, other.rows)
            and _intersect(self.cols, other.cols)
        )


@dataclass(frozen=True)
class Split:
    """Training and test regions of a dataset.

    Attributes
    ----------
    name
        Name of the split.
    dataset
        Name that results are reported under.
    train, test
        The regions. None of `train` shares a pixel with one of `test`.
    note
        How the split was made, for the reader.

    Raises
    ------
    HsisrError
        A side has no region, two regions have one name, or a training region overlaps a test region.
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


def load_split(name_or_path: str | os.PathLike[str]) -> Split:
    """Load a split by its name in `book/splits`, or from a YAML file.

    Parameters
    ----------
    name_or_path
        "indian-pines", or the path of a .yaml file with the keys name, dataset, note, train and test;
        the last two are lists of regions: a scene's name, or a mapping with the keys scene, name, rows
        and cols.

    Raises
    ------
    HsisrError
        There is no such split, or the file does not hold a valid one.
    """
    text = os.fspath(name_or_path)
    if Path(text).name != text or Path(text).suffix in (".yaml", ".yml"):
        path = Path(text).expanduser()
        if not path.is_file():
            raise HsisrError(f"Split file {path} does not exist. Check the path.")
    else:
        path = book_folder() / "splits" / f"{text}.yaml"
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml"))) or "none"
            raise HsisrError(f"Unknown split {text!r}. Known: {known}; or give the path of a .yaml file.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise HsisrError(f"{path} is not readable YAML: {' '.join(str(error).split())}. Mend it.") from error
    return _parse(content, path)


def find_split(scenes: list[str], where: str) -> Split:
    """Return the one split in `book/splits` whose scenes are all among `scenes`.

    Parameters
    ----------
    scenes
        Names of the scenes at hand.
    where
        What holds them, for the message.

    Raises
    ------
    HsisrError
        No split or several fit.
    """
    splits = [load_split(file) for file in sorted((book_folder() / "splits").glob("*.yaml"))]
    fitting = [split for split in splits if set(split.scenes) <= set(scenes)]
    if len(fitting) == 1:
        return fitting[0]
    shown = ", ".join(scenes[:40]) + (", ..." if len(scenes) > 40 else "")
    if fitting:
        names = ", ".join(split.name for split in fitting)
        raise HsisrError(f"{where} holds the scenes of several splits ({names}). Say which with split=.")
    needs = "; ".join(f"{split.name} needs {', '.join(split.scenes)}" for split in splits) or "there is none"
    raise HsisrError(
        f"No split in book/splits fits the scenes in {where} ({shown or 'none'}): {needs}. "
        "Write a split for these scenes and give its path as split=."
    )


def _parse(content: Any, path: Path) -> Split:
    _check_keys(content, _SPLIT_KEYS, ("name", "dataset", "train", "test"), str(path))
    sides = {}
    for side in ("train", "test"):
        if not isinstance(content[side], list):
            raise HsisrError(f"{path}: {side} is {content[side]!r}; expected a list of regions.")
        sides[side] = tuple(
            _parse_region(item, f"{path}, {side}[{i}]") for i, item in enumerate(content[side])
        )
    for key in ("name", "dataset"):
        # both become part of a folder's name
        if not isinstance(content[key], str) or not content[key] or Path(content[key]).name != content[key]:
            raise HsisrError(f"{path}: {key} is {content[key]!r}; expected a name without '/'.")
    return Split(content["name"], content["dataset"], note=str(content.get("note", "")).strip(), **sides)


def _parse_region(item: Any, where: str) -> Region:
    if isinstance(item, str):
        item = {"scene": item}
    _check_keys(item, _REGION_KEYS, ("scene",), where)
    name = item.get("name", item["scene"])
    for value in (name, item["scene"]):
        if not isinstance(value, str) or not value or "/" in value or value.startswith("."):
            raise HsisrError(f"{where}: {value!r} is not a name; expected text without '/' or a leading dot.")
    return Region(name, item["scene"], _parse_span(item, "rows", where), _parse_span(item, "cols", where))


def _parse_span(item: dict[str, Any], key: str, where: str) -> Bounds:
    value = item.get(key)
    if value is None:
        return None
    if (
        not isinstance(value, list)
        or len(value) != 2
        or not all(type(number) is int for number in value)
        or not 0 <= value[0] < value[1]
    ):
        raise HsisrError(f"{where}: {key} is {value!r}; expected [start, stop] with 0 <= start < stop.")
    return value[0], value[1]


def _check_keys(content: Any, allowed: tuple[str, ...], needed: tuple[str, ...], where: str) -> None:
    if not isinstance(content, dict):
        raise HsisrError(f"{where} is {content!r}; expected a mapping with the keys {', '.join(allowed)}.")
    unknown = [str(key) for key in content if key not in allowed]
    missing = [key for key in needed if key not in content]
    if unknown or missing:
        problem = f"unknown: {', '.join(unknown)}" if unknown else f"missing: {', '.join(missing)}"
        raise HsisrError(f"{where}: keys {problem}. The keys are {', '.join(allowed)}.")


def _intersect(first: Bounds, second: Bounds) -> bool:
    if first is None or second is None:
        return True
    return first[0] < second[1] and second[0] < first[1]
