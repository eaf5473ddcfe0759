"""Plans of tiny runs, for the tests."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from hsisr_core.base import sha256_file, write_json
from hsisr_core.data import Dataset
from hsisr_core.runs import PlannedRun, RunConfig, open_run, planned_runs, read_plan
from hsisr_core.runs.folder import run_folder

TINY = Path(__file__).parent / "tiny.yaml"


def write_plan(folder: Path, runs: str, file: str = "plan.yaml", **settings: Any) -> str:
    """A plan with the settings of tiny.yaml, other `settings`, and `runs` as YAML on one line; returns its path.

    Without `runs` it is a preset of one run.
    """
    defaults = TINY.read_text().partition("\nruns:")[0]
    lines = [line for line in defaults.splitlines() if line.split(":")[0] not in settings]
    lines += [f"{name}: {json.dumps(value)}" for name, value in settings.items()]
    path = folder / file
    lines += [f"runs: {runs}"] if runs else []
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def small_plan(folder: Path, runs: str, **settings: Any) -> list[PlannedRun]:
    """The planned runs of `write_plan`, with run folders in ``folder/runs``."""
    return planned_runs(read_plan(write_plan(folder, runs, **settings)), folder / "runs")


def fake_train(config: RunConfig, runs: Path, dataset: Dataset, progress: bool, wait: bool) -> None:
    """What a worker may call in place of `train`; seed 9 kills the process."""
    if config.seed == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    run = PlannedRun(config, dataset, run_folder(config, dataset.name, dataset.fingerprint, runs), "")
    finish(run, threads=os.environ.get("OMP_NUM_THREADS"))


def finish(run: PlannedRun, psnr: float = 30.0, seconds: float = 2.0, **more: Any) -> None:
    """Write what a finished training leaves, with made-up scores."""
    open_run(run.config, run.folder.parent, run.dataset)
    scores = {"psnr": psnr, "ssim": 0.9, "sam": 2.0}
    others = {"mpsnr": psnr, "rmse": 0.1, "ergas": 1.0, "scored_bands": 200, "scored_border": 0}
    names = ("bicubic", run.config.method)
    (run.folder / "weights.safetensors").write_bytes(b"weights")
    write_json(
        run.folder / "metrics.json",
        {
            "config": run.config.to_dict(), "dataset": run.dataset.name, "fingerprint": run.dataset.fingerprint,
            "images": [{"image": "a", "result": name, **scores, **others} for name in names],
            "mean": dict.fromkeys(names, scores),
            "split": {"name": "indian-pines", "train": ["west"], "test": ["north-east"]},
            "steps": run.steps, "seconds": seconds, "parameters": 7,
            "weights_sha256": sha256_file(run.folder / "weights.safetensors"), **more,
        },
    )  # fmt: skip
