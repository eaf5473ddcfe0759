"""Small plain-text tables for the terminal. Every one says which data, split and preset it belongs to."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hsisr_core.data import Scene, Store
from hsisr_core.paper import blur_label
from hsisr_core.runs import STATES, PlannedRun, Run, RunState
from hsisr_core.training import GPUS, PEAK_SHARE, Estimate, gpu_rate


def results_table(run: Run) -> str:
    """Bicubic against the run's network, mean over the test images."""
    config, metrics = run.config, run.metrics
    split = metrics["split"]
    title = (
        f"x{config.scale}{blur_label(config.blur)}, preset {config.preset}, {metrics['dataset']} "
        f"(split {split['name']}, test: {', '.join(split['test'])}), seed {config.seed}, {metrics['steps']} steps, "
        f"{metrics['seconds']:.0f} s"
    )
    return f"{title}\n{_scores(pd.DataFrame(metrics['mean']).T)}{_region(metrics['images'][0])}"


def score_table(scores: pd.DataFrame) -> str:
    """Scores of a network on a dataset (see `rescore`), image by image and in the mean."""
    first = scores.iloc[0]
    factor = f"x{first.scale}{blur_label(first.blur)}"
    title = f"{factor}, {first.method} of preset {first.preset}, {first.dataset} (split {first.split})"
    table = scores.set_index("result")
    tables = {str(image): rows for image, rows in table.groupby("image", sort=False)}
    tables["mean"] = table.groupby(level="result", sort=False).mean(numeric_only=True)
    parts = [title, *(f"{name}\n{_scores(rows)}" for name, rows in tables.items())]
    return "\n\n".join(parts) + _region(first.to_dict())


def _scores(table: pd.DataFrame) -> str:
    """A line per method, of its PSNR, SSIM and SAM."""
    shown = table[["psnr", "ssim", "sam"]].set_axis(["PSNR (dB)", "SSIM", "SAM (deg)"], axis=1)
    formats = ["{:.3f}".format, "{:.4f}".format, "{:.3f}".format]
    return str(shown.rename_axis(None).to_string(formatters=formats, col_space=10))


def _region(row: Mapping[Any, Any]) -> str:
    """A line that says what was scored, where that is less than the whole of HR."""
    if not row.get("scored_border"):
        return ""
    bands, border = row["scored_bands"], row["scored_border"]
    return f"\nAll of them on {bands} bands, without {border} pixels on each side: the network gives no more."


def status_table(runs: Sequence[PlannedRun], states: Sequence[RunState]) -> str:
    """How far each run of a plan is, a count of the states, and why runs failed."""
    table = pd.DataFrame(
        {
            "state": [state.state for state in states],
            "steps": [f"{state.step:,}/{state.steps:,}" for state in states],
            "time": ["" if state.seconds is None else duration(state.seconds) for state in states],
            "PSNR (dB)": ["" if state.psnr is None else f"{state.psnr:.2f}" for state in states],
        },
        index=[run.label for run in runs],
    )
    errors = [f"{run.label}: {state.error}" for run, state in zip(runs, states, strict=True) if state.error]
    counts = {name: sum(state.state == name for state in states) for name in STATES}
    summary = f"{len(runs)} runs: " + ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    return "\n".join([table.to_string(), "", *errors, summary])


def estimate_table(runs: Sequence[PlannedRun], estimates: Sequence[Estimate], gpu: str | None) -> str:
    """The expected cost of each run of a plan, and of all; says which numbers are estimates, and of what."""
    name, rate = gpu_rate(gpu) if gpu else ("", 0.0)
    table = pd.DataFrame(
        {
            "parameters": [f"{item.parameters:,}" for item in estimates],
            "steps": [f"{run.steps:,}" for run in runs],
            "TFLOP": [f"{item.flop / 1e12:,.3g}" for item in estimates],
            "memory": [f"{item.bytes / 1e6:,.0f} MB" for item in estimates],
            "time here": [duration(item.seconds) for item in estimates],
            **({name: [duration(item.gpu_seconds or 0) for item in estimates]} if gpu else {}),
            "timed with": [item.method for item in estimates],
        },
        index=[run.label for run in runs],
    )
    total = f"In all {duration(sum(item.seconds for item in estimates))} here"
    note = "Estimates: time here from the steps named, without start-up, one run at a time; memory counted."
    if missing := sorted({run.dataset.name for run in runs if run.dataset.store.fingerprint == "declared"}):
        note += f"\nNot prepared here, so by the sizes that are declared: {', '.join(missing)}."
    if gpu:
        total += f", {duration(sum(item.gpu_seconds or 0 for item in estimates))} on one {name}"
        peak = f"{rate:g} TFLOP/s, the peak FP32 rate of one ({GPUS[name][1]})"
        note += f"\n{name}: not measured; {PEAK_SHARE:.0%} of {peak}."
    return f"{table.to_string()}\n\n{total}.\n\n{note}"


def scene_table(scene: Scene) -> str:
    """What a scene is: size, range, wavelengths, and how it was read."""
    cube = scene.cube
    pixels = scene.height * scene.width
    rows = {
        "scene": scene.name,
        "size": _size(cube.shape),
        "wavelengths": _range(scene.wavelengths),
        "values": f"{cube.min():.4f} to {cube.max():.4f}, mean {cube.mean():.4f}",
        "zero pixels": f"{int((~cube.any(axis=0)).sum())} of {pixels}",
        "read as": scene.source,
    }
    if scene.mask is not None:
        rows["masked"] = f"{int((~scene.mask).sum())} of {pixels} pixels"
    if scene.georeference is not None:
        x, dx, _, y, _, dy = scene.georeference.transform
        crs = scene.georeference.crs[:80]
        rows["place"] = f"corner at x {x:.9g}, y {y:.9g}, pixel {dx:.6g} by {dy:.6g}; {crs}"
    return "\n".join(f"{name:<13}{value}" for name, value in rows.items())


def store_table(store: Store) -> str:
    """What a store of prepared scenes holds, without reading their values."""
    head = f"store        {store.path}, dataset {store.dataset}, {len(store.names)} scenes"
    lines = [head, f"fingerprint  {store.fingerprint}"]
    for name in store.names:
        nm = _range(store.wavelengths(name))
        lines.append(f"{'':<13}{name}: {_size(store.shape(name))}, wavelengths {nm}")
    return "\n".join(lines)


def _size(shape: tuple[int, ...]) -> str:
    bands, height, width = shape
    return f"{height} x {width} pixels, {bands} bands"


def _range(wavelengths: np.ndarray) -> str:
    known = np.isfinite(wavelengths).all()
    return f"{wavelengths[0]:g} to {wavelengths[-1]:g} nm" if known else "unknown"


def duration(seconds: float) -> str:
    """A time in the unit that suits it: "45 s", "12 min", "3.5 h", "2.1 d"."""
    units = ((100, 1, "s"), (6000, 60, "min"), (172800, 3600, "h"), (math.inf, 86400, "d"))
    number, name = next((seconds / unit, name) for limit, unit, name in units if seconds < limit)
    return f"{number:,.{int(number < 10 or name == 'd')}f} {name}"
