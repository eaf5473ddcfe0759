"""Pack a finished run into one file of weights with its model card."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from hsisr_core.base import atomic_text, sha256_file, write_json
from hsisr_core.data import DATASETS, dataset_source
from hsisr_core.paper import DATA_NAMES
from hsisr_core.runs import FOLDER, KEY, Run, RunConfig, build_packed, shipped
from hsisr_core.training import reduced_pairs, super_resolve_clipped, write_tensors
from hsisr_core.upscale.export import fold
from hsisr_core.upscale.weights import describe, load_data, measure_data

_TOLERANCE = 1e-4  # of full scale: half precision is kept where SR changes by no more
_CROP = 64  # LR pixels a side on which that is tried
NOT_FOR = (
    "measurement or radiometry (the detail in SR is estimated, not observed); decisions in medicine, law or safety; "
    "a cube of another sensor, other bands or other materials, unless it passes the self-test "
    "(`hsisr upscale CUBE --check`)."
)
"""What no weights are for, as their cards say."""


def pack(run: Run, name: str, folder: Path = FOLDER) -> Path:
    """Write `name`.safetensors, its card `name`.md and, if `folder` has an index.json, the entry; return the first.

    The weights are stored without weight normalisation, in half precision where the SR of the test images
    stays the same to 1e-4 of full scale. An entry of the same name is replaced.
    """
    metrics, model = run.metrics, run.model()
    dataset = load_data(run)
    options = run.config.model_options()
    if not run.config.source:
        model = fold(model)
        options |= {"weight_norm": False, "init": "pytorch"} if options.get("weight_norm") else {}
    tensors = dict(model.state_dict())
    halved = {key: value.half() for key, value in tensors.items()}
    info: dict[str, Any] = {"name": name, "options": options}
    info |= {key: getattr(run.config, key) for key in ("method", "scale", "blur", "source", "mirror")}
    networks = [build_packed(weights, info) for weights in (tensors, halved)]
    change = 0.0
    for lr, _ in reduced_pairs(dataset, run.config.scale, run.config.blur).values():
        full, half = (super_resolve_clipped(network, lr[:, :_CROP, :_CROP]) for network in networks)
        change = max(change, float(np.abs(full - half).max()))
    stored, kind = (halved, "float16") if change <= _TOLERANCE else (tensors, "float32")
    # the data by their name, not by their folder on this machine
    config = metrics["config"] | {"data": Path(run.config.data).name}
    info |= {
        "stored": kind,
        "change_by_float16": change,
        "trained_on": describe(metrics),
        "run": run.folder.name,
        "statistics": asdict(measure_data(dataset)),
        "metrics": {key: value for key, value in metrics.items() if key != "versions"} | {"config": config},
        "versions": metrics["versions"],
    }
    path, index = folder / f"{name}.safetensors", folder / "index.json"
    write_tensors(path, stored, {KEY: json.dumps(info)})
    digest = sha256_file(path)
    atomic_text(path.with_suffix(".md"), model_card(info, digest, path.stat().st_size, index.exists()))
    if index.exists():
        entries = {entry["name"]: entry for entry in shipped(folder)}
        entry = {key: info[key] for key in ("name", "scale", "run", "trained_on")}
        entries[name] = entry | {"file": path.name, "sha256": digest}
        write_json(index, {"weights": list(entries.values())})
    return path


def model_card(info: dict[str, Any], sha256: str, size: int, ours: bool = True) -> str:
    """The card, in Markdown, of the weights that `info` describes; `ours` are known by their name alone."""
    consent = f"--network PATH/{info['method']} " * bool(info["source"])
    metrics, split, statistics = info["metrics"], info["metrics"]["split"], info["statistics"]
    again = f"; those in the file: `hsisr evaluate {info['name']} --data {metrics['dataset']}`" * ours
    sensor, centres = f"{len(statistics['mean'])} bands", statistics["wavelengths"]
    if centres:
        sensor += f", {centres[0]:g} to {centres[-1]:g} nm"
    scores = "\n".join(
        f"| {method} | {means['psnr']:.3f} | {means['mpsnr']:.3f} | {means['ssim']:.4f} | {means['sam']:.3f} |"
        for method, means in metrics["mean"].items()
    )
    return f"""\
# {info["name"]}

{info["method"]} for factor {info["scale"]}, {metrics["parameters"]:,} parameters while training.

**Terms.** {_terms(metrics["dataset"])}

**Not for** {NOT_FOR}

| | |
|---|---|
| trained on | {info["trained_on"]}; {sensor} |
| training images | {", ".join(split["train"])} |
| test images | {", ".join(split["test"])} |
| commit | `{metrics["git_commit"]}`, run `{info["run"]}` |
| file | {size:,} bytes, {info["stored"]}; half precision changes SR by at most {info["change_by_float16"]:.1e} |
| SHA-256 | `{sha256}` |

| mean over the test images | PSNR (dB) | mPSNR (dB) | SSIM | SAM (degrees) |
|---|---|---|---|---|
{scores}

Protocol: {metrics["protocol"]}. Measured with the float32 weights{again}.

Trained by `{RunConfig.from_mapping(metrics["config"]).command()}` on {metrics["device"]}.

Use: `hsisr {consent}upscale CUBE --scale {info["scale"]} --model {info["name"]}{"" if ours else ".safetensors"}`.
"""


def _terms(dataset: str) -> str:
    """On which terms weights that were trained on `dataset` can be used, as far as the data decide it."""
    origin = next((name for name in DATASETS if dataset == name or dataset.startswith(f"{name}-")), None)
    if origin is not None:
        return f"Trained on scenes of {DATA_NAMES[origin]}: research use. {dataset_source(origin).terms}"
    if dataset == "indian-pines":
        return "Trained on Indian Pines (doi:10.4231/R7RX991C), which is CC BY 3.0: name its authors."
    return f"Trained on {dataset}: its own terms hold."
