"""Pack a finished run into one file of weights with its model card, for `hsisr_core/pretrained/`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from hsisr_core.base.files import atomic_text, sha256_file, write_json
from hsisr_core.data import Dataset, load_dataset
from hsisr_core.errors import HsisrError
from hsisr_core.models import SuperResolver
from hsisr_core.runs.folder import Run
from hsisr_core.training.checkpoint import write_tensors
from hsisr_core.training.evaluate import reduced_pairs, restore
from hsisr_core.upscale.card import model_card
from hsisr_core.upscale.statistics import Statistics
from hsisr_core.upscale.weights import FOLDER, KEY, describe, network_of, shipped

__all__ = ["pack", "training_statistics"]

TOLERANCE = 1e-4  # of full scale: half precision is kept where SR changes by no more
_CROP = 64  # LR pixels a side on which that is tried


def pack(run: Run, name: str, folder: Path = FOLDER) -> Path:
    """Write `name`.safetensors, its card `name`.md and the entry in index.json; return the first.

    The weights are stored without weight normalisation, in half precision where the SR of the test images
    stays the same to 1e-4 of full scale. An entry of the same name is replaced; the first entry of a scale is
    its default.

    Raises
    ------
    HsisrError
        The run is not finished or has nothing to train, its data are not at hand, or the name is not usable.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name):
        raise HsisrError(f"{name!r} is no name for weights: use small letters, digits, '-' and '.'.")
    metrics, model = run.metrics, run.model()
    if not any(True for _ in model.parameters()):
        raise HsisrError(f"{run.folder}: {run.config.method} has no weights to pack.")
    dataset = _dataset(run)
    tensors, options = plain_weights(run, model)
    halved = {key: value.half() for key, value in tensors.items()}
    pairs = reduced_pairs(dataset, run.config.scale)
    networks = [
        network_of(weights, run.config.method, run.config.scale, options, run.config.mirror)
        for weights in (tensors, halved)
    ]
    change = max(
        float(np.abs(np.subtract(*(restore(network, lr[:, :_CROP, :_CROP]) for network in networks))).max())
        for lr, _ in pairs.values()
    )
    half = change <= TOLERANCE
    info: dict[str, Any] = {
        "name": name,
        "method": run.config.method,
        "scale": run.config.scale,
        "options": options,
        "mirror": run.config.mirror,
        "stored": "float16" if half else "float32",
        "change_by_float16": change,
        "trained_on": describe(metrics),
        "run": run.folder.name,
        "statistics": training_statistics(run, dataset).to_dict(),
        "metrics": {
            **{key: value for key, value in metrics.items() if key != "versions"},
            "config": metrics["config"]
            | {"data": Path(run.config.data).name},  # not its folder on the machine
        },
        "versions": metrics["versions"],
    }
    path = folder / f"{name}.safetensors"
    stored = halved if half else tensors
    write_tensors(path, {key: value.contiguous() for key, value in stored.items()}, {KEY: json.dumps(info)})
    digest = sha256_file(path)
    atomic_text(path.with_suffix(".md"), model_card(info, digest, path.stat().st_size))
    entry = {
        "name": name,
        "scale": info["scale"],
        "file": path.name,
        "sha256": digest,
        "trained_on": info["trained_on"],
    }
    entries = shipped(folder)
    names = [item["name"] for item in entries]
    if name in names:
        entries[names.index(name)] = entry
    else:
        entries.append(entry)
    write_json(folder / "index.json", {"weights": entries})
    return path


def training_statistics(run: Run, dataset: Dataset | None = None) -> Statistics:
    """Measure the training images of `run`; HsisrError if its data are not at hand."""
    dataset = dataset or _dataset(run)
    return Statistics.of([dataset.scene(name).cube for name in dataset.train], dataset.wavelengths)


def plain_weights(run: Run, model: SuperResolver) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of `model` without weight normalisation, and the options of `build_model` that take them."""
    options = run.config.model_options()
    if not options.get("weight_norm"):
        return dict(model.state_dict()), options
    tensors = {"mean": model.mean}
    for place, module in model.named_modules():
        for key in ("weight", "bias"):
            value = getattr(module, key, None)
            if isinstance(value, Tensor):
                tensors[f"{place}.{key}"] = value.detach().clone()
    return tensors, options | {"weight_norm": False, "init": "pytorch"}


def _dataset(run: Run) -> Dataset:
    dataset = load_dataset(run.config.data, run.config.split)
    if dataset.fingerprint != run.fingerprint:
        raise HsisrError(f"{run.config.data} is not what {run.folder} was trained on: it has changed since.")
    return dataset
