"""Read the splits that are declared in `book/splits/*.yaml`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from hsisr_core.base.paths import book_folder
from hsisr_core.data.regions import Region, Split, divide_by_rule
from hsisr_core.errors import HsisrError
from hsisr_core.scenes import MINIMUM_SIDE, Bounds

__all__ = ["find_split", "load_split"]

_SPLIT_KEYS = ("name", "dataset", "note", "train", "test", "rule")
_REGION_KEYS = ("name", "scene", "rows", "cols", "reduce_to")
_RULE_KEYS = ("seed", "train_fraction", "test_side")


def load_split(name_or_path: str | os.PathLike[str], scenes: Iterable[str] | None = None) -> Split:
    """Load a split by its name in `book/splits`, or from a YAML file.

    Parameters
    ----------
    name_or_path
        "indian-pines", or the path of a .yaml file with the keys name, dataset, note, and either train and
        test, two lists of regions: a scene's name, or a mapping with the keys scene, name, rows, cols and
        reduce_to; or rule, a mapping with the keys seed, train_fraction and test_side, see `divide_by_rule`.
    scenes
        Names of the scenes at hand, which a rule divides.

    Raises
    ------
    HsisrError
        There is no such split, the file does not hold a valid one, or it is a rule and has too few scenes.
    """
    path = _split_file(name_or_path)
    content = _read(path)
    if "rule" in content:
        if scenes is None:
            raise HsisrError(
                f"Split {content['name']} is a rule for the scenes at hand, and none are given. Give their names."
            )
        sides = divide_by_rule(scenes, **content["rule"], where=f"Split {content['name']}")
    else:
        sides = content["train"], content["test"]
    return Split(content["name"], content["dataset"], *sides, note=content["note"])


def find_split(scenes: list[str], where: str, dataset: str | None = None) -> Split:
    """Return the one split in `book/splits` that is for `dataset`, or whose scenes are all among `scenes`.

    Parameters
    ----------
    scenes
        Names of the scenes at hand.
    where
        What holds them, for the message.
    dataset
        Name of the dataset, if it is known: a store says so. Rules are found only by it.

    Raises
    ------
    HsisrError
        No split or several fit.
    """
    files = sorted((book_folder() / "splits").glob("*.yaml"))
    contents = [_read(file) for file in files]
    places = {content["name"]: file for content, file in zip(contents, files, strict=True)}
    needed = {
        content["name"]: {region.scene for side in ("train", "test") for region in content[side]}
        for content in contents
        if "rule" not in content
    }
    same = [
        c["name"] for c in contents if c["dataset"] == dataset and needed.get(c["name"], set()) <= set(scenes)
    ]
    fitting = same or [name for name, scenes_needed in needed.items() if scenes_needed <= set(scenes)]
    if len(fitting) == 1:
        return load_split(places[fitting[0]], scenes)
    shown = ", ".join(scenes[:40]) + (", ..." if len(scenes) > 40 else "")
    if fitting:
        raise HsisrError(
            f"{where} holds the scenes of several splits ({', '.join(fitting)}). Say which with split=."
        )
    needs = [f"{name} needs {_some(sorted(scenes_needed))}" for name, scenes_needed in needed.items()]
    rules = [content["name"] for content in contents if "rule" in content]
    needs += [f"{' and '.join(rules)} divide any scenes, if asked for with split="] if rules else []
    raise HsisrError(
        f"No split in book/splits fits the scenes in {where} ({shown or 'none'}): "
        f"{'; '.join(needs) or 'there is none'}. Write a split for these scenes and give its path as split=."
    )


def _some(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 8 else f"{', '.join(names[:4])} and {len(names) - 4} more"


def _split_file(name_or_path: str | os.PathLike[str]) -> Path:
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
    return path


def _read(path: Path) -> dict[str, Any]:
    """Return the checked content of a split's file; regions are parsed, a rule is not carried out."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise HsisrError(f"{path} is not readable YAML: {' '.join(str(error).split())}. Mend it.") from error
    ruled = isinstance(content, dict) and "rule" in content
    needed = ("rule",) if ruled else ("train", "test")
    _check_keys(content, _SPLIT_KEYS, ("name", "dataset", *needed), str(path))
    if ruled and ("train" in content or "test" in content):
        raise HsisrError(f"{path} has a rule and lists of scenes; expected one of the two. Remove the other.")
    for key in ("name", "dataset"):
        # both become part of a folder's name
        if not isinstance(content[key], str) or not content[key] or Path(content[key]).name != content[key]:
            raise HsisrError(f"{path}: {key} is {content[key]!r}; expected a name without '/'.")
    parsed = {key: content[key] for key in ("name", "dataset")} | {
        "note": str(content.get("note", "")).strip()
    }
    if ruled:
        return parsed | {"rule": _parse_rule(content["rule"], f"{path}, rule")}
    for side in ("train", "test"):
        if not isinstance(content[side], list):
            raise HsisrError(f"{path}: {side} is {content[side]!r}; expected a list of regions.")
        parsed[side] = tuple(
            _parse_region(item, f"{path}, {side}[{i}]") for i, item in enumerate(content[side])
        )
    return parsed


def _parse_rule(rule: Any, where: str) -> dict[str, Any]:
    _check_keys(rule, _RULE_KEYS, ("seed", "train_fraction"), where)
    fraction = rule["train_fraction"]
    if type(rule["seed"]) is not int or not (isinstance(fraction, float) and 0 < fraction < 1):
        raise HsisrError(
            f"{where} is {rule!r}; expected a whole number for seed and a number between 0 and 1 for train_fraction."
        )
    return dict(rule) | {"test_side": _parse_side(rule, "test_side", where)}


def _parse_side(item: dict[str, Any], key: str, where: str) -> int | None:
    value = item.get(key)
    if value is not None and (type(value) is not int or value < MINIMUM_SIDE):
        raise HsisrError(f"{where}: {key} is {value!r}; expected a number of pixels, {MINIMUM_SIDE} or more.")
    return value


def _parse_region(item: Any, where: str) -> Region:
    if isinstance(item, str):
        item = {"scene": item}
    _check_keys(item, _REGION_KEYS, ("scene",), where)
    name = item.get("name", item["scene"])
    for value in (name, item["scene"]):
        if not isinstance(value, str) or not value or "/" in value or value.startswith("."):
            raise HsisrError(f"{where}: {value!r} is not a name; expected text without '/' or a leading dot.")
    rows, cols = _parse_span(item, "rows", where), _parse_span(item, "cols", where)
    return Region(name, item["scene"], rows, cols, _parse_side(item, "reduce_to", where))


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
