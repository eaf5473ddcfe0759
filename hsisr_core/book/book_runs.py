"""The runs that the book shows: trained before its chapters run, so that no two chapters train one."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from hsisr_core.book.execute import BookError
from hsisr_core.runs import Plan, PlannedRun, Train, carry_out, planned_runs, read_run, run_state

__all__ = ["all_runs", "train_shown"]


def train_shown(plan: Plan, train: Train, jobs: int | None = None) -> None:
    """Carry out every run that the chapters show (`Plan.shown`); finished ones are reused.

    The networks of a small preset are so small that two workers with one thread each may do more than one
    with two; ``benchmarks/workers.py`` measures whether they do on a machine.

    Parameters
    ----------
    plan : Plan
    train : callable
        What carries out one run: `hsisr_core.train.train`.
    jobs : int, optional
        Workers at once; they share the cores. Default: as many as cores.

    Raises
    ------
    HsisrError
        A dataset is not there, or the plan has a run twice.
    BookError
        A run failed.
    """
    runs = planned_runs(plan.shown())
    carry_out(runs, train, jobs)
    states = [(run, run_state(run)) for run in runs]
    failed = [(run, state) for run, state in states if state.state == "failed"]
    if failed:
        run, state = failed[0]
        others = f" ({len(failed) - 1} more failed too)" if failed[1:] else ""
        raise BookError(f"Training failed, {run.label}: {state.error}{others}\nThe run folder: {run.folder}")


def all_runs(runs: Sequence[PlannedRun]) -> pd.DataFrame:
    """What each finished run of a plan took and came to, a row per run, in the plan's order.

    Returns
    -------
    pandas.DataFrame
        Indexed by the run's label: ``steps``, ``seconds`` of training, ``parameters``, ``PSNR (dB)``, ``over
        bicubic (dB)`` on the same bands and pixels, ``SSIM``, ``SAM (°)``: means over the test images.
    """
    rows = {}
    for run in runs:
        if not (run.folder / "metrics.json").is_file():
            continue
        metrics = read_run(run.folder).metrics
        ours, bicubic = metrics["mean"][run.config.method], metrics["mean"]["bicubic"]
        rows[run.label] = {
            "steps": metrics["steps"],
            "seconds": metrics["seconds"],
            "parameters": metrics["parameters"],
            "PSNR (dB)": ours["psnr"],
            "over bicubic (dB)": ours["psnr"] - bicubic["psnr"],
            "SSIM": ours["ssim"],
            "SAM (°)": ours["sam"],
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("run")
