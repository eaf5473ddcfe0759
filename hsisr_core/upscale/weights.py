"""Open trained weights: shipped ones by name, a packed file or a run folder by its path. Nothing is unpickled."""

from __future__ import annotations

import copy
import inspect
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hsisr_core.base import sha256_file
from hsisr_core.data import Dataset, load_dataset
from hsisr_core.errors import HsisrError
from hsisr_core.models import Bicubic, SuperResolver, build_model
from hsisr_core.runs import Run, read_run
from hsisr_core.upscale.selftest import Statistics, compare_statistics

__all__ = [
    "FOLDER",
    "KEY",
    "Pretrained",
    "adapt_network",
    "build_packed",
    "describe",
    "find_differences",
    "load_pretrained",
    "load_training_data",
    "measure_training",
    "shipped",
]

FOLDER = Path(__file__).resolve().parents[1] / "pretrained"
KEY = "hsisr"  # of the description in the metadata of a packed file


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A trained network and what is known of it."""

    name: str
    model: SuperResolver
    # of the file of weights; empty for bicubic interpolation
    sha256: str
    # a sentence: data, split, steps, gain over bicubic
    trained_on: str
    # of the training data; None if unknown
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
    """The entries of `index.json`: name, scale, file, sha256, trained_on; the first of a scale is its default."""
    path = folder / "index.json"
    entries: list[dict[str, Any]] = []
    if path.is_file():
        entries = json.loads(path.read_text(encoding="utf-8"))["weights"]
    return entries


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
    if given == "bicubic":
        if scale is None:
            raise HsisrError("model 'bicubic' needs a scale: give scale=2, 3 or 4.")
        return Pretrained(given, Bicubic(scale), "", "nothing: it is interpolation", None)
    entries = shipped(folder)
    wanted = ("scale", scale) if given is None else ("name", given)
    chosen = [entry for entry in entries if entry[wanted[0]] == wanted[1]]
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


def _none_such(given: str | None, scale: int | None, entries: list[dict[str, Any]]) -> str:
    named = f"weights named {given!r}, and no file or folder there"
    what = f"shipped weights for x{scale}" if given is None else named
    names = ", ".join(f"{entry['name']} (x{entry['scale']})" for entry in entries) or "none"
    return (
        f"There are no {what}. Shipped: {names}. Train a network (hsisr train --preset demo -p scale={scale or 2}) and "
        "give its run folder as --model, or use --model bicubic."
    )


def _open_run(folder: Path) -> Pretrained:
    run = read_run(folder)
    try:
        statistics = measure_training(load_training_data(run))
    except HsisrError:  # the data are not here, or others now
        statistics = None
    digest = sha256_file(folder / "weights.safetensors")
    return Pretrained(folder.name, run.model(), digest, describe(run.metrics), statistics)


def _open_packed(path: Path) -> Pretrained:
    try:
        with safe_open(path, framework="pt") as file:
            info = json.loads((file.metadata() or {})[KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        model, statistics = build_packed(tensors, info), Statistics(**info["statistics"])
        return Pretrained(str(info["name"]), model, sha256_file(path), str(info["trained_on"]), statistics)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise HsisrError(
            f"{path} is not a packed file of weights, or damaged ({type(error).__name__}). Give a name, a run folder "
            "or a file that `python -m hsisr_core.pretrained` wrote."
        ) from error


def build_packed(tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> SuperResolver:
    """The network that `info` describes, with these weights of any precision, ready for inference."""
    model = build_model(info["method"], info["scale"], len(tensors["mean"]), **info["options"])
    model.set_mean(tensors["mean"])
    model.load_state_dict({name: value.to(torch.float32) for name, value in tensors.items()})
    model.mirror = info["mirror"]
    return model.eval()


def describe(metrics: dict[str, Any]) -> str:
    """A sentence on what a run was trained on and what it reached, from its metrics.json."""
    split, method = metrics["split"], metrics["config"]["method"]
    gain = metrics["mean"][method]["psnr"] - metrics["mean"]["bicubic"]["psnr"]
    return (
        f"{metrics['dataset']} (split {split['name']}, {len(split['train'])} training images), {metrics['steps']:,} "
        f"steps in {metrics['seconds'] / 60:.0f} minutes; {gain:+.2f} dB over bicubic on {', '.join(split['test'])}"
    )


def load_training_data(run: Run) -> Dataset:
    """The data of `run`; HsisrError if they are not at hand or have changed since."""
    dataset = load_dataset(run.config.data, run.config.split)
    if dataset.fingerprint != run.fingerprint:
        raise HsisrError(f"{run.config.data} is not what {run.folder} was trained on: it has changed since.")
    return dataset


def measure_training(dataset: Dataset) -> Statistics:
    """Statistics of the training images of `dataset`."""
    return Statistics.of([dataset.scene(name).cube for name in dataset.train], dataset.wavelengths)


def find_differences(
    weights: Pretrained, cube: NDArray[np.float32], wavelengths: NDArray[np.float64]
) -> list[str]:
    """Say in which ways a cube differs from what the weights were trained on; empty: in none."""
    if weights.statistics is None:
        return ["what they were trained on is not known here"] if weights.sha256 else []
    return compare_statistics(weights.statistics, Statistics.of([cube], wavelengths))


def adapt_network(
    weights: Pretrained, mean: NDArray[np.float32], wavelengths: NDArray[np.float64]
) -> tuple[SuperResolver, str]:
    """The network for a cube with these bands, and which mean it subtracts: "training", "cube" or "none".

    The mean of the training images is kept with the weights, one value a band. A cube of other bands (another
    number, or another first or last wavelength) has its own `mean` subtracted instead; interpolation subtracts none.
    HsisrError if the network takes another number of bands.
    """
    if weights.bands not in (None, len(mean)):
        raise HsisrError(
            f"{weights.name} takes {weights.bands} bands and the cube has {len(mean)}. Choose {weights.bands} of "
            "them (--bands), or other weights."
        )
    model = copy.deepcopy(weights.model)
    if len(model.mean) == 1 and not model.mean.any():
        return model, "none"
    trained = np.asarray(weights.statistics.wavelengths if weights.statistics else [])
    same = len(model.mean) == len(mean)
    if same and len(trained) == len(mean) and np.isfinite(wavelengths).all():
        reach = float(np.median(np.diff(trained))) / 2 if len(trained) > 1 else 1.0
        same = bool(np.abs(trained - wavelengths).max() <= reach)
    if not same:
        model.set_mean(torch.from_numpy(np.asarray(mean)))
    return model, "training" if same else "cube"
