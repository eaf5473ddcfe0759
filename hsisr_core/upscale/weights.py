"""Open trained weights: shipped ones by name, a packed file or a run folder by its path. Nothing is unpickled."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hsisr_core.base.files import sha256_file
from hsisr_core.errors import HsisrError
from hsisr_core.models import Bicubic, SuperResolver, build_model
from hsisr_core.runs.folder import read_run
from hsisr_core.upscale.statistics import Statistics

__all__ = ["FOLDER", "KEY", "Pretrained", "describe", "load_pretrained", "shipped"]

FOLDER = Path(__file__).resolve().parents[1] / "pretrained"
KEY = "hsisr"  # of the description in the metadata of a packed file
BICUBIC = "bicubic"


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A trained network and what is known of it.

    Attributes
    ----------
    name
        Of the shipped weights, the file or the run folder.
    model
        Ready for inference, on the CPU.
    sha256
        Of the file of weights; empty for bicubic interpolation.
    trained_on
        A sentence: data, split, steps, gain over bicubic.
    statistics
        Of the training data; None if unknown.
    """

    name: str
    model: SuperResolver
    sha256: str
    trained_on: str
    statistics: Statistics | None

    @property
    def scale(self) -> int:
        """Factor r."""
        return self.model.scale

    @property
    def bands(self) -> int | None:
        """The number of bands a cube must have; None: any."""
        return len(self.model.mean) if "bands" in inspect.signature(type(self.model)).parameters else None


def shipped(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """Return the entries of `index.json`: name, scale, file, sha256, trained_on; the first of a scale is its default.

    Raises
    ------
    HsisrError
        The index is damaged.
    """
    path = folder / "index.json"
    if not path.is_file():
        return []
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["weights"]
        return [
            {name: entry[name] for name in ("name", "scale", "file", "sha256", "trained_on")}
            for entry in entries
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise HsisrError(f"{path} is damaged. Install hsisr again.") from error


def load_pretrained(
    name_or_path: str | os.PathLike[str] | None = None, scale: int | None = None, folder: Path = FOLDER
) -> Pretrained:
    """Open trained weights.

    Parameters
    ----------
    name_or_path
        A name in `shipped()`; the path of a packed file (.safetensors) or of a finished run folder; "bicubic",
        which needs no training. None: the shipped weights for `scale`.
    scale
        Factor r. None: that of the weights.
    folder
        Where the shipped weights are.

    Raises
    ------
    HsisrError
        There are no such weights, they are for another scale, or damaged.
    """
    given = None if name_or_path is None else str(name_or_path)
    entries = shipped(folder)
    chosen = [
        entry for entry in entries if (entry["scale"] == scale if given is None else entry["name"] == given)
    ]
    if given == BICUBIC:
        if scale is None:
            raise HsisrError("model 'bicubic' needs a scale: give scale=2, 3 or 4.")
        return Pretrained(BICUBIC, Bicubic(scale), "", "nothing: it is interpolation", None)
    if chosen:
        path = folder / chosen[0]["file"]
        if not path.is_file() or sha256_file(path) != chosen[0]["sha256"]:
            raise HsisrError(
                f"{path} is missing or damaged: its SHA-256 is not that of the index. Install hsisr again."
            )
        weights = _open_packed(path)
    elif given is None or not Path(given).expanduser().exists():
        raise HsisrError(_none_such(given, scale, entries))
    else:
        place = Path(given).expanduser()
        if place.is_file() and (place.parent / "config.yaml").is_file():
            place = place.parent
        weights = _open_run(place) if place.is_dir() else _open_packed(place)
    if scale is not None and weights.scale != scale:
        raise HsisrError(
            f"{weights.name} enlarges by {weights.scale}, not {scale}. Give --scale {weights.scale}, or other weights."
        )
    return weights


def describe(metrics: dict[str, Any]) -> str:
    """A sentence on what a run was trained on and what it reached, from its metrics.json."""
    split, method = metrics["split"], metrics["config"]["method"]
    gain = metrics["mean"][method]["psnr"] - metrics["mean"]["bicubic"]["psnr"]
    return (
        f"{metrics['dataset']} (split {split['name']}, {len(split['train'])} training images), {metrics['steps']:,} "
        f"steps in {metrics['seconds'] / 60:.0f} minutes; {gain:+.2f} dB over bicubic on {', '.join(split['test'])}"
    )


def _none_such(given: str | None, scale: int | None, entries: list[dict[str, Any]]) -> str:
    what = (
        f"shipped weights for x{scale}"
        if given is None
        else f"weights named {given!r}, and no file or folder there"
    )
    names = ", ".join(f"{entry['name']} (x{entry['scale']})" for entry in entries) or "none"
    return (
        f"There are no {what}. Shipped: {names}. Train a network (hsisr train --preset demo -p scale={scale or 2}) and "
        "give its run folder as --model, or use --model bicubic."
    )


def _open_run(folder: Path) -> Pretrained:
    from hsisr_core.upscale.pack import training_statistics  # it imports this module

    run = read_run(folder)
    metrics, model = run.metrics, run.model()
    try:
        statistics = training_statistics(run)
    except HsisrError:  # the data are not here, or others now
        statistics = None
    digest = sha256_file(folder / "weights.safetensors")
    return Pretrained(folder.name, model, digest, describe(metrics), statistics)


def network_of(
    tensors: Mapping[str, Tensor], method: str, scale: int, options: Mapping[str, Any], mirror: int
) -> SuperResolver:
    """The network with these weights, kept in any precision, ready for inference."""
    model = build_model(method, scale, len(tensors["mean"]), **options)
    model.set_mean(tensors["mean"])
    model.load_state_dict({name: value.to(torch.float32) for name, value in tensors.items()})
    model.mirror = mirror
    return model.eval()


def _open_packed(path: Path) -> Pretrained:
    try:
        with safe_open(path, framework="pt") as file:
            info = json.loads((file.metadata() or {})[KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        model = network_of(tensors, info["method"], info["scale"], info["options"], info["mirror"])
        statistics = Statistics.from_dict(info["statistics"])
        return Pretrained(str(info["name"]), model, sha256_file(path), str(info["trained_on"]), statistics)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise HsisrError(
            f"{path} is no packed file of weights, or damaged ({type(error).__name__}). Give a name, a run folder or a "
            "file that `python -m hsisr_core.pretrained` wrote."
        ) from error
