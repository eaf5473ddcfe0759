"""Two networks on one budget: as many steps each, as much processor time each, and as in the table."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from hsisr_core.paper import method_label
from hsisr_core.runs import Run, RunConfig
from hsisr_core.study.rows import origin

_FREE = {"steps", "evaluate_every", "seed"}  # what two budgets of one network may differ in
_SAME_TIME = (0.8, 1.25)  # ratios of processor seconds that count as equal
_COLUMNS = ("steps", "CPU s", "PSNR")


def with_any_steps(configs: Sequence[RunConfig], rows: Sequence[RunConfig]) -> list[RunConfig]:
    """Those of `configs`, once each, that differ from one of `rows` at most in steps and seed."""
    settings = [config.model_dump(exclude=_FREE) for config in rows]
    return [config for config in dict.fromkeys(configs) if config.model_dump(exclude=_FREE) in settings]


def compare_budgets(runs: Sequence[Run], rows: Sequence[RunConfig], methods: tuple[str, str]) -> pd.DataFrame:
    """Steps, processor seconds and PSNR (dB) of two methods of one scale, by kind of budget, with the lowest seed.

    `rows` are the configurations that stand in the table. The seconds are the steps times the least of a step over all
    `runs` of a method, since these come from several machines; NaN if all were trained on a GPU.
    """
    seed = min(run.config.seed for run in runs)
    found = pd.DataFrame(
        {
            "method": run.config.method,
            "seed": run.config.seed,
            "table": run.config in rows,
            "steps": run.metrics["steps"],
            "CPU s": run.metrics.get("processor_seconds") or np.nan,
            "PSNR": run.metrics["mean"][run.config.method]["psnr"],
        }
        for run in runs
    )
    fastest = (found["CPU s"] / found["steps"]).groupby(found["method"]).transform("min")
    found["CPU s"] = fastest * found["steps"]
    one, other = (found[(found["seed"] == seed) & (found["method"] == method)] for method in methods)
    labels = [method_label(method) for method in methods]
    both = one.merge(other, "cross", suffixes=[f" {label}" for label in labels])
    steps, seconds, psnr, in_table = (
        [both[f"{name} {label}"] for label in labels] for name in (*_COLUMNS, "table")
    )
    kinds = {
        "as in Table V": in_table[0] & in_table[1],
        "at equal steps": steps[0] == steps[1],
        "at equal time": (seconds[0] / seconds[1]).between(*_SAME_TIME),
    }
    both["difference"] = psnr[0] - psnr[1]
    columns = [f"{name} {label}" for name in _COLUMNS for label in labels] + ["difference"]
    table = pd.concat({kind: both.loc[chosen, columns] for kind, chosen in kinds.items()}).droplevel(1)
    table.attrs["ours"] = f"x{rows[0].scale}, {origin([run for run in runs if run.config.seed == seed])}"
    return table


def show_budgets(table: pd.DataFrame) -> Styler:
    """The table of `compare_budgets` as it stands in a chapter."""
    formats = {name: "{:.2f}" if str(name).startswith("PSNR") else "{:,.0f}" for name in table}
    return table.style.format({**formats, "difference": "{:+.2f}"}, na_rep="–").set_caption(
        f"{table.attrs['ours']}. PSNR and difference in dB."
    )
