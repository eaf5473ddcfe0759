"""Preset files: settings of a run, or of a plan of many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from hsisr_core.base import book_folder
from hsisr_core.errors import HsisrError

__all__ = ["preset_path", "preset_values"]


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
        raise HsisrError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise HsisrError(f"{path} must hold a mapping of settings, one `name: value` a line.")
    return values
