"""Weights packed into one file with what they are: those that come with the package, and any others."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from hsisr_core.base import sha256_file
from hsisr_core.errors import HsisrError
from hsisr_core.models import SuperResolver, check_source, restore_model

FOLDER = Path(__file__).resolve().parents[1] / "pretrained"
KEY = "hsisr"  # of the description in the metadata of a packed file


def shipped(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """The entries of `index.json`: name, scale, run, file, sha256, trained_on; the first of a scale is its default."""
    path = folder / "index.json"
    return json.loads(path.read_text(encoding="utf-8"))["weights"] if path.is_file() else []


def shipped_file(entry: Mapping[str, Any], folder: Path = FOLDER) -> Path:
    """The file of an entry of `shipped`; HsisrError unless it is there, as it was shipped."""
    path = folder / entry["file"]
    if not path.is_file() or sha256_file(path) != entry["sha256"]:
        raise HsisrError(f"{path} is missing or damaged (another SHA-256): install hsisr again.")
    return path


def read_packed(path: Path) -> tuple[str, dict[str, Tensor]]:
    """The description, in JSON, and the tensors of a packed file; nothing is unpickled."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        return (file.metadata() or {})[KEY], tensors


def build_packed(tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> SuperResolver:
    """The network that `info` describes, with these weights of any precision, ready for inference."""
    check_source(info["method"], info.get("source"))
    return restore_model(info["method"], info["scale"], info["options"], info["mirror"], tensors)
