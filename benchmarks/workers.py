"""Two workers with one thread each against one with two, on the small runs of the book.

Run by hand: ``python benchmarks/workers.py [STEPS]``. It trains four small runs of the demo plan both ways and
prints the seconds and their ratio. It needs a machine that does nothing else.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hsisr_core.runs import Plan

RUNS = 4


def seconds(plan: Plan, jobs: int) -> float:
    """Time to carry out `plan` with `jobs` workers that share the cores, start of the workers included."""
    # Not at the top, which the workers run before they know their share of the threads.
    from hsisr_core.runs import carry_out, planned_runs
    from hsisr_core.train import train

    with tempfile.TemporaryDirectory() as folder:
        runs = planned_runs(plan, folder)
        started = time.perf_counter()
        carry_out(runs, train, jobs)
        return time.perf_counter() - started


def main() -> None:
    from hsisr_core.runs import Plan, read_plan

    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    os.environ.pop("OMP_NUM_THREADS", None)  # the workers then share the cores
    demo = read_plan("demo")
    small = demo.table("block")[-1]
    runs = [small.changed(seed=seed, steps=steps, evaluate_every=None) for seed in range(1, RUNS + 1)]
    plan = Plan("workers", demo.defaults, tuple((None, run) for run in runs))
    times = {jobs: seconds(plan, jobs) for jobs in (1, 2)}
    print(f"{RUNS} runs of {steps} steps, {os.cpu_count()} cores")
    print(f"one worker with all threads {times[1]:.1f} s, two that share them {times[2]:.1f} s")
    print(f"ratio {times[1] / times[2]:.2f}")


if __name__ == "__main__":
    main()
