"""What `python -m benchmarks` measures, in groups, and the bars that the results are held against."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from benchmarks.engines import ENGINES, missing
from benchmarks.measure import OURS, PLAIN, Measured, Settings, Way, compare, ratio
from benchmarks.quality import seconds_to_quality
from benchmarks.stages import best_bandwidth, best_rate, stages
from benchmarks.work import BANDS, network
from hsisr_core.runs import RunConfig
from hsisr_core.upscale import to_onnx
from hsisr_core.upscale.weights import Pretrained

__all__ = ["GROUPS", "Row"]

SCENE = (1040, 1392)  # height and width of a whole Harvard scene
SAME = 1e-5  # largest difference, relative to the largest value
OPENVINO = Way("OpenVINO")
BF16 = ("ours, bf16", "plain, bf16", "OpenVINO, bf16")


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

    @property
    def result(self) -> str:
        """The value, and the lowest and highest that single repetitions allow."""
        if self.value is None:
            return "not reached"
        spread = "" if self.low is None else f" ({self.low:.3g} to {self.high:.3g})"
        return f"{self.value:.3g} {self.unit}{spread}"

    @property
    def wanted(self) -> str:
        """The bar, and whether it is met."""
        verdict = {True: ", met", False: ", missed", None: ""}[self.met]
        if self.at_most is not None:
            return f"at most {self.at_most:.3g}{verdict}"
        return "" if self.at_least is None else f"at least {self.at_least:.3g}{verdict}"

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "met": self.met, "result": self.result, "wanted": self.wanted}


Found = tuple[list[Row], dict[str, Any]]


def difference(ours: np.ndarray, plain: np.ndarray) -> float:
    return float(np.abs(ours - plain).max() / np.abs(plain).max())


def time_and_memory(
    name: str, found: Mapping[Way, Measured], faster: float | None, memory: float | None
) -> Iterator[Row]:
    """Rows of one comparison: seconds, peak bytes (as ours of plain), and the difference of the output."""
    ours, plain = found[OURS], found[PLAIN]
    middle, low, high = ratio(plain.seconds, ours.seconds)
    yield Row(f"{name}: time", middle, low, high, "x", faster, None, ours.median, plain.median)
    if memory is not None:
        share = ours.bytes / plain.bytes if plain.bytes else None
        yield Row(
            f"{name}: peak memory", share, None, None, "of plain", None, memory, ours.bytes, plain.bytes
        )
    yield Row(f"{name}: difference", difference(ours.output, plain.output), unit="relative", at_most=SAME)


def seconds_row(name: str, long: Measured, short: Measured, **bar: float) -> Row:
    """How many times as long `long` takes as `short`; `name` has places for the seconds of both."""
    return Row(
        name.format(f"{long.median:.3g} s", f"{short.median:.3g} s"),
        *ratio(long.seconds, short.seconds),
        **bar,  # type: ignore[arg-type]  # a keyword with a number
    )


def scene_options(settings: Settings, scale: int, side: int) -> dict[str, Any]:
    """An LR scene that becomes one of side x side, and the network."""
    lr = settings.side(side) // scale
    return {"scale": scale, "features": settings.features, "height": lr, "width": lr}


def onnx_options(settings: Settings, scale: int) -> dict[str, str]:
    """The network of `scene_options` in ONNX, written once."""
    path = settings.folder / f"x{scale}-{settings.features}.onnx"
    if not path.is_file():
        model = network(scale, settings.features).eval()
        path.write_bytes(to_onnx(Pretrained("benchmark", model, "", "nothing: its weights are random", None)))
    return {"onnx": str(path)}


def demo_options() -> dict[str, Any]:
    demo = RunConfig.from_preset("demo")
    return {key: getattr(demo, key) for key in ("scale", "features", "batch", "patch", "loss", "clip")}


def inference_bars(settings: Settings) -> Found:
    rows: list[Row] = []
    for scale, side, faster, memory in ((4, 512, 5.0, 0.1), (2, 256, 2.5, 1 / 3), (3, 255, 2.5, 1 / 3)):
        options, ways = scene_options(settings, scale, side), [OURS, PLAIN]
        if scale == 4 and not missing(OPENVINO.code):
            options |= onnx_options(settings, scale)
            ways.append(OPENVINO)
        found = compare(settings, "inference", options, ways)
        lr = options["height"]
        name = f"inference x{scale} to {scale * lr}x{scale * lr}"
        rows += time_and_memory(name, found, faster, memory)
        if OPENVINO in found:
            text = f"{name}: OpenVINO ({{}}) against ours ({{}})"
            rows.append(seconds_row(text, found[OPENVINO], found[OURS], at_least=1.4))
    return rows, {}


def engine_bars(settings: Settings) -> Found:
    """Every engine on one small scene, in the second of two calls: in the first, some make code for its size."""
    names = ["plain", *ENGINES, *BF16]
    left_out = {name: missing(name) for name in names if missing(name)}
    ways = [OURS, *(Way(name) for name in names if name not in left_out)]
    options = scene_options(settings, 4, 256)
    if any(way.code.startswith(("ONNX", "OpenVINO")) for way in ways):
        options |= onnx_options(settings, 4)
    found = compare(settings, "inference", options, ways, repeats=2)
    second = {way: replace(measured, seconds=measured.seconds[1::2]) for way, measured in found.items()}
    table = [
        {
            "engine": way.code, "seconds": measured.median, "low": min(measured.seconds), "high": max(measured.seconds),
            "bytes": measured.bytes, "difference": difference(measured.output, found[PLAIN].output),
        }
        for way, measured in second.items()
    ]  # fmt: skip
    text = f"x4, LR of {options['height']}x{options['width']}: {{name}} ({{}}) against ours ({{}})"
    rows = [
        seconds_row(text.replace("{name}", way.code), measured, second[OURS])
        for way, measured in second.items()
        if way != OURS
    ]
    half = Way(BF16[0])
    for other, faster in ((OURS, 1.6), (Way(BF16[2]), 1.0)):
        if half in second and other in second:
            name = f"{other.code} ({{}}) against ours, bf16 ({{}})"
            rows.append(seconds_row(name, second[other], second[half], at_least=faster))
    return rows, {"engines": table, "engines_left_out": left_out}


def thread_bars(settings: Settings) -> Found:
    """What the second core brings."""
    rows = []
    one, two = Way("ours", threads=1), Way("ours", threads=2)
    for name, work, options, repeats, faster in (
        ("inference x4 to 512x512", "inference", scene_options(settings, 4, 512), 1, 1.7),
        ("a training step of the demo", "training", demo_options(), 20, 1.5),
    ):
        found = compare(settings, work, options, (one, two), repeats)
        rows.append(
            seconds_row(
                f"{name}: one thread ({{}}) against two ({{}})", found[one], found[two], at_least=faster
            )
        )
    return rows, {}


def busy_bars(settings: Settings) -> Found:
    """The same work on a quiet machine and beside a process that keeps a core busy."""
    rows, table = [], []
    for name, work, options, repeats, faster in (
        ("inference x4 to 512x512", "inference", scene_options(settings, 4, 512), 1, {"at_least": 3.0}),
        ("a training step of the demo", "training", demo_options(), 20, {}),
    ):
        busy_ours, busy_plain = Way("ours", busy=True), Way("plain", busy=True)
        found = compare(settings, work, options, (OURS, busy_ours, PLAIN, busy_plain), repeats)
        text = f"{name}, busy: plain ({{}}) against ours ({{}})"
        rows += [
            seconds_row(text, found[busy_plain], found[busy_ours], **faster),
            seconds_row(f"{name}, ours: busy ({{}}) against quiet ({{}})", found[busy_ours], found[OURS], at_most=2.2),
            seconds_row(f"{name}, plain: busy ({{}}) against quiet ({{}})", found[busy_plain], found[PLAIN]),
        ]  # fmt: skip
        table += [
            {"work": name, "code": way.code, "busy": way.busy, "seconds": measured.median}
            for way, measured in found.items()
        ]
    return rows, {"busy": table}


def training_options(settings: Settings) -> dict[str, Any]:
    return {"scale": 4, "features": settings.features, "batch": 4, "patch": 8 if settings.quick else 16}


def training_bars(settings: Settings) -> Found:
    options = training_options(settings)
    found = compare(settings, "training", options, repeats=5)
    name = (
        f"training step x4, {options['features']} filters, batch 4 of {options['patch']}x{options['patch']}"
    )
    return list(time_and_memory(name, found, 1.4, 0.6)), {}


def score_bars(settings: Settings) -> Found:
    side = settings.side(512)
    found = compare(settings, "scoring", {"side": side}, repeats=5)
    return list(time_and_memory(f"score of {BANDS}x{side}x{side}", found, 5.0, None)), {}


def imresize_bars(settings: Settings) -> Found:
    rows: list[Row] = []
    for scale, side in ((0.5, 512), (0.25, 512), (2.0, 256), (4.0, 128)):
        options = {"side": settings.side(side), "scale": scale}
        found = compare(settings, "resizing", options, repeats=5)
        rows += time_and_memory(f"imresize of {options['side']} pixels a side by {scale:g}", found, 3.0, None)
    return rows, {}


def loader_bars(settings: Settings) -> Found:
    """How many batches the sampler makes while the training takes one."""
    options = training_options(settings)
    step = compare(settings, "training", options, [OURS], 5, rounds=1)[OURS]
    rows = []
    for lr_side in ("patch", "scene"):
        batch = {key: options[key] for key in ("scale", "batch", "patch")}
        batch |= {"lr_side": lr_side, "side": settings.side(512)}
        loader = compare(settings, "loading", batch, [OURS], 50, rounds=1)[OURS]
        name = f"batches a step of training takes, LR from the {lr_side}"
        rows.append(
            Row(name, *ratio(step.seconds, loader.seconds), "x", 10.0, None, loader.median, step.median)
        )
    return rows, {}


def stage_bars(settings: Settings) -> Found:
    """Every kind of operation of an inference, as a share of the best convolution rate; with one thread."""
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
    best = {"best_gflops": rate, "best_gb_per_s": best_bandwidth(), "stage_threads": 1}
    return rows, best | {"stages": table}


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
    options = {"scale": 4, "features": settings.features, "height": height, "width": width}
    scene = compare(settings, "inference", options | {"tiles": True}, [OURS], rounds=1)[OURS]
    halo = network(4, settings.features).halo
    inner = min(height, width) - halo if settings.quick else 48
    # `picture` depends on the size, so the part is cut from the scene's own input
    part = compare(settings, "corner", options | {"part": inner + halo}, [PLAIN], rounds=1)[PLAIN]
    cut = (slice(None), slice(0, 4 * inner), slice(0, 4 * inner))
    name = "whole Harvard scene x4 in tiles"
    apart = difference(scene.output[cut], part.output[cut])
    rows = [
        Row(f"{name}: peak of the process", scene.total_bytes / 1e9, unit="GB", at_most=2.0),
        Row(f"{name}: seconds", scene.median, unit="s"),
        Row("tiles against plain and untiled: difference", apart, unit="relative", at_most=SAME),
    ]
    return rows, {}


def size_bars(settings: Settings) -> Found:
    """Time and memory against the size of the scene, x4; plain only where it fits.

    Times are medians of three calls in one process. What the first of them costs beyond that (code made for the
    shapes, new memory) is shown beside them.
    """
    table: list[dict[str, Any]] = []
    for height, width in [(128, 128), (256, 256), (384, 384), SCENE]:
        lr = {"height": settings.side(height) // 4, "width": settings.side(width) // 4}
        options = {"scale": 4, "features": settings.features, **lr}
        for way in (OURS, PLAIN) if (height, width) != SCENE else (OURS,):
            tiles = {"tiles": True} if way == OURS else {}
            found = compare(settings, "inference", options | tiles, [way], repeats=3, rounds=1)[way]
            pixels = 16 * lr["height"] * lr["width"]
            table.append(
                {
                    "way": way.code, "scale": 4, "height": 4 * lr["height"], "width": 4 * lr["width"],
                    "bands": BANDS, "features": settings.features, "seconds": found.median, "bytes": found.bytes,
                    "first_call_seconds": found.seconds[0],
                    "seconds_per_megavoxel": found.median / (BANDS * pixels / 1e6),
                }
            )  # fmt: skip
    ours = [row for row in table if row["way"] == "ours"]
    rows = []
    for row in table:
        name = f"{row['way']}, {row['height']}x{row['width']}"
        rows.append(Row(f"{name}: time per megavoxel", row["seconds_per_megavoxel"], unit="s"))
        if row["way"] == "ours":
            beyond = row["first_call_seconds"] - row["seconds"]
            rows.append(Row(f"{name}: first call in a process, beyond the others", beyond, unit="s"))
    per_voxel = [row["seconds_per_megavoxel"] for row in ours]
    spread = max(per_voxel) / statistics.median(per_voxel)
    rows.append(Row("time per megavoxel: slowest of the median", spread, at_most=1.25))
    return rows, {"sizes": table}


GROUPS: dict[str, Callable[[Settings], Found]] = {
    "inference": inference_bars,
    "engines": engine_bars,
    "threads": thread_bars,
    "busy": busy_bars,
    "training": training_bars,
    "score": score_bars,
    "imresize": imresize_bars,
    "loader": loader_bars,
    "stages": stage_bars,
    "quality": quality_bars,
    "tiles": tile_bars,
    "sizes": size_bars,
}
