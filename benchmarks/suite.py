"""What `python -m benchmarks` measures, in groups, and the bars that the results are held against."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks.measure import Measured, compare, measure, ratio
from benchmarks.quality import seconds_to_quality
from benchmarks.stages import best_bandwidth, best_rate, stages
from benchmarks.work import BANDS, network

__all__ = ["GROUPS", "Row"]

SCENE = (1040, 1392)  # height and width of a whole Harvard scene
SAME = 1e-5  # largest difference, relative to the largest value
GIGABYTE = 10**9


@dataclass(frozen=True)
class Row:
    """One printed line: a ratio with its spread, or a number, and what was wanted of it."""

    name: str
    value: float | None  # None: not reached or not measured
    low: float | None = None
    high: float | None = None
    unit: str = "x"  # how often plain costs what ours does
    at_least: float | None = None
    at_most: float | None = None
    ours: float | None = None  # seconds or bytes
    plain: float | None = None

    @property
    def met(self) -> bool | None:
        """Is the bar met? None: there is none, or nothing was measured."""
        if self.value is None or (self.at_least is None and self.at_most is None):
            return None
        over = self.at_least is None or self.value >= self.at_least
        return over and (self.at_most is None or self.value <= self.at_most)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "met": self.met}


@dataclass(frozen=True)
class Settings:
    quick: bool
    rounds: int

    def side(self, pixels: int) -> int:
        """HR pixels a side of a cube: an eighth in a quick run."""
        return pixels // 8 if self.quick else pixels

    @property
    def features(self) -> int:
        return 8 if self.quick else 64


Found = tuple[list[Row], dict[str, Any]]


def time_and_memory(
    name: str, found: Mapping[str, Measured], faster: float | None, memory: float | None
) -> Iterator[Row]:
    """Rows of one comparison: seconds, peak bytes (as ours of plain), and the difference of the output."""
    ours, plain = found["ours"], found["plain"]
    middle, low, high = ratio(plain.seconds, ours.seconds)
    yield Row(f"{name}: time", middle, low, high, "x", faster, None, ours.median, plain.median)
    if memory is not None:
        share = ours.bytes / plain.bytes if plain.bytes else None
        yield Row(
            f"{name}: peak memory", share, None, None, "of plain", None, memory, ours.bytes, plain.bytes
        )
    yield Row(f"{name}: difference", difference(ours.output, plain.output), unit="relative", at_most=SAME)


def difference(ours: np.ndarray, plain: np.ndarray) -> float:
    return float(np.abs(ours - plain).max() / np.abs(plain).max())


def inference_bars(settings: Settings) -> Found:
    rows: list[Row] = []
    for scale, faster, memory in ((4, 4.0, 1 / 5), (2, 2.5, 1 / 3), (3, 2.5, 1 / 3)):
        side = settings.side(512) // scale
        options = {"scale": scale, "features": settings.features, "height": side, "width": side}
        found = compare("inference", options, settings.rounds)
        rows += time_and_memory(f"inference x{scale} to {scale * side}x{scale * side}", found, faster, memory)
    return rows, {}


def training_options(settings: Settings) -> dict[str, int]:
    return {
        "scale": 4,
        "features": settings.features,
        "batch": 4,
        "patch": 8 if settings.quick else 16,
    }


def training_bars(settings: Settings) -> Found:
    options = training_options(settings)
    found = compare("training", options, settings.rounds, repeats=5)
    name = (
        f"training step x4, {options['features']} filters, batch 4 of {options['patch']}x{options['patch']}"
    )
    return list(time_and_memory(name, found, 1.4, 0.6)), {}


def score_bars(settings: Settings) -> Found:
    side = settings.side(512)
    found = compare("scoring", {"side": side}, settings.rounds, repeats=5)
    return list(time_and_memory(f"score of {BANDS}x{side}x{side}", found, 5.0, None)), {}


def imresize_bars(settings: Settings) -> Found:
    rows: list[Row] = []
    for scale, side in ((0.5, 512), (0.25, 512), (2.0, 256), (4.0, 128)):
        options = {"side": settings.side(side), "scale": scale}
        found = compare("resizing", options, settings.rounds, repeats=5)
        rows += time_and_memory(f"imresize of {options['side']} pixels a side by {scale:g}", found, 3.0, None)
    return rows, {}


def loader_bars(settings: Settings) -> Found:
    """How many batches the sampler makes while the training takes one."""
    options = training_options(settings)
    step = measure("training", "ours", options, repeats=5)
    rows = []
    for lr_side in ("patch", "scene"):
        batch = {key: options[key] for key in ("scale", "batch", "patch")}
        loader = measure("loading", "ours", {**batch, "lr_side": lr_side, "side": settings.side(512)}, 50)
        value, low, high = ratio(step.seconds, loader.seconds)
        name = f"batches a step of training takes, LR from the {lr_side}"
        rows.append(Row(name, value, low, high, "x", 10.0, None, loader.median, step.median))
    return rows, {}


def stage_bars(settings: Settings) -> Found:
    """Every kind of operation of an inference, as a share of the best convolution rate."""
    rate = best_rate(0.1 if settings.quick else 2.0)
    rows, table = [], []
    for scale in (4, 2):
        side = settings.side(512) // scale
        parts = stages(scale, settings.features, side, side)
        for part in parts:
            part["share"] = float(part["gflops"]) / rate
            table.append({"scale": scale, **part})
            name = f"x{scale}: {part['stage']}, {part['seconds']:.3f} s"
            rows.append(Row(name, float(part["share"]), unit="of the best rate"))
        total = sum(float(part["seconds"]) for part in parts)
        flop = sum(float(part["gflop"]) for part in parts)
        rows.append(Row(f"x{scale}: all, {total:.3f} s", flop / total / rate, unit="of the best rate"))
    return rows, {"best_gflops": rate, "best_gb_per_s": best_bandwidth(), "stages": table}


def quality_bars(settings: Settings) -> Found:
    """Seconds until the demo run is 0.5 dB above bicubic, ours against PyTorch's own initialisation."""
    usual, ours = (seconds_to_quality(init, settings.quick) for init in ("pytorch", "interpolation"))
    found = {"init": {"interpolation": ours, "pytorch": usual}}
    if ours["seconds"] is None:
        return [Row("time to 0.5 dB above bicubic, of the usual initialisation", None)], found
    # where the usual initialisation does not arrive, all its seconds are a lower bound
    name = "time to 0.5 dB above bicubic, of the usual initialisation"
    if usual["seconds"] is None:
        name += f" (which ended {usual['best']:+.2f} dB from bicubic: a lower bound)"
    plain = usual["seconds"] or usual["total"]
    return [Row(name, plain / ours["seconds"], ours=ours["seconds"], plain=plain)], found


def tile_bars(settings: Settings) -> Found:
    """A whole scene in tiles, against its top left part at once."""
    height, width = (settings.side(side) // 4 for side in SCENE)
    options = {"scale": 4, "features": settings.features, "height": height, "width": width, "tiles": True}
    scene = measure("inference", "ours", options)
    halo = network(4, settings.features).halo
    inner = min(height, width) - halo if settings.quick else 48
    # `picture` depends on the size, so the part is cut from the scene's own input
    part = measure("corner", "plain", {**options, "part": inner + halo})
    cut = (slice(None), slice(0, 4 * inner), slice(0, 4 * inner))
    rows = [
        Row(
            "whole Harvard scene x4 in tiles: peak of the process",
            scene.total_bytes / GIGABYTE,
            unit="GB",
            at_most=2.0,
        ),
        Row("whole Harvard scene x4 in tiles: seconds", scene.median, unit="s"),
        Row(
            "tiles against plain and untiled: difference",
            difference(scene.output[cut], part.output[cut]),
            unit="relative",
            at_most=SAME,
        ),
    ]
    return rows, {}


def size_bars(settings: Settings) -> Found:
    """Time and memory against the size of the scene, x4; plain only where it fits.

    Times are medians of three calls in each process. What the first of them costs beyond that (code made for the
    shapes, new memory) is shown beside them.
    """
    calls = 3
    sizes = [(side, side) for side in (128, 256, 512)] + [SCENE]
    table: list[dict[str, Any]] = []
    for height, width in sizes:
        lr = {"height": settings.side(height) // 4, "width": settings.side(width) // 4}
        options = {"scale": 4, "features": settings.features, **lr}
        for way in ("ours", "plain") if height <= 512 else ("ours",):
            tiles = {"tiles": True} if way == "ours" else {}
            found = compare("inference", options | tiles, settings.rounds, calls, (way,))[way]
            pixels = 16 * lr["height"] * lr["width"]
            table.append(
                {
                    "way": way, "scale": 4, "height": 4 * lr["height"], "width": 4 * lr["width"], "bands": BANDS,
                    "features": settings.features, "seconds": found.median, "bytes": found.bytes,
                    "first_call_seconds": statistics.median(found.seconds[::calls]),
                    "seconds_per_megavoxel": found.median / (BANDS * pixels / 1e6),
                }
            )  # fmt: skip
    per_voxel = [row["seconds_per_megavoxel"] for row in table if row["way"] == "ours"]
    rows = [
        Row(
            f"{row['way']}, {row['height']}x{row['width']}: time per megavoxel",
            row["seconds_per_megavoxel"],
            unit="s",
        )
        for row in table
    ]
    rows += [
        Row(
            f"ours, {row['height']}x{row['width']}: first call in a process, beyond the others",
            row["first_call_seconds"] - row["seconds"],
            unit="s",
        )
        for row in table
        if row["way"] == "ours"
    ]
    spread = max(per_voxel) / statistics.median(per_voxel)
    rows.append(Row("time per megavoxel: slowest of the median", spread, at_most=1.25))
    return rows, {"sizes": table}


GROUPS: dict[str, Callable[[Settings], Found]] = {
    "inference": inference_bars,
    "training": training_bars,
    "score": score_bars,
    "imresize": imresize_bars,
    "loader": loader_bars,
    "stages": stage_bars,
    "quality": quality_bars,
    "tiles": tile_bars,
    "sizes": size_bars,
}
