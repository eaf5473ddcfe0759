"""Small plain-text tables for the terminal. Every one says which data, split and preset it belongs to."""

from __future__ import annotations

from typing import Any

import numpy as np

from hsisr_core.config import RunConfig
from hsisr_core.data import Dataset, Scene, Store
from hsisr_core.evaluate import mean_scores
from hsisr_core.runs import Run

__all__ = ["results_table", "scene_table", "score_table", "store_table"]

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
    if scene.mask is not None:
        rows["masked"] = f"{int((~scene.mask).sum())} of {scene.height * scene.width} pixels"
    if scene.georeference is not None:
        x, dx, _, y, _, dy = scene.georeference.transform
        rows["place"] = (
            f"corner at x {x:.9g}, y {y:.9g}, pixel {dx:.6g} by {dy:.6g}; {scene.georeference.crs[:80]}"
        )
    return "\n".join(f"{name:<13}{value}" for name, value in rows.items())


def store_table(store: Store) -> str:
    """What a store of prepared scenes holds, without reading their values."""
    lines = [
        f"{'store':<13}{store.path}, dataset {store.dataset}, {len(store.names)} scenes",
        f"{'fingerprint':<13}{store.fingerprint}",
    ]
    for name in store.names:
        bands, height, width = store.shape(name)
        centres = store.wavelengths(name)
        known = np.isfinite(centres).all()
        nm = f"{centres[0]:g} to {centres[-1]:g} nm" if known else "wavelengths unknown"
        lines.append(f"{'':<13}{name}: {height} x {width} pixels, {bands} bands, {nm}")
    return "\n".join(lines)
