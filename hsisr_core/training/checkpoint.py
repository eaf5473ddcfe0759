"""Checkpoints of a training: safetensors only, checked by a checksum, the last two kept."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from hsisr_core.base.files import atomic_path

__all__ = ["load_latest", "save_checkpoint", "save_weights"]

KEPT = 2


def save_weights(path: Path, model: nn.Module, metadata: dict[str, str] | None = None) -> None:
    """Write all tensors of `model` to a safetensors file, whole or not at all."""
    write_tensors(
        path, {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}, metadata
    )


def save_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]
) -> None:
    """Write ``step-<n>.safetensors``: weights, Adam's moments and the JSON-able `state` (with its ``step``)."""
    tensors = {f"model.{key}": value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        for key, value in moments.items():
            tensors[f"adam.{index}.{key}"] = torch.as_tensor(value).detach().cpu().contiguous()
    write_tensors(
        folder / f"step-{state['step']:08d}.safetensors",
        tensors,
        {"state": json.dumps(state), "sha256": checksum(tensors)},
    )
    for old in sorted(folder.glob("step-*.safetensors"))[:-KEPT]:
        old.unlink(missing_ok=True)


def load_latest(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any] | None:
    """Load the newest checkpoint that is whole, and return its `state`; None when there is none.

    A damaged file is left out with a warning that names it, and the one before it is taken.
    """
    for path in sorted(folder.glob("step-*.safetensors"), reverse=True):
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
            if checksum(tensors) != metadata.get("sha256"):
                raise ValueError("its checksum does not fit its content")
            state = json.loads(metadata["state"])
            restore(tensors, model, optimizer)
        except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
            warnings.warn(f"Checkpoint {path} is damaged ({error}); the one before it is used.", stacklevel=2)
            continue
        return dict(state)
    return None


def restore(tensors: dict[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put a checkpoint's tensors back into `model` and `optimizer`."""
    weights = {
        key.removeprefix("model."): value for key, value in tensors.items() if key.startswith("model.")
    }
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("adam."):
            _, index, key = name.split(".")
            moments.setdefault(int(index), {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    model.load_state_dict(weights)
    optimizer.load_state_dict({"state": moments, "param_groups": groups})


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None) -> None:
    with atomic_path(path) as temporary:
        try:
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:
            # safetensors reports a full disk as its own error: hand atomic_path the system's
            raise os_error(error) from error


def os_error(error: SafetensorError) -> OSError:
    """The operating system's error inside a SafetensorError ("... (os error 28)")."""
    text = str(error)
    digits = text.rpartition("os error ")[2].rstrip(') }"')
    number = int(digits) if digits.isdigit() else 5  # EIO when the number is not told
    return OSError(number, text)


def checksum(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
