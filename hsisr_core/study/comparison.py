"""Table V of the paper beside ours: every method at every scale on every dataset, also those without data."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.io.formats.style import Styler

from hsisr_core import paper
from hsisr_core.data import DATASETS, commands, missing_datasets
from hsisr_core.errors import HsisrError
from hsisr_core.models import build_model
from hsisr_core.runs import Run, RunConfig
from hsisr_core.study.rows import COSTS, SHORT, SHOWN, book_and_again, gain_curve, origin, style_table
from hsisr_core.training import evaluate, mean_scores, reduced_pairs, super_resolve_clipped

_KEYS = ["data", "scale", "method"]
_FCNN = paper.METHOD_NAMES["3d-fcnn"]


def one_per_row(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """The first configuration of each data, scale, blur, method and seed: what a chapter's `scale` makes one row."""
    rows: dict[Any, RunConfig] = {}
    for config in configs:
        place = (config.data, config.split, config.scale, config.blur)
        rows.setdefault((*place, _label(config), config.seed), config)
    return list(rows.values())


def run_scores(run: Run, rows: Sequence[Mapping[str, Any]] | None = None) -> list[dict[str, Any]]:
    """Means over the images of a finished run: its method, and bicubic on the same bands and pixels.

    ``border`` are the pixels left out on each side. `rows` are from `evaluate`; None: those the run has stored.
    """
    metrics = run.metrics
    found = [dict(row) for row in rows or metrics["images"]]
    base = mean_scores(found, "bicubic")["psnr"]
    data = paper.data_label(metrics["dataset"]) + paper.blur_label(run.config.blur)
    place = {"data": data, "scale": run.config.scale}
    scored = {"bands": found[0]["scored_bands"], "border": found[0]["scored_border"]}
    records = []
    for result in dict.fromkeys(row["result"] for row in found):
        means = mean_scores(found, result)
        record = {metric: means[metric] for metric in SHOWN} | {"over_bicubic": means["psnr"] - base}
        if result != "bicubic":
            record |= {cost: metrics.get(cost) or np.nan for cost in COSTS}
            result = _label(run.config) + "+" * result.endswith("+")
        records.append({**place, "method": result, **scored, **record})
    return records


def ensemble_scores(run: Run) -> list[dict[str, Any]]:
    """As `run_scores`, of the mean over the eight symmetries alone (the field's "+"); eight times the work."""
    pairs = reduced_pairs(run.config.load_dataset(), run.config.scale, run.config.blur)
    rows = evaluate(run.model(), pairs, run.config.method, self_ensemble=True)
    return [record for record in run_scores(run, rows) if record["method"].endswith("+")]


def by_row(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each row of the table, one for each seed, by method and scale (and data), such as "EDSR x2"."""
    rows: dict[str, list[Run]] = {}
    for run, place in zip(runs, _places(runs), strict=True):
        rows.setdefault(f"{_label(run.config)} {place}", []).append(run)
    return rows


def learning_curves(runs: Sequence[Run], timed: bool = False) -> dict[str, dict[str, list[pd.DataFrame]]]:
    """For `method_curves`: a panel per scale and data; the `gain_curve` of each run.

    `timed` puts processor seconds in place of steps: the least that a run of this row took, evenly over its steps. Rows
    that were not timed on a processor are left out.
    """
    ordered, rows = sorted(runs, key=_run_order), by_row(runs)
    panels: dict[str, dict[str, list[pd.DataFrame]]] = {}
    for run, place in zip(ordered, _places(ordered), strict=True):
        curve = gain_curve(run)
        if timed:
            row = rows[f"{_label(run.config)} {place}"]
            seconds = min(other.metrics.get("processor_seconds") or np.inf for other in row)
            if seconds == np.inf:
                continue
            curve["step"] = curve["step"] / run.metrics["steps"] * seconds
        panels.setdefault(place, {}).setdefault(_label(run.config), []).append(curve)
    return panels


def at_largest_scale(runs: Sequence[Run]) -> list[Run]:
    """A run of each method at the largest scale of all, on the data of the first run, with its lowest seed."""
    here = [run for run in runs if _data(run) == _data(runs[0])]
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

    The columns of `run_scores`, as means over the seeds (of costs the least), with their count ``seeds`` and the PSNR's
    standard deviation ``spread``, NaN where there is no run; the paper's begin with ``paper_``, those of the book's
    runs that were trained here again with ``again_``. Bicubic is scored on all bands and pixels, if one of the runs is.
    `more` are from `ensemble_scores`.
    """
    if not runs:
        raise HsisrError("There is no run to compare; give at least one.")
    runs, again = book_and_again(runs)
    ours = pd.DataFrame([*(record for run in runs for record in run_scores(run)), *more])
    ours = ours[ours["border"] == ours.groupby(_KEYS)["border"].transform("min")]
    printed = paper.paper_table("comparison").rename(columns={"dataset": "data"})
    printed["method"] = printed["method"].map(paper.METHOD_NAMES)
    printed = printed.set_index(_KEYS)[list(SHOWN)]
    bicubic = printed["psnr"].where(printed.index.get_level_values("method") == "bicubic")
    printed["over_bicubic"] = printed["psnr"] - bicubic.groupby(level=_KEYS[:2]).transform("max")
    how = {name: "min" if name in COSTS else "mean" for name in ours.columns.drop(_KEYS)}
    rows = ours.groupby(_KEYS)
    means = rows.agg(how)
    network = means["steps"].notna()
    means = means.assign(spread=rows["psnr"].std().where(network), seeds=rows.size().where(network))
    table = printed.add_prefix("paper_").join(means, how="outer")
    here = pd.DataFrame([record for run in again for record in run_scores(run)], columns=[*_KEYS, *SHOWN])
    table = table.join(here.groupby(_KEYS).mean().add_prefix("again_"))
    table = table.loc[sorted(table.index, key=_order)]
    kinds = dict.fromkeys(map(_data, runs))
    groups = ([run for run in runs if _data(run) == kind] for kind in kinds)
    table.attrs["ours"] = "; ".join(origin(group) for group in groups)
    return table


def data_needed(dataset: str, preset: str) -> str:
    """Markdown: the commands that get each dataset of the paper but `dataset` or, once prepared, train on it."""
    text, missing = "", missing_datasets()
    for name in DATASETS:
        if name != dataset:
            lines = commands(name) if name in missing else [f"hsisr runs {preset} --data {name}"]
            text += f"- {paper.DATA_NAMES[name]}: {'; '.join(f'`{line}`' for line in lines)}\n"
    return text


def show_comparison(table: pd.DataFrame, title: str = "Table V") -> Styler:
    """The rows of `compare_methods` on our data and scales, scenes of CAVE beside the paper's rows of CAVE.

    Beside scenes of CAVE the paper's 3D-FCNN stands in the row of ours with padding, where that alone was trained.
    """
    groups = table.groupby(level=_KEYS[:2], sort=False)
    here = [place for place, rows in groups if rows["psnr"].notna().any()]
    subsets = {data for data, _ in here if data in paper.SUBSETS.values()}
    attrs, printed = table.attrs, table.filter(like="paper_")
    for subset in subsets:
        trained = table.xs(subset, level="data").index.unique("method")
        renamed = {"CAVE": subset}
        if _FCNN + paper.PADDED in trained and _FCNN not in trained:
            renamed[_FCNN] = _FCNN + paper.PADDED
        table = table.combine_first(printed.loc[["CAVE"]].rename(index=renamed))
    table = table.loc[sorted((row for row in table.index if row[:2] in here), key=_order)]
    source = "paper, CAVE" if subsets else "paper"
    layout = {
        **{f"paper_{name}": (source, SHORT[name]) for name in (*SHOWN, "over_bicubic")},
        **{name: ("ours", SHORT.get(name, name)) for name in (*SHOWN, "over_bicubic", "spread", "seeds")},
        **{f"again_{name}": ("trained here again", SHORT[name]) for name in SHOWN},
        **{name: ("one training", SHORT.get(name, name)) for name in COSTS},
        "scored_on": ("", "scored on"),
    }
    shown = table.assign(scored_on=list(map(_scored_on, table.to_dict("records"))))
    if shown["scored_on"].nunique() == 1:
        layout.pop("scored_on")
    layout = {name: place for name, place in layout.items() if shown[name].notna().any()}
    bold = _bold(table).reindex(columns=list(layout), fill_value="")
    styler = style_table(shown, layout)
    if table.index.get_level_values("data").nunique() == 1:
        styler = styler.hide(axis="index", level="data")  # the caption has it, and the table fits the page
    return (
        styler.format_index("x{}", level="scale")
        .apply(lambda cells: bold.set_axis(cells.columns, axis=1), axis=None)
        .set_caption(
            f"{title}. Ours: {attrs['ours']}. Means over the seeds, ± the standard deviation of PSNR; PSNR and gain "
            "over bicubic in dB, SAM in degrees. Bold: the best at each scale; of ours, the best of those scored on "
            "all bands and pixels, and of all in gain."
        )
    )


def compare_successors(table: pd.DataFrame) -> pd.DataFrame:
    """SSRNet and the networks after it: their printed numbers, and ours from the table of `compare_methods`.

    ``over_ssrnet`` and ``paper_over_ssrnet``: PSNR minus SSRNet's on the same data; NaN where missing or misprinted.
    """
    printed = paper.successor_table().rename(columns={"dataset": "data"})
    printed["method"] = printed["method"].map(paper.SUCCESSORS)
    printed = printed.set_index(_KEYS)
    own = paper.METHOD_NAMES["ssrnet"]
    kept = table[table.index.isin([own, *paper.SUCCESSORS.values()], level="method")]
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
    over = "over SSRNet"
    layout = {
        **{f"paper_{metric}": ("printed", SHORT[metric]) for metric in SHOWN},
        "paper_over_ssrnet": ("printed", over),
        **{metric: ("ours", SHORT[metric]) for metric in SHOWN},
        "over_ssrnet": ("ours", over),
        "parameters": ("ours", "parameters"),
        "steps": ("ours", "steps"),
    }
    styler = style_table(table, layout).format_index("x{}", level="scale")
    own = [row for row in table.index if row[2] == paper.METHOD_NAMES["ssrnet"]]
    for metric, digits in {"psnr": 2, "ssim": 3, "sam": 2}.items():
        column: list[Any] = [("printed", SHORT[metric])]
        styler = styler.format(precision=digits + 1, subset=column, na_rep="–")
        styler = styler.format(precision=digits, subset=(own, column), na_rep="–")
    return styler.set_caption(
        f"After the paper. Ours: {table.attrs['ours']}. PSNR and differences in dB, SAM in degrees; SSRNet's printed "
        "numbers are those of Table V, cut off."
    )


def _scored_on(row: Mapping[Any, Any]) -> str:
    """On what a row is scored."""
    if not np.isfinite(row["psnr"]):
        return "not trained"
    return f"{row['bands']:.0f} bands" + f", {row['border']:.0f} px less" * bool(row["border"])


def _bold(table: pd.DataFrame) -> pd.DataFrame:
    """CSS of each value: bold for the best of each dataset and scale (of SAM the least); ties are all bold."""
    levels = _KEYS[:2]
    whole = (table["border"] == 0) & (table["bands"] == table.groupby(levels)["bands"].transform("max"))
    printed = [f"paper_{name}" for name in (*SHOWN, "over_bicubic")]
    values = table[[*printed, "over_bicubic"]].join(table[list(SHOWN)].where(whole))
    signed = values * [-1 if str(name).endswith("sam") else 1 for name in values]
    best = signed == signed.groupby(level=levels).transform("max")
    return best.replace({True: "font-weight: bold", False: ""})


def _label(config: RunConfig) -> str:
    return paper.method_label(config.method, config.keep_size)


def _places(runs: Sequence[Run]) -> list[str]:
    """Scale of each run, and the name of its data where there are several: "x2" or "x2, cave"."""
    several = len({_data(run) for run in runs}) > 1
    names = [run.metrics["dataset"] + paper.blur_label(run.config.blur) for run in runs]
    return [f"x{run.config.scale}" + f", {name}" * several for run, name in zip(runs, names, strict=True)]


def _data(run: Run) -> tuple[Any, ...]:
    """What the LR and HR cubes of a run come of, but for the scale."""
    return run.fingerprint, run.config.blur


def _order(row: tuple[str, int, str]) -> tuple[Any, ...]:
    """Where a row stands: other data first; as in the paper, then what came after; variants behind their method."""
    data, scale, method = row
    known = [*paper.DATA_NAMES.values(), "Pavia Centre"]
    name = method.removesuffix("+").removesuffix(paper.PADDED)
    names = [*paper.METHOD_NAMES.values(), *paper.SUCCESSORS.values()]
    order = names.index(name) if name in names else len(names)
    return (known.index(data) if data in known else -1, data, scale, order, method)


def _run_order(run: Run) -> tuple[Any, ...]:
    return _order(("", run.config.scale, _label(run.config)))
