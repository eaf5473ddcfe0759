"""Estimated against measured cost of some runs on this machine: time and peak memory, as ratios.

Run by hand on a machine that does nothing else: ``python benchmarks/estimates.py [--cpu] [PLAN] [STEPS]``. Each
run is estimated in one new process and trained in another, for STEPS steps, scored half way and at the end. On a
machine that others use, ``OMP_NUM_THREADS=1`` and ``--cpu`` compare processor seconds instead of those on the wall.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time

from hsisr_core.runs import Plan, PlannedRun, RunConfig, planned_runs, read_plan, reset_peak
from hsisr_core.training import Estimate, estimate_runs, train

VARIANTS = (
    {"features": 4}, {"features": 16}, {"features": 16, "patch": 16}, {"features": 16, "batch": 16}, {"features": 32},
    {"features": 16, "scale": 4}, {"features": 16, "block": "standard"},
)  # fmt: skip


def estimate(run: PlannedRun, cpu: bool) -> Estimate:
    if cpu:
        time.perf_counter = time.process_time
    return estimate_runs([run])[0]


def measure(config: RunConfig, folder: str, cpu: bool) -> tuple[float, int]:
    """Seconds and peak bytes of one training, from its start to its last file, in a process that is warm."""
    if cpu:
        time.perf_counter = time.process_time
    train(config.changed(steps=1, evaluate_every=None), folder, progress=False)
    reset_peak()
    started = time.perf_counter()
    run = train(config, folder, progress=False)
    return time.perf_counter() - started, run.metrics["peak_bytes"]


def main() -> None:
    cpu = "--cpu" in sys.argv
    arguments = [text for text in sys.argv[1:] if text != "--cpu"]
    steps = int(arguments[1]) if len(arguments) > 1 else 40
    defaults = RunConfig.from_preset("demo")
    plan = Plan("variants", defaults, tuple((None, defaults.changed(**variant)) for variant in VARIANTS))
    if arguments:
        plan = read_plan(arguments[0])
    every = {"steps": steps, "evaluate_every": steps // 2}
    plan = Plan(plan.name, plan.defaults, tuple((None, config.changed(**every)) for config in plan.configs))
    with tempfile.TemporaryDirectory() as folder:
        runs = planned_runs(plan, folder)
        print(f"{'':<36}{'seconds':>20}{'ratio':>8}{'MB':>18}{'ratio':>8}  timed with")
        for run in runs:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                expected = pool.apply(estimate, (run, cpu))
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seconds, peak = pool.apply(measure, (run.config, folder, cpu))
            print(
                f"{run.label:<36}{expected.seconds:>8.1f} of {seconds:>8.1f}{expected.seconds / seconds:>8.2f}"
                f"{expected.bytes / 1e6:>7.0f} of {peak / 1e6:>7.0f}{expected.bytes / peak:>8.2f}  {expected.method}",
                flush=True,
            )


if __name__ == "__main__":
    main()
