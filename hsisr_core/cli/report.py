"""Small plain-text tables for the terminal. Every one says which data, split and preset it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from hsisr_core.data import Dataset, Scene, Store
from hsisr_core.runs.config import RunConfig
from hsisr_core.runs.folder import Run
from hsisr_core.runs.plan import PlannedRun
from hsisr_core.runs.status import STATES, RunState, time_left
from hsisr_core.training.estimate import GPUS, PEAK_SHARE, Estimate
from hsisr_core.training.evaluate import mean_scores

__all__ = [
    "duration",
    "estimate_table",
    "frame_table",
    "results_table",
    "scene_table",
    "score_table",
    "status_table",
    "store_table",
]

HEADER = f"{'':<12}{'PSNR (dB)':>11}{'SSIM':>9}{'SAM (deg)':>11}"


def score_lines(means: dict[str, dict[str, float]]) -> list[str]:
    """One line a method, under `HEADER`."""
    return [HEADER] + [
        f"{name:<12}{mean['psnr']:>11.3f}{mean['ssim']:>9.4f}{mean['sam']:>11.3f}"
        for name, mean in means.items()
    ]


def region_lines(rows: list[dict[str, Any]]) -> list[str]:
    """A line that says what was scored, where that is less than the whole of HR."""
    bands, border = (rows[0].get(name, 0) for name in ("scored_bands", "scored_border"))
    if not border:
        return []
    return [f"All of them on {bands} bands, without {border} pixels on each side: the network gives no more."]


def results_table(run: Run) -> str:
    """Bicubic against the run's network, mean over the test images."""
    metrics = run.metrics
    config, split = run.config, metrics["split"]
    title = (
        f"x{config.scale}, preset {config.preset}, {metrics['dataset']} (split {split['name']}, "
        f"test: {', '.join(split['test'])}), seed {config.seed}, {metrics['steps']} steps, {metrics['seconds']:.0f} s"
    )
    return "\n".join([title, *score_lines(metrics["mean"]), *region_lines(metrics["images"])])


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
        *score_lines(
            {name: mean_scores(rows, name) for name in dict.fromkeys(row["result"] for row in rows)}
        ),
        *region_lines(rows),
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


def status_table(runs: Sequence[PlannedRun], states: Sequence[RunState]) -> str:
    """How far each run of a plan is, a count of the states, and the time left."""
    width = max((len(run.label) for run in runs), default=0)
    lines = []
    for run, state in zip(runs, states, strict=True):
        line = f"{state.state:<11}{run.label:<{width}}  {f'{state.step:,}/{state.steps:,}':>15} steps"
        if state.seconds is not None:
            line += f"  {duration(state.seconds):>8}"
        if state.psnr is not None:
            line += f"  PSNR {state.psnr:.2f} dB"
        lines.append(line + (f"  {state.error}" if state.error else ""))
    counts = {name: sum(state.state == name for state in states) for name in STATES}
    lines += [
        "",
        f"{len(runs)} runs: " + ", ".join(f"{count} {name}" for name, count in counts.items() if count),
    ]
    if counts["done"] < len(runs):
        left = time_left(runs, states)
        at_work = max(1, counts["running"])
        lines[-1] += (
            "; time left: unknown until a run has been timed"
            if left is None
            else f"; about {duration(left / at_work)} left with {at_work} at a time"
        )
    return "\n".join(lines)


def estimate_table(runs: Sequence[PlannedRun], estimates: Sequence[Estimate], gpu: str | None) -> str:
    """The expected cost of each run of a plan, and of all; says which numbers are estimates, and of what."""
    width = max([len(run.label) for run in runs] + [len("total")])
    extra = f"{gpu:>14}" if gpu else ""
    lines = [
        f"{'':<{width}}{'parameters':>12}{'steps':>10}{'TFLOP':>12}{'memory':>10}{'time here':>11}{extra}  timed with"
    ]
    for run, item in zip(runs, estimates, strict=True):
        there = f"{duration(item.gpu_seconds):>14}" if item.gpu_seconds is not None else ""
        lines.append(
            f"{run.label:<{width}}{item.parameters:>12,}{run.steps:>10,}{item.flop / 1e12:>12,.3g}"
            f"{item.bytes / 1e6:>7,.0f} MB{duration(item.seconds):>11}{there}  {item.method}"
        )
    flop, seconds = sum(item.flop for item in estimates), sum(item.seconds for item in estimates)
    there = f"{duration(sum(item.gpu_seconds or 0 for item in estimates)):>14}" if gpu else ""
    lines.append(f"{'total':<{width}}{'':>22}{flop / 1e12:>12,.3g}{'':>10}{duration(seconds):>11}{there}")
    lines += [
        "",
        "Estimates: time and memory here from the steps named, one run at a time; start-up is not counted.",
    ]
    if gpu:
        rate, source = GPUS[gpu]
        lines.append(
            f"{gpu}: not measured; {PEAK_SHARE:.0%} of {rate:g} TFLOP/s, the peak FP32 rate of one ({source})."
        )
    return "\n".join(lines)


def frame_table(table: pd.DataFrame) -> str:
    """A results table as plain text."""
    if table.empty:
        return "No finished run."
    return str(table.to_string(index=False, float_format=lambda value: f"{value:.4f}"))


def duration(seconds: float) -> str:
    """A time in the unit that suits it: "45 s", "12 min", "3.5 h", "2.1 d"."""
    for limit, unit, name in ((100, 1, "s"), (6000, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            number = seconds / unit
            return f"{number:.{0 if number >= 10 else 1}f} {name}"
    return f"{seconds / 86400:,.1f} d"


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
