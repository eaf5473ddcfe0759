"""What Snakemake needs to know of a plan: one job a run, with its settings, its result and what it will need.

``python -m hsisr_core.workflow PLAN`` writes each run's settings to ``_build/workflow/<run>.yaml`` and prints the
jobs as JSON. workflow/Snakefile calls it, because Snakemake lives in an environment of its own, without PyTorch.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hsisr_core.base.files import atomic_text
from hsisr_core.base.paths import project_root
from hsisr_core.errors import HsisrError
from hsisr_core.runs.plan import PlannedRun, planned_runs, read_plan
from hsisr_core.training.estimate import (
    PASSES,
    PEAK_SHARE,
    data_bytes,
    gpu_rate,
    lr_sizes,
    patch_multiply_adds,
    scoring_bytes,
    scoring_multiply_adds,
    train_bytes,
)

__all__ = ["jobs", "needs"]

CPU_TFLOPS = 0.02  # that two cores sustain; 0.03 was measured with the demo preset
PROCESS_MB = 1500  # Python and PyTorch
START_MINUTES = 10
MARGIN = 2.0  # a job that is stopped at its limit loses the steps since its last checkpoint


def jobs(
    plan: str, overrides: Mapping[str, Any] | None = None, gpu: str | None = None, many: bool = False
) -> list[dict[str, Any]]:
    """The jobs of a plan; writes the settings of each run to a file, which is the input of its job.

    Parameters
    ----------
    plan : str
        Name in ``book/presets``, or path of a ``.yaml`` file.
    overrides : mapping, optional
        Settings that replace those of every run.
    gpu : str, optional
        The GPU that a job gets, a name in `hsisr_core.training.estimate.GPUS`; None for jobs without one.
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
        What is wrong with the plan, its data is not there, or the GPU is unknown.
    """
    found = []
    for run in planned_runs(read_plan(plan, overrides, many=many)):
        name = run.folder.name
        config = project_root() / "_build" / "workflow" / f"{name}.yaml"
        text = run.config.to_yaml()
        if not config.is_file() or config.read_text(encoding="utf-8") != text:
            atomic_text(config, text)
        paths = {"config": short(config), "metrics": short(run.folder / "metrics.json")}
        found.append({"name": name, "label": run.label, **paths, "steps": run.steps, **needs(run, gpu)})
    return found


def needs(run: PlannedRun, gpu: str | None = None) -> dict[str, int]:
    """Resources to ask a cluster for: `gpu`, `mem_mb` (of the host), `runtime` in minutes.

    An estimate (hsisr_core/estimate.py) with a margin. It measures nothing, because every job asks again on
    its own node and must get the same answer.
    """
    config, dataset = run.config, run.dataset
    scorings = 1 + (run.steps // config.evaluate_every if config.evaluate_every else 0)
    training = run.steps * PASSES * config.batch * patch_multiply_adds(config, dataset.bands)
    flop = 2 * (training + scorings * scoring_multiply_adds(config, dataset))
    rate = PEAK_SHARE * gpu_rate(gpu)[1] if gpu else CPU_TFLOPS
    scoring = max(scoring_bytes(config, dataset.bands, size) for size in lr_sizes(config, dataset))
    tensors = 0 if gpu else max(train_bytes(config, dataset.bands), scoring)
    return {
        "gpu": int(gpu is not None),
        "mem_mb": PROCESS_MB + math.ceil(MARGIN * (tensors + data_bytes(config, dataset)) / 1e6),
        "runtime": START_MINUTES + math.ceil(MARGIN * flop / (rate * 1e12) / 60),
    }


def short(path: Path) -> str:
    """`path` relative to the project's folder, where it is in it."""
    root = project_root()
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the jobs; 2 and one line on stderr when something is wrong with the plan."""
    parser = argparse.ArgumentParser(prog="python -m hsisr_core.workflow")
    parser.add_argument("plan", help="a name in book/presets, or a path to a .yaml file")
    parser.add_argument("--data", help="the data of every run; default: what the plan says")
    parser.add_argument("--gpu", help="the GPU of a job, for example a100; default: none")
    parser.add_argument("--yes", action="store_true", help="allow a plan of more than 200 runs")
    given = parser.parse_args(arguments)
    try:
        overrides = {"data": given.data} if given.data else {}
        print(json.dumps(jobs(given.plan, overrides, given.gpu, given.yes), indent=2))
    except HsisrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
