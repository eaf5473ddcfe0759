"""What was measured by `python -m benchmarks`, as tables, and what a scene of your own will cost on this machine."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hsisr_core.base.paths import book_folder
from hsisr_core.errors import HsisrError
from hsisr_core.fast import super_resolve
from hsisr_core.models import build_model
from hsisr_core.runs.config import RunConfig
from hsisr_core.training.estimate import (
    GPUS,
    PASSES,
    PEAK_SHARE,
    cube_multiply_adds,
    patch_multiply_adds,
    scoring_bytes,
)
from hsisr_core.training.evaluate import tile_for

__all__ = ["WRAP", "about", "bars", "gpu_days", "load_benchmarks", "scene_cost", "stage_table"]

KEYS = ("quick", "machine", "rows")
WRAP: Any = [{"selector": "td, th", "props": "white-space: normal; text-align: left"}]
"""For `Styler.set_table_styles`: long cells are wrapped, or the table is wider than the page."""
SMALL = 0.01  # of the time of an inference: a kind of operation below it has no row of its own
PIECE = 32  # LR pixels a side of what `scene_cost` times


def load_benchmarks(path: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Read what `python -m benchmarks --json` wrote (default: the committed `book/results/benchmarks.json`).

    Raises
    ------
    HsisrError
        The file is missing, or no such file.
    """
    file = Path(path) if path else book_folder() / "results" / "benchmarks.json"
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise HsisrError(
            f"{file} does not exist: write it with `python -m benchmarks --json {file}`."
        ) from error
    except ValueError as error:
        raise HsisrError(
            f"{file} is no valid JSON: write it again with `python -m benchmarks --json`."
        ) from error
    missing = [key for key in KEYS if not isinstance(results, dict) or key not in results]
    if missing:
        raise HsisrError(
            f"{file} has no {missing[0]!r}: it was not written by `python -m benchmarks --json`, or by another version."
        )
    return dict(results)


def about(results: dict[str, Any]) -> pd.Series:
    """The machine class, the software and the date that the numbers belong to."""
    machine = results["machine"]
    values = {
        "cores": machine["cores"],
        "threads": machine["threads"],
        "instruction set": machine["isa"],
        "memory": f"{machine['memory_bytes'] / 1e9:.0f} GB" if machine["memory_bytes"] else "unknown",
        "system": machine["system"],
        "PyTorch": machine["versions"]["torch"],
        "measured on": machine["date"],
        "sizes": "small: a trial run, its numbers mean nothing" if results["quick"] else "full",
    }
    return pd.Series(values, name="measured with")


def bars(results: dict[str, Any], groups: Sequence[str]) -> pd.DataFrame:
    """The rows of these groups as they are printed: result (lowest to highest), what was wanted."""
    table = []
    for row in results["rows"]:
        if row["group"] not in groups:
            continue
        wanted = "" if row["at_least"] is None else f"at least {row['at_least']:.3g}"
        if row["at_most"] is not None:
            wanted = f"at most {row['at_most']:.3g}"
        verdict = {True: ", met", False: ", missed", None: ""}[row["met"]]
        spread = "" if row["low"] is None else f" ({row['low']:.3g} to {row['high']:.3g})"
        result = "not reached" if row["value"] is None else f"{row['value']:.3g} {row['unit']}{spread}"
        table.append({"measured": row["name"], "result": result, "wanted": wanted + verdict})
    return pd.DataFrame(table, columns=["measured", "result", "wanted"]).set_index("measured")


def stage_table(results: dict[str, Any], scale: int) -> pd.DataFrame:
    """Each kind of operation of an inference at `scale`: seconds, share of the time and of the best rate.

    Those of less than `SMALL` of the time are one row, the last.
    """
    parts = pd.DataFrame([part for part in results.get("stages", []) if part["scale"] == scale])
    if parts.empty:
        raise HsisrError(
            f"The benchmarks hold no stages at x{scale}: run `python -m benchmarks` without --only."
        )
    small = parts["seconds"] < SMALL * parts["seconds"].sum()
    if small.sum() > 1:
        sums = parts.loc[small, ["seconds", "gflop"]].sum()
        rest = {
            "stage": f"others, each below {SMALL:.0%} of the time",
            **sums,
            "gflops": sums.gflop / sums.seconds,
        }
        rest["share"] = rest["gflops"] / results["best_gflops"]
        parts = pd.concat([parts[~small], pd.DataFrame([rest])])
    parts["share of time"] = parts["seconds"] / parts["seconds"].sum()
    columns = {
        "seconds": "seconds",
        "share of time": "share of time",
        "gflop": "GFLOP",
        "gflops": "GFLOP/s",
        "share": "of the best rate",
    }
    return parts.set_index("stage")[list(columns)].rename(columns=columns)


def scene_cost(bands: int, height: int, width: int, scale: int, features: int = 64) -> pd.Series:
    """What enlarging one LR cube of bands x height x width will take on this machine.

    The network enlarges a piece of `PIECE` x `PIECE` pixels now, and its time per pixel is taken for all; tiles
    compute their borders twice, which is counted. Memory is that of the tensors of one tile, counted without
    computing anything, and of the cubes in and out; the process itself (some 300 MB) comes on top.

    Raises
    ------
    HsisrError
        A value that the network refuses, or a side below 1.
    """
    if min(height, width) < 1:
        raise HsisrError(f"The scene is {height} by {width} pixels; expected at least 1 by 1.")
    config = RunConfig(scale=scale, features=features)
    model = build_model("ssrnet", scale, bands, **config.model_options()).eval()
    piece = np.full((bands, PIECE, PIECE), 0.5, np.float32)
    super_resolve(model, piece[:, :8, :8])
    started = time.perf_counter()
    super_resolve(model, piece)
    seconds = time.perf_counter() - started
    tile = tile_for(model, np.broadcast_to(np.float32(0), (bands, height, width)))
    computed = height * width
    if tile is not None:
        rows, columns = (covered(side, tile, model.halo) for side in (height, width))
        computed = rows * columns
    cubes = 4 * bands * height * width * (1 + scale**2)
    values = {
        "SR pixels": f"{scale * height} x {scale * width}, {bands} bands",
        "multiply-adds (10^12)": cube_multiply_adds(config, bands, height, width) / 1e12,
        "tile (LR pixels)": tile or "none: all at once",
        "seconds": seconds * computed / PIECE**2,
        "memory (GB)": (scoring_bytes(config, bands, (height, width)) + cubes) / 1e9,
    }
    return pd.Series(values, name=f"x{scale}, {features} filters")


def gpu_days(images: int, bands: int = 31, scales: Sequence[int] = (2, 3, 4)) -> pd.DataFrame:
    """Days of one training with the settings of the preset `paper` on `images` scenes, for each GPU and scale.

    An estimate: operations divided by `PEAK_SHARE` of the vendor's single-precision peak rate.
    """
    table = {"peak FP32 (TFLOP/s)": {gpu: rate for gpu, (rate, _) in GPUS.items()}}
    for scale in scales:
        config = RunConfig.from_preset("paper", scale=scale)
        steps = config.total_steps(images)
        flop = 2 * PASSES * patch_multiply_adds(config, bands) * config.batch * steps
        table[f"days at x{scale}"] = {
            gpu: flop / (PEAK_SHARE * rate * 1e12) / 86400 for gpu, (rate, _) in GPUS.items()
        }
    return pd.DataFrame(table)


def covered(side: int, tile: int, halo: int) -> int:
    """Pixels along an axis that all tiles compute together, their halos included."""
    return sum(min(side, start + tile + halo) - max(0, start - halo) for start in range(0, side, tile))
