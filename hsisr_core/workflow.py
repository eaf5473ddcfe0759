"""What Snakemake needs to know of a plan: one job a run, with its settings, its result and what it will need.

``python -m hsisr_core.workflow PLAN`` writes each run's settings to ``_build/workflow/<run>.yaml`` and prints the
jobs as JSON. workflow/Snakefile calls it, because Snakemake lives in an environment of its own, without PyTorch.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from hsisr_core.anatomy import multiply_adds
from hsisr_core.config import RunConfig
from hsisr_core.errors import HsisrError
from hsisr_core.files import atomic_text
from hsisr_core.models import build_model
from hsisr_core.paths import project_root
from hsisr_core.plan import PlannedRun, planned_runs, read_plan

__all__ = ["jobs", "needs"]

PEAK_SHARE = 0.35  # of a GPU's peak rate: an assumption, about what 3-D convolutions reach (chapter 04)
CPU_TFLOPS = 0.02  # that two cores sustain; 0.03 was measured with the demo preset
PROCESS_MB = 1500  # Python, PyTorch, and one tile when scenes are scored
START_MINUTES = 10
MARGIN = 2.0  # a job that is stopped at its limit loses the steps since its last checkpoint
COPIES = 4  # of each layer's output during a step: kept for the backward pass, normalised, gradients


def jobs(plan: str, tflops: float = 0.0, many: bool = False) -> list[dict[str, Any]]:
    """The jobs of a plan; writes the settings of each run to a file, which is the input of its job.

    Parameters
    ----------
    plan : str
        Name in ``book/presets``, or path of a ``.yaml`` file.
    tflops : float
        Peak FP32 rate of the GPU that a job gets, in TFLOP/s; 0 for jobs without a GPU.
    many : bool
        Allow more than 200 runs.

    Returns
    -------
    list of dict
        name (of the run folder), label, config and metrics (paths, relative to the project where they
        are in it), steps, and what `needs` returns.

    Raises
    ------
    HsisrError
        What is wrong with the plan, or its data is not there.
    """
    found = []
    for run in planned_runs(read_plan(plan, many=many)):
        name = run.folder.name
        config = project_root() / "_build" / "workflow" / f"{name}.yaml"
        text = run.config.to_yaml()
        if not config.is_file() or config.read_text(encoding="utf-8") != text:
            atomic_text(config, text)
        paths = {"config": short(config), "metrics": short(run.folder / "metrics.json")}
        found.append({"name": name, "label": run.label, **paths, "steps": run.steps, **needs(run, tflops)})
    return found


def needs(run: PlannedRun, tflops: float = 0.0) -> dict[str, int]:
    """Resources to ask a cluster for: `gpu`, `mem_mb` (of the host), `runtime` in minutes. An estimate.

    Time: a step is three forward passes, a multiply-add two operations (chapter 04), at a share of the
    peak rate, with a margin. Memory: the outputs of all layers, several times, and the scenes.
    """
    config, bands = run.config, run.dataset.bands
    multiplies, voxels = patch_cost(config.changed(seed=0), bands)
    rate = PEAK_SHARE * tflops if tflops else CPU_TFLOPS
    seconds = 3 * 2 * multiplies * config.batch * run.steps / (rate * 1e12)
    scenes = {region.scene for region in (*run.dataset.split.train, *run.dataset.split.test)}
    scene_bytes = sum(4 * math.prod(run.dataset.store.shape(scene)) for scene in scenes)
    step_bytes = 0 if tflops else 4 * COPIES * config.batch * voxels
    return {
        "gpu": int(tflops > 0),
        "mem_mb": PROCESS_MB + round((3 * scene_bytes + step_bytes) / 1e6),
        "runtime": START_MINUTES + math.ceil(MARGIN * seconds / 60),
    }


@lru_cache(maxsize=64)
def patch_cost(config: RunConfig, bands: int) -> tuple[int, int]:
    """Multiply-adds of one forward pass on one patch, and the voxels that its convolutions put out."""
    with torch.random.fork_rng(devices=[]):
        model = build_model(config.method, config.scale, bands, **config.model_options()).to("meta")
    with torch.device("meta"):  # shapes without values
        costs = multiply_adds(model, bands, config.patch, config.patch)
    voxels = 0
    for layer, cost in costs.items():
        weight = layer.weight
        assert isinstance(weight, torch.Tensor)
        voxels += cost // weight[0].numel()
    return sum(costs.values()), voxels


def short(path: Path) -> str:
    """`path` relative to the project's folder, where it is in it."""
    root = project_root()
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the jobs; 2 and one line on stderr when something is wrong with the plan."""
    parser = argparse.ArgumentParser(prog="python -m hsisr_core.workflow")
    parser.add_argument("plan", help="a name in book/presets, or a path to a .yaml file")
    parser.add_argument("--tflops", type=float, default=0.0, help="the GPU's peak FP32 rate; 0: no GPU")
    parser.add_argument("--yes", action="store_true", help="allow a plan of more than 200 runs")
    given = parser.parse_args(arguments)
    try:
        print(json.dumps(jobs(given.plan, given.tflops, given.yes), indent=2))
    except HsisrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
