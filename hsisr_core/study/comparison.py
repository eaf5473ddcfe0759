"""Table V of the paper beside ours: every method at every scale on every dataset, also those without data."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.io.formats.style import Styler
from pandas.io.formats.style_render import CSSDict

from hsisr_core.data import DATASETS, Dataset, commands, missing_datasets
from hsisr_core.errors import HsisrError
from hsisr_core.models import build_model
from hsisr_core.paper import (
    DATA_NAMES,
    METHOD_NAMES,
    PADDED,
    SUCCESSORS,
    method_label,
    paper_table,
    successor_table,
)
from hsisr_core.runs import Run, RunConfig
from hsisr_core.study.rows import COSTS, SHOWN, UNITS, origin, style_table
from hsisr_core.training import evaluate, mean_scores, reduced_pairs, super_resolve_clipped

_KEYS = ["data", "scale", "method"]


def one_per_row(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """The first configuration of each data, scale, method and seed.

    A plan may train a method differently at each scale. One value of `scale` for all of them, as a chapter's
    parameter, makes these the same row: the plan's first is the one to show.
    """
    rows: dict[Any, RunConfig] = {}
    for config in configs:
        rows.setdefault((config.data, config.split, config.scale, _label(config), config.seed), config)
    return list(rows.values())


def run_scores(run: Run, rows: Sequence[Mapping[str, Any]] | None = None) -> list[dict[str, Any]]:
    """Means over the images of a finished run: its method, and bicubic on the same bands and pixels.

    ``border`` are the pixels left out on each side. `rows` are from `evaluate`; None: those the run has stored.
    """
    metrics = run.metrics
    found = [dict(row) for row in rows or metrics["images"]]
    base = mean_scores(found, "bicubic")["psnr"]
    records = []
    for result in dict.fromkeys(row["result"] for row in found):
        means = mean_scores(found, result)
        trained = result != "bicubic"
        records.append(
            {
                "data": DATA_NAMES.get(metrics["dataset"], metrics["dataset"]),
                "scale": run.config.scale,
                "method": _label(run.config) + "+" * result.endswith("+") if trained else result,
                **{metric: means[metric] for metric in SHOWN},
                "over_bicubic": means["psnr"] - base,
                "bands": found[0]["scored_bands"],
                "border": found[0]["scored_border"],
                **{cost: metrics[cost] if trained else np.nan for cost in COSTS[:2]},
            }
        )
    return records


def ensemble_scores(run: Run) -> list[dict[str, Any]]:
    """As `run_scores`, of the mean over the eight symmetries alone (the field's "+"); eight times the work."""
    pairs = reduced_pairs(run.config.load_dataset(), run.config.scale)
    rows = evaluate(run.model(), pairs, run.config.method, self_ensemble=True)
    return [record for record in run_scores(run, rows) if record["method"].endswith("+")]


def by_row(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each row of the table, one for each seed, by method and scale (and data), such as "EDSR x2"."""
    rows: dict[str, list[Run]] = {}
    for run, place in zip(runs, _places(runs), strict=True):
        rows.setdefault(f"{_label(run.config)} {place}", []).append(run)
    return rows


def learning_curves(runs: Sequence[Run]) -> dict[str, dict[str, list[pd.DataFrame]]]:
    """For `method_curves`: a panel per scale and data; the history of each run, with ``over_bicubic`` (dB)."""
    ordered = sorted(runs, key=_run_order)
    panels: dict[str, dict[str, list[pd.DataFrame]]] = {}
    for run, place in zip(ordered, _places(ordered), strict=True):
        history = run.history()
        gain = history.assign(over_bicubic=history["psnr"] - run.metrics["mean"]["bicubic"]["psnr"])
        panels.setdefault(place, {}).setdefault(_label(run.config), []).append(gain)
    return panels


def at_largest_scale(runs: Sequence[Run]) -> list[Run]:
    """A run of each method at the largest scale of all, on the data of the first run, with its lowest seed."""
    here = [run for run in runs if run.fingerprint == runs[0].fingerprint]
    scale = max(run.config.scale for run in here)
    chosen: dict[str, Run] = {}
    for run in sorted(here, key=lambda run: (_run_order(run), run.config.seed)):
        if run.config.scale == scale:
            chosen.setdefault(_label(run.config), run)
    return list(chosen.values())


def super_resolve_each(runs: Sequence[Run], lr: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
    """SR of one LR cube by bicubic and by each run (all of one scale); NaN where a method gives no value."""
    models = {"bicubic": build_model("bicubic", runs[0].config.scale, len(lr))}
    models |= {_label(run.config): run.model() for run in runs}
    return {label: super_resolve_clipped(model, lr) for label, model in models.items()}


def compare_methods(runs: Sequence[Run], more: Sequence[Mapping[str, Any]] = ()) -> pd.DataFrame:
    """Every row of Table V, ours beside the paper's where the data is the same; other data stands first.

    The columns of `run_scores`, as means over the seeds, NaN where there is no run; the paper's begin with
    ``paper_``. Bicubic is scored on all bands and pixels, if one of the runs is. `more` are from `ensemble_scores`.
    """
    if not runs:
        raise HsisrError("There is no run to compare; give at least one.")
    ours = pd.DataFrame([*(record for run in runs for record in run_scores(run)), *more])
    ours = ours[ours["border"] == ours.groupby(_KEYS)["border"].transform("min")]
    printed = paper_table("comparison").rename(columns={"dataset": "data"})
    printed["method"] = printed["method"].map(METHOD_NAMES)
    printed = printed.set_index(_KEYS)[list(SHOWN)]
    bicubic = printed["psnr"].where(printed.index.get_level_values("method") == "bicubic")
    printed["over_bicubic"] = printed["psnr"] - bicubic.groupby(level=_KEYS[:2]).transform("max")
    table = printed.add_prefix("paper_").join(ours.groupby(_KEYS).mean(), how="outer")
    table = table.loc[sorted(table.index, key=_order)]
    kinds = dict.fromkeys(run.fingerprint for run in runs)
    groups = ([run for run in runs if run.fingerprint == kind] for kind in kinds)
    table.attrs["ours"] = "; ".join(origin(group) for group in groups)
    return table


def data_needed(dataset: Dataset, preset: str) -> dict[str, str]:
    """Commands for each dataset of the paper but `dataset`: that get it or, where it is prepared, that train on it."""
    missing = missing_datasets()
    return {
        DATA_NAMES[name]: "; ".join(commands(name))
        if name in missing
        else f"hsisr runs {preset} --data {name}"
        for name in DATASETS
        if name != dataset.name
    }


def show_comparison(table: pd.DataFrame, needed: Mapping[str, str]) -> Styler:
    """The table of `compare_methods` as it stands in the chapter, the best of each scale in bold.

    Among ours, bold goes to the best of those scored on all bands and pixels; in "over bicubic" to the best of all,
    since there each is compared with bicubic on what it is scored on. `needed` is from `data_needed`.
    """
    layout = {
        **{f"paper_{metric}": ("paper", UNITS[metric]) for metric in SHOWN},
        **{metric: ("ours", UNITS[metric]) for metric in SHOWN},
        "over_bicubic": ("ours", "over bicubic (dB)"),
        **{name: ("ours", name) for name in COSTS[:2]},
        "scored_on": ("ours", "scored on"),
    }
    places = zip(table.index.get_level_values("data"), table.to_dict("records"), strict=True)
    shown = table.assign(scored_on=[_scored_on(data, row, needed) for data, row in places])
    bold = _bold(table).reindex(columns=list(layout), fill_value="")
    background = "background: var(--pst-color-background, white)"
    styles: list[CSSDict] = [
        {"selector": "th, td", "props": "padding: 0.25rem 0.4rem"},
        {"selector": "thead th", "props": "min-width: 0"},
        {"selector": "th.index_name, th.col_heading.level0", "props": "text-align: left"},
        {"selector": "th.row_heading", "props": "vertical-align: top; text-align: left"},
        # the method stays in sight when a narrow page scrolls the table
        {"selector": "th.row_heading.level2", "props": f"position: sticky; left: 0; {background}"},
        {"selector": f"td.col{len(layout) - 1}", "props": "text-align: left"},
    ]
    return (
        style_table(shown, layout)
        .format_index("x{}", level="scale")
        .format_index(lambda method: str(method).replace(", ", ",<br>"), level="method")
        .apply(lambda cells: bold.set_axis(cells.columns, axis=1), axis=None)
        .set_table_styles(styles)
        .set_caption(
            f"Table V. Ours: {table.attrs['ours']}. Bold: the best at each scale, as in the paper; of ours, the best "
            'of those scored on all bands and pixels, and in "over bicubic" of all. Where there is no number of ours, '
            "the last column says what it needs."
        )
    )


def compare_successors(table: pd.DataFrame) -> pd.DataFrame:
    """SSRNet and the networks after it: their printed numbers, and ours from the table of `compare_methods`.

    ``over_ssrnet`` is the PSNR minus that of SSRNet on the same data at the same scale, NaN where one is missing or
    misprinted; in ``paper_over_ssrnet`` both are printed.
    """
    printed = successor_table().rename(columns={"dataset": "data"})
    printed["method"] = printed["method"].map(SUCCESSORS)
    printed = printed.set_index(_KEYS)
    own = METHOD_NAMES["ssrnet"]
    kept = table[table.index.isin([own, *SUCCESSORS.values()], level="method")]
    joined = kept.combine_first(printed.drop(columns="misprint").add_prefix("paper_"))
    joined = joined.loc[sorted(joined.index, key=_order)]
    for side in ("", "paper_"):
        base = joined[f"{side}psnr"].where(joined.index.get_level_values("method") == own)
        joined[f"{side}over_ssrnet"] = joined[f"{side}psnr"] - base.groupby(level=_KEYS[:2]).transform("max")
    joined.loc[printed.index[printed["misprint"]], "paper_over_ssrnet"] = np.nan
    joined.attrs = table.attrs
    return joined


def show_successors(table: pd.DataFrame) -> Styler:
    """The table of `compare_successors` as it stands in the chapter."""
    over = "over SSRNet (dB)"
    layout = {
        **{f"paper_{metric}": ("printed", UNITS[metric]) for metric in SHOWN},
        "paper_over_ssrnet": ("printed", over),
        **{metric: ("ours", UNITS[metric]) for metric in SHOWN},
        "over_ssrnet": ("ours", over),
        "parameters": ("ours", "parameters"),
        "steps": ("ours", "updates"),
    }
    styler = style_table(table, layout).format_index("x{}", level="scale")
    for metric, digits in {"psnr": 3, "ssim": 4, "sam": 3}.items():
        styler = styler.format(precision=digits, subset=[("printed", UNITS[metric])], na_rep="–")
    return styler.set_caption(
        f"After the paper. Ours: {table.attrs['ours']}. SSRNet's printed numbers are those of Table V, truncated."
    )


def _scored_on(data: str, row: Mapping[Any, Any], needed: Mapping[str, str]) -> str:
    """On what a row is scored; or, as HTML, the commands that it needs to have a number."""
    if np.isfinite(row["psnr"]):
        border = f", without {row['border']:.0f} pixels at the border" if row["border"] else ""
        return f"{row['bands']:.0f} bands{border}"
    if data not in needed:
        return "not trained"
    lines = (f"<code>{html.escape(line)}</code>" for line in needed[data].split("; "))
    return f"needs {data}: {'; '.join(lines)}"


def _bold(table: pd.DataFrame) -> pd.DataFrame:
    """CSS of each value: bold for the best of each dataset and scale (of SAM the least); ties are all bold."""
    levels = _KEYS[:2]
    whole = (table["border"] == 0) & (table["bands"] == table.groupby(levels)["bands"].transform("max"))
    values = table[[f"paper_{name}" for name in SHOWN]].join(table[list(SHOWN)].where(whole))
    values["over_bicubic"] = table["over_bicubic"]
    signed = values * [-1 if str(name).endswith("sam") else 1 for name in values]
    best = signed == signed.groupby(level=levels).transform("max")
    return best.replace({True: "font-weight: bold", False: ""})


def _label(config: RunConfig) -> str:
    return method_label(config.method, config.keep_size)


def _places(runs: Sequence[Run]) -> list[str]:
    """Scale of each run, and the name of its data where there are several: "x2" or "x2, cave"."""
    several = len({run.fingerprint for run in runs}) > 1
    return [f"x{run.config.scale}" + f", {run.metrics['dataset']}" * several for run in runs]


def _order(row: tuple[str, int, str]) -> tuple[Any, ...]:
    """Where a row stands: other data first; as in the paper, then what came after; variants behind their method."""
    data, scale, method = row
    known = [*DATA_NAMES.values(), "Pavia Centre"]
    name = method.removesuffix("+").removesuffix(PADDED)
    names = [*METHOD_NAMES.values(), *SUCCESSORS.values()]
    order = names.index(name) if name in names else len(names)
    return (known.index(data) if data in known else -1, data, scale, order, method)


def _run_order(run: Run) -> tuple[Any, ...]:
    return _order(("", run.config.scale, _label(run.config)))
