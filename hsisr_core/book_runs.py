"""The runs that the book shows: trained before its chapters run, so that no two chapters train one."""

from __future__ import annotations

from hsisr_core.execute import BookError
from hsisr_core.plan import Plan, planned_runs
from hsisr_core.status import run_state
from hsisr_core.supervise import carry_out

__all__ = ["train_shown"]


def train_shown(plan: Plan, jobs: int = 2) -> None:
    """Carry out every run that the chapters show (`Plan.shown`); finished ones are reused.

    The networks of a small preset are so small that two workers with one thread each may do more than one
    with two; ``benchmarks/workers.py`` measures whether they do on a machine.

    Parameters
    ----------
    plan : Plan
    jobs : int
        Workers at once; they share the cores.

    Raises
    ------
    HsisrError
        A dataset is not there, or the plan has a run twice.
    BookError
        A run failed.
    """
    runs = planned_runs(plan.shown())
    carry_out(runs, jobs, brief=True)
    states = [(run, run_state(run)) for run in runs]
    failed = [(run, state) for run, state in states if state.state == "failed"]
    if failed:
        run, state = failed[0]
        others = f" ({len(failed) - 1} more failed too)" if failed[1:] else ""
        raise BookError(f"Training failed, {run.label}: {state.error}{others}\nThe run folder: {run.folder}")
