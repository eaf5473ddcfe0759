"""Weights packed into one file with what they are: those that come with the package, and any others."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from hsisr_core.base import sha256_file
from hsisr_core.errors import HsisrError
from hsisr_core.models import MOST, SuperResolver, build_model, check_source, find_network

FOLDER = Path(__file__).resolve().parents[1] / "pretrained"
KEY = "hsisr"  # of the description in the metadata of a packed file
_LARGEST = 1e6  # of a weight; a trained one is about 1


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
        description = (file.metadata() or {}).get(KEY)
    if description is None:
        raise HsisrError(
            "it does not say of which network: name its run folder, or what `hsisr pack` makes of that."
        )
    return description, tensors


def build_packed(tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> SuperResolver:
    """The network that `info` describes, with these weights of any precision, ready for inference.

    HsisrError unless they fit its options, and are finite and in range.
    """
    name, scale, mirror, bands = info["method"], info["scale"], info["mirror"], len(tensors["mean"])
    check_source(name, info.get("source"))
    if type(mirror) is not int or not 0 <= mirror <= MOST:
        raise HsisrError(f"mirror={mirror!r:.40}: expected 0 to {MOST}.")
    # starting weights take time, and are replaced
    options = {**info["options"]} | ({"init": "pytorch"} if "init" in info["options"] else {})
    if find_network(name) is None:
        # damaged options may ask for more than there is time or memory for
        keys = {"modules", "units", "blocks"} & set(options)
        if math.prod(options[key] for key in keys if type(options[key]) is int) > len(tensors):
            raise HsisrError("its options ask for more layers than it has.")
        with torch.device("meta"):
            empty = build_model(name, scale, bands, **options)
        empty.set_mean(tensors["mean"])
        shapes = {key: value.shape for key, value in empty.state_dict().items()}
        if shapes != {key: value.shape for key, value in tensors.items()}:
            raise HsisrError("its weights are of other options than it says.")
    model = build_model(name, scale, bands, **options)
    for key, value in tensors.items():
        if value.is_floating_point() and not (value.float().abs() <= _LARGEST).all():
            raise HsisrError(f"{key} is not finite, or above {_LARGEST:g}.")
    model.set_mean(tensors["mean"])
    model.load_state_dict(dict(tensors))
    model.mirror = mirror
    return model.eval()
