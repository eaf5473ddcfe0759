"""The model card of packed weights."""

from __future__ import annotations

import json
from typing import Any

from hsisr_core.data import DATASETS, dataset_source
from hsisr_core.errors import HsisrError
from hsisr_core.runs.config import EXECUTION_FIELDS, RunConfig

__all__ = ["model_card", "terms_of"]


def terms_of(dataset: str) -> str:
    """On which terms weights that were trained on `dataset` can be used, as far as the data decide it."""
    origin = next((name for name in DATASETS if dataset == name or dataset.startswith(f"{name}-")), None)
    if origin is not None:
        title = origin.upper() if origin == "cave" else origin.title()
        return f"Trained on {title}: research use. {dataset_source(origin).terms}"
    if dataset == "indian-pines":
        return "Trained on Indian Pines (doi:10.4231/R7RX991C), which is CC BY 3.0: name its authors."
    return f"Trained on {dataset}: its own terms hold."


def command(config: dict[str, Any]) -> str:
    """The command that trains with these settings: the preset, and what differs from it."""
    try:
        preset = RunConfig.from_preset(config["preset"]).to_dict()
    except HsisrError:  # a preset of its maker's own
        preset = {}
    kept = {name: value for name, value in preset.items() if name not in ("data", "split", *EXECUTION_FIELDS)}
    changed = [f" -p {name}={json.dumps(config[name])}" for name in kept if config[name] != kept[name]]
    return f"hsisr train --preset {config['preset']} --data {config['data']}{''.join(changed)}"


def model_card(info: dict[str, Any], sha256: str, size: int) -> str:
    """Return the card, in Markdown, of the weights that `info` describes."""
    metrics, statistics = info["metrics"], info["statistics"]
    config, split, centres = metrics["config"], metrics["split"], statistics["wavelengths"]
    scores = [
        f"| {method} | {means['psnr']:.3f} | {means['mpsnr']:.3f} | {means['ssim']:.4f} | {means['sam']:.3f} |"
        for method, means in metrics["mean"].items()
    ]
    sensor = (
        f"{centres[0]:g} to {centres[-1]:g} nm, {len(centres)} bands"
        if centres
        else f"{len(statistics['mean'])} bands, wavelengths unknown"
    )
    average = {name: sum(statistics[name]) / len(statistics[name]) for name in ("mean", "std", "noise")}
    return "\n".join(
        [
            f"# {info['name']}",
            "",
            f"{info['method']} for factor {info['scale']}, {metrics['parameters']:,} parameters while training.",
            "",
            f"**Terms.** {terms_of(metrics['dataset'])}",
            "",
            "| | |",
            "|---|---|",
            f"| data | {metrics['dataset']}, split `{split['name']}` |",
            f"| training images | {', '.join(split['train'])} |",
            f"| test images | {', '.join(split['test'])} |",
            f"| sensor | {sensor} |",
            f"| values (full scale = 1) | mean {average['mean']:.4f}, standard deviation {average['std']:.4f}, "
            f"noise {average['noise']:.5f} |",
            f"| training | preset `{config['preset']}`, {config['features']} filters, seed {config['seed']}, "
            f"{metrics['steps']:,} steps, {metrics['seconds'] / 60:.1f} minutes on {metrics['device']}, "
            f"{metrics['threads']} threads |",
            f"| commit | `{metrics['git_commit']}`, run `{info['run']}` |",
            f"| file | {size:,} bytes, {info['stored']}; half precision changes SR by at most "
            f"{info['change_by_float16']:.1e} |",
            f"| SHA-256 | `{sha256}` |",
            "",
            "| mean over the test images | PSNR (dB) | mPSNR (dB) | SSIM | SAM (degrees) |",
            "|---|---|---|---|---|",
            *scores,
            "",
            f"Protocol: {metrics['protocol']}. Measured with the float32 weights.",
            "",
            f"Trained by `{command(config)}`.",
            "",
            f"Use: `hsisr upscale CUBE --scale {info['scale']} --model {info['name']}`. "
            "Packed by `python -m hsisr_core.pretrained`.",
            "",
        ]
    )
