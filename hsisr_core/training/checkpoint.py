"""What a training leaves on the way: checkpoints (safetensors with a checksum, the last two kept) and its curve."""

import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from hsisr_core.base import atomic_path, atomic_text
from hsisr_core.runs import HISTORY


def save_checkpoint(folder: Path, model: nn.Module, optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Write ``step-<n>.safetensors``: weights, Adam's moments and the JSON-able `state` (with its ``step``)."""
    tensors = {f"model.{name}": _plain(value) for name, value in model.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{name}": _plain(value) for name, value in moments.items()}
    text = json.dumps(state)
    path = folder / f"step-{state['step']:08d}.safetensors"
    write_tensors(path, tensors, {"state": text, "sha256_of_all": _checksum(tensors, text)})
    for old in sorted(folder.glob("step-*.safetensors"))[:-2]:
        old.unlink(missing_ok=True)


def load_latest(folder: Path, model: nn.Module, optimizer: Optimizer, steps: int) -> dict[str, Any] | None:
    """Load the newest checkpoint that is whole, of a training of `steps`; returns its `state`, None without one."""
    for path in sorted(folder.glob("step-*.safetensors"), reverse=True):
        try:
            state, weights, moments = _read_checkpoint(path)
            if not 0 < state["step"] < steps or path.stem != f"step-{state['step']:08d}":
                raise ValueError("its step is not that of its name, or beyond the training")
            shapes = {name: value.shape for name, value in model.state_dict().items()}
            if {name: value.shape for name, value in weights.items()} != shapes:
                raise ValueError("it is of another network")
            optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})
            model.load_state_dict(weights)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            warnings.warn(f"Checkpoint {path} is damaged ({error}); the one before it is used.", stacklevel=2)
        else:
            return state
    return None


def _read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor], dict[int, dict[str, Tensor]]]:
    """State, weights and moments in a file whose checksum fits."""
    if not path.is_file():
        raise ValueError("it is not a regular file")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    # that of version 0.1.0 covers the tensors only
    kind, text = ("sha256", None) if "sha256" in metadata else ("sha256_of_all", metadata["state"])
    if metadata[kind] != _checksum(tensors, text):
        raise ValueError("its checksum does not fit its content")
    weights = {name[6:]: value for name, value in tensors.items() if name.startswith("model.")}
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if not name.startswith("model."):
            _, index, key = name.split(".")
            moments.setdefault(int(index), {})[key] = value
    return dict(json.loads(metadata["state"])), weights, moments


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file, whole or not at all."""
    with atomic_path(path) as temporary:
        # not `save_file`, which reports a full disk as an error of its own
        temporary.write_bytes(save({name: _plain(value) for name, value in tensors.items()}, metadata))


def _plain(value: Any) -> Tensor:
    """A tensor as safetensors writes it: on the CPU and contiguous."""
    return torch.as_tensor(value).detach().cpu().contiguous()


def _checksum(tensors: dict[str, Tensor], state: str | None) -> str:
    """SHA-256 of names and bytes of the tensors and, with a `state`, of their types and shapes and of it."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        digest.update((name if state is None else f"{name} {value.dtype} {[*value.shape]} ").encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    digest.update((state or "").encode())
    return digest.hexdigest()


class History:
    """The training curve: a CSV file that grows a line at a time. Rows after `last_step`, the checkpoint, go."""

    def __init__(self, path: Path, last_step: int) -> None:
        self.path = path
        there = path.is_file() and last_step > 0
        text = path.read_text(encoding="utf-8", errors="replace") if there else ""
        rows = [line.split(",") for line in text.splitlines()]
        # a line that was being written is incomplete
        whole = [row for row in rows if len(row) == len(HISTORY) and re.fullmatch("[0-9]{1,15}", row[0])]
        kept = [row for row in whole if int(row[0]) <= last_step]
        atomic_text(path, "".join(f"{','.join(row)}\n" for row in (HISTORY, *kept)))

    def add(self, row: dict[str, float]) -> None:
        """Append one row; a missing column stays empty (NaN when read)."""
        cells = [format(row[name], ".8g") if name in row else "" for name in HISTORY]
        with self.path.open("a", encoding="utf-8") as file:
            file.write(",".join(cells) + "\n")
