"""SSRNet on one GPU within minutes: what a step and an inference take, ours and plain, then two trainings that fit.

``python -m benchmarks.gpu OUT --data FOLDER --minutes 9`` with the scenes of the split cave-nine; OUT gets gpu.json
and the folders of the runs. ``--steps 2`` tries all of it, also without a GPU.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import l1_loss

from benchmarks.work import BANDS, network
from hsisr_core.fast import Trainer, runner
from hsisr_core.runs import RunConfig
from hsisr_core.training import train

__all__ = ["main"]

FEATURES, SCALE = 64, 4
# the paper's batch and patch
BATCH, PATCH = 16, 32
# of the time, for timings
TIMING = 0.2
MODES = ("float32", "tf32", "bf16", "tf32, channels last", "tf32, compiled", "bf16, compiled")


def measure(
    device: str, features: int, size: int, batch: int, patch: int, repeats: int, until: float
) -> Iterator[dict[str, Any]]:
    """Median seconds and peak bytes of each task in each way, while there is time, and how far SR is from float32's."""
    generator = torch.Generator().manual_seed(0)
    scene = torch.rand(1, BANDS, size, size, generator=generator).to(device)
    lr = torch.rand(batch, BANDS, patch, patch, generator=generator).to(device)
    hr = torch.rand(batch, BANDS, SCALE * patch, SCALE * patch, generator=generator).to(device)
    exact: Tensor | None = None
    for mode in MODES:
        for code in ("plain", "ours") if mode in MODES[:3] else ("plain",):
            if time.monotonic() > until:
                return
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = "tf32" in mode
            row = {
                "mode": mode,
                "code": code,
                "size": size,
                "features": features,
                "batch": batch,
                "patch": patch,
                "scale": SCALE,
            }
            try:
                infer, step = tasks(code, mode, features, device, scene, lr, hr)
                seconds, peak, sr = clock(infer, repeats)
                exact = sr if exact is None else exact
                difference = float((sr - exact).abs().max())
                yield row | {"task": "inference", "seconds": seconds, "bytes": peak, "difference": difference}
                seconds, peak, _ = clock(step, repeats)
                yield row | {"task": "training step", "seconds": seconds, "bytes": peak}
            # a mode that this GPU or this PyTorch does not have is a result, too
            except Exception as error:
                yield row | {"error": f"{type(error).__name__}: {error}"[:300]}


def tasks(
    code: str, mode: str, features: int, device: str, scene: Tensor, lr: Tensor, hr: Tensor
) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """An inference and a training step by this code in this mode."""
    model = network(SCALE, features).to(device)
    if "channels last" in mode:
        model.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # PyTorch has no types for it
    half = partial(torch.autocast, device, torch.bfloat16) if mode.startswith("bf16") else nullcontext
    forward: Any = Trainer(model) if code == "ours" else model
    if "compiled" in mode:
        forward = torch.compile(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=device == "cuda")
    run = (
        runner(model, precision="bf16" if half is not nullcontext else "float32") if code == "ours" else None
    )

    def infer() -> Tensor:
        if run is not None:
            return run(scene).float()
        with torch.inference_mode(), half():
            return forward(scene).float()

    def step() -> Tensor:
        with half():
            loss = l1_loss(forward(lr).float(), hr)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return infer, step


def clock(call: Callable[[], Tensor], repeats: int) -> tuple[float, int, Tensor]:
    """Median seconds, peak bytes on the GPU, and the result; two calls warm up."""
    cuda = torch.cuda.is_available()
    for _ in range(2):
        call()
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        result = call()
        if cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return statistics.median(times), torch.cuda.max_memory_allocated() if cuda else 0, result


def train_within(seconds: float, config: RunConfig, out: Path, steps: int | None) -> dict[str, Any]:
    """Train as many steps as fit into `seconds`, by the time of 30 real ones; what came of it."""
    trial = train(config.changed(steps=steps or 30), out / "trials", progress=False)
    curve = trial.history().set_index("step")["seconds"]
    later = curve[curve.index >= curve.index.max() / 3]
    each = (later.iloc[-1] - later.iloc[0]) / max(1, later.index[-1] - later.index[0])
    fitting = steps or int(max(1, (seconds - curve.iloc[-1]) / each) // 100 * 100)
    run = train(config.changed(steps=max(fitting, 1)), out / "runs", progress=False)
    return {"run": run.folder.name, "seconds_per_step": each, "mean": run.metrics["mean"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", required=True, help="a folder with the scenes of the split cave-nine")
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--steps", type=int, help="of each training, and small inputs: to try the script")
    given = parser.parse_args()
    ends = time.monotonic() + 60 * given.minutes
    given.out.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else "none"
    found: dict[str, Any] = {"gpu": name, "torch": torch.__version__, "timings": [], "trainings": []}

    def keep(kind: str, row: dict[str, Any]) -> None:
        found[kind].append(row)
        print(json.dumps(row), flush=True)
        (given.out / "gpu.json").write_text(json.dumps(found, indent=1))

    sizes = (4, 8, 1, 8, 1) if given.steps else (FEATURES, 128, BATCH, PATCH, 10)
    for row in measure(device, *sizes, time.monotonic() + TIMING * 60 * given.minutes):
        keep("timings", row)
    # the modes of a user's training
    torch.backends.cudnn.allow_tf32 = True
    settings: dict[str, Any] = {"split": "cave-nine", "features": FEATURES, "evaluate_every": None}
    settings |= {"batch": BATCH, "patch": PATCH, "precision": "bf16", "data": given.data}
    if given.steps:
        settings |= {"batch": 2, "patch": 8, "features": 4}
    for scale, share in ((4, 0.5), (2, 0.9)):
        config = RunConfig.from_preset("evidence", scale=scale, **settings)
        keep("trainings", train_within(share * (ends - time.monotonic()), config, given.out, given.steps))


if __name__ == "__main__":
    main()
