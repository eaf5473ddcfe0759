"""Small plain-text tables for the terminal. Every one says which data, split and preset it belongs to."""

from __future__ import annotations

from typing import Any

import numpy as np

from hsisr_core.config import RunConfig
from hsisr_core.data import Dataset, Scene
from hsisr_core.evaluate import mean_scores
from hsisr_core.runs import Run

__all__ = ["results_table", "scene_table", "score_table"]

HEADER = f"{'':<12}{'PSNR (dB)':>11}{'SSIM':>9}{'SAM (deg)':>11}"


def score_lines(means: dict[str, dict[str, float]]) -> list[str]:
    """One line a method, under `HEADER`."""
    return [HEADER] + [
        f"{name:<12}{mean['psnr']:>11.3f}{mean['ssim']:>9.4f}{mean['sam']:>11.3f}"
        for name, mean in means.items()
    ]


def results_table(run: Run) -> str:
    """Bicubic against the run's network, mean over the test images."""
    metrics = run.metrics
    config, split = run.config, metrics["split"]
    title = (
        f"x{config.scale}, preset {config.preset}, {metrics['dataset']} (split {split['name']}, "
        f"test: {', '.join(split['test'])}), seed {config.seed}, {metrics['steps']} steps, {metrics['seconds']:.0f} s"
    )
    return "\n".join([title, *score_lines(metrics["mean"])])


def score_table(rows: list[dict[str, Any]], config: RunConfig, dataset: Dataset) -> str:
    """Scores of a network on a dataset, image by image and in the mean."""
    lines = [
        f"x{config.scale}, {config.method} of preset {config.preset}, {dataset.name} (split {dataset.split.name})"
    ]
    for image in dict.fromkeys(row["image"] for row in rows):
        lines += ["", image, *score_lines({row["result"]: row for row in rows if row["image"] == image})]
    lines += [
        "",
        "mean",
        *score_lines({name: mean_scores(rows, name) for name in ("bicubic", config.method)}),
    ]
    return "\n".join(lines)


def scene_table(scene: Scene) -> str:
    """What a scene is: size, range, wavelengths, and how it was read."""
    cube = scene.cube
    dark = int((~cube.any(axis=0)).sum())
    known = np.isfinite(scene.wavelengths).all()
    nm = f"{scene.wavelengths[0]:g} to {scene.wavelengths[-1]:g} nm" if known else "unknown"
    rows = {
        "scene": scene.name,
        "size": f"{scene.height} x {scene.width} pixels, {scene.bands} bands",
        "wavelengths": nm,
        "values": f"{cube.min():.4f} to {cube.max():.4f}, mean {cube.mean():.4f}",
        "zero pixels": f"{dark} of {scene.height * scene.width}",
        "read as": scene.source,
    }
    return "\n".join(f"{name:<13}{value}" for name, value in rows.items())
