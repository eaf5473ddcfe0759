"""Weights packed into one file with what they are: those that come with the package, and any others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

FOLDER = Path(__file__).resolve().parents[1] / "pretrained"
KEY = "hsisr"  # of the description in the metadata of a packed file


def shipped(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """The entries of `index.json`: name, scale, run, file, sha256, trained_on; the first of a scale is its default."""
    path = folder / "index.json"
    return json.loads(path.read_text(encoding="utf-8"))["weights"] if path.is_file() else []


def read_packed(path: Path) -> tuple[str, dict[str, Tensor]]:
    """The description, in JSON, and the tensors of a packed file; nothing is unpickled."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        return (file.metadata() or {})[KEY], tensors
