"""What a training leaves on the way: checkpoints (safetensors with a checksum, the last two kept) and its curve."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from hsisr_core.base import atomic_path, atomic_text

_KEPT = 2
_COLUMNS = ("step", "loss", "learning_rate", "seconds", "psnr", "ssim", "sam")


def save_weights(path: Path, model: nn.Module, metadata: dict[str, str] | None = None) -> None:
    """Write all tensors of `model` to a safetensors file, whole or not at all."""
    write_tensors(path, {name: _plain(value) for name, value in model.state_dict().items()}, metadata)


def save_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]
) -> None:
    """Write ``step-<n>.safetensors``: weights, Adam's moments and the JSON-able `state` (with its ``step``)."""
    tensors = {f"model.{name}": _plain(value) for name, value in model.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{name}": _plain(value) for name, value in moments.items()}
    path = folder / f"step-{state['step']:08d}.safetensors"
    write_tensors(path, tensors, {"state": json.dumps(state), "sha256": _checksum(tensors)})
    for old in sorted(folder.glob("step-*.safetensors"))[:-_KEPT]:
        old.unlink(missing_ok=True)


def load_latest(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any] | None:
    """Load the newest checkpoint that is whole, and return its `state`; None when there is none."""
    for path in sorted(folder.glob("step-*.safetensors"), reverse=True):
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            if _checksum(tensors) != metadata.get("sha256"):
                raise ValueError("its checksum does not fit its content")
            weights: dict[str, Tensor] = {}
            moments: dict[int, dict[str, Tensor]] = {}
            for name, value in tensors.items():
                kind, _, rest = name.partition(".")
                if kind == "model":
                    weights[rest] = value
                else:
                    index, key = rest.split(".")
                    moments.setdefault(int(index), {})[key] = value
            state = json.loads(metadata["state"])
            model.load_state_dict(weights)
            optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})
        except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
            warnings.warn(f"Checkpoint {path} is damaged ({error}); the one before it is used.", stacklevel=2)
            continue
        return dict(state)
    return None


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file, whole or not at all."""
    with atomic_path(path) as temporary:
        # not `save_file`, which reports a full disk as an error of its own
        temporary.write_bytes(save(tensors, metadata))


def _plain(value: Any) -> Tensor:
    """A tensor as safetensors writes it: on the CPU and contiguous."""
    return torch.as_tensor(value).detach().cpu().contiguous()


def _checksum(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


class History:
    """The training curve: a CSV file that grows a line at a time. Rows after `last_step`, the checkpoint, go."""

    def __init__(self, path: Path, last_step: int) -> None:
        self.path = path
        rows: list[list[str]] = []
        if path.is_file() and last_step > 0:
            rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
        # a line that was being written is incomplete
        whole = [row for row in rows if len(row) == len(_COLUMNS) and row[0].isdigit()]
        kept = [row for row in whole if int(row[0]) <= last_step]
        atomic_text(path, "".join(f"{','.join(row)}\n" for row in (_COLUMNS, *kept)))

    def add(self, row: dict[str, float]) -> None:
        """Append one row; a missing column stays empty (NaN when read)."""
        cells = [format(row[name], ".8g") if name in row else "" for name in _COLUMNS]
        with self.path.open("a", encoding="utf-8") as file:
            file.write(",".join(cells) + "\n")
