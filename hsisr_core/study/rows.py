"""Tables I to IV beside ours: a row per setting, our mean over seeds, differences to the paper's network."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from hsisr_core.errors import HsisrError
from hsisr_core.paper import blur_label, data_label, method_label, paper_table, table_settings
from hsisr_core.runs import EXECUTION_FIELDS, Run, RunConfig, find_run, read_plan, results_folder
from hsisr_core.training import train

_LOSS_LABELS = {"l1": "L1", "mse": "MSE", "0.5*mse+0.5*sam": "0.5 MSE + 0.5 SAM"}
SHOWN = ("psnr", "ssim", "sam")
UNITS = {"psnr": "PSNR (dB)", "ssim": "SSIM", "sam": "SAM (°)", "difference": "difference (dB)"}
COSTS = ("parameters", "steps", "processor_seconds")
# headings of wide tables, whose captions give the units
SHORT = {
    "psnr": "PSNR", "ssim": "SSIM", "sam": "SAM", "difference": "Δ", "spread": "±", "over_bicubic": "gain",
    "processor_seconds": "CPU s",
}  # fmt: skip
_FORMATS = {
    "psnr": "{:.2f}", "ssim": "{:.4f}", "sam": "{:.2f}",
    "paper_psnr": "{:.2f}", "paper_ssim": "{:.3f}", "paper_sam": "{:.2f}",
    "again_psnr": "{:.2f}", "again_ssim": "{:.4f}", "again_sam": "{:.2f}",
    "spread": "{:.2f}", "difference": "{:+.2f}", "paper_difference": "{:+.2f}", "over_bicubic": "{:+.2f}",
    "paper_over_bicubic": "{:+.2f}", "over_ssrnet": "{:+.2f}", "paper_over_ssrnet": "{:+.2f}",
    "scored_on": None,
}  # fmt: skip
_VALIDATION = ("-tune", "-five")  # ends of the names of splits whose test scenes are of the training side
_LATE = 0.05  # dB gained late in a training: more is not converged


def row_label(name: str, row: Mapping[str, Any]) -> str:
    """A row of a table in words, for example "LFF + GRL", "D = 3" or "separable"."""
    if name == "ablation":
        return " + ".join(["LFF"] * row["local_fusion"] + ["GRL"] * row["global_residual"]) or "neither"
    if name == "modules":
        return f"D = {row['modules']}"
    value = str(row[name])
    return _LOSS_LABELS.get(value, value)


def baseline(name: str) -> str:
    """Label of the row that stands for the paper's own network, to which differences are taken."""
    own = RunConfig()
    return next(row_label(name, row) for row in table_settings(name) if _has(own, row))


def rows_of(name: str, runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each row of a table, by its label, in the paper's order and by seed.

    HsisrError where they differ in more than that: then a difference between rows has more than one cause.
    """
    if not runs:
        raise HsisrError(f"There is no run of table {name}; give at least one.")
    rows = table_settings(name)
    # the fingerprint stands for data and split
    free = {*rows[0], "seed", "data", "split", *EXECUTION_FIELDS}
    for setting in ("fingerprint", *(name for name in RunConfig.model_fields if name not in free)):
        values = {getattr(run if setting == "fingerprint" else run.config, setting) for run in runs}
        if len(values) > 1:
            listed = ", ".join(sorted(map(str, values)))
            differ = f"The runs of table {name} differ in {setting} ({listed}), which is none of its rows"
            raise HsisrError(f"{differ}. Choose one value in the plan, or as a parameter of the chapter.")
    ordered = sorted(runs, key=lambda run: run.config.seed)
    return {row_label(name, row): [run for run in ordered if _has(run.config, row)] for row in rows}


def get_runs(configs: Sequence[RunConfig]) -> list[Run]:
    """The finished runs of `configs`, trained now where they are not finished.

    Where some of them came with the book, the others take hours: then only those that are finished.
    """
    found = [run for config in configs if (run := find_run(config))]
    if any((results_folder() / run.config.preset / run.folder.name).is_dir() for run in found):
        return found
    return [train(config) for config in configs]


def paired(name: str, runs: Sequence[Run]) -> pd.DataFrame:
    """Each run's PSNR minus that of the baseline row with the same seed: a row per seed, a column per row."""
    scores = {
        label: pd.Series({run.config.seed: _scores(run)["psnr"] for run in group}, dtype=float)
        for label, group in rows_of(name, runs).items()
    }
    table = pd.DataFrame(scores).rename_axis("seed")
    return table.sub(table[baseline(name)], axis=0)


def compare_rows(name: str, runs: Sequence[Run]) -> pd.DataFrame:
    """The paper's row (``paper_...``) and ours, means over the seeds, for every row of a table; NaN without a run.

    Differences are those of runs with the same seed to the baseline row, ``spread`` the PSNR's standard deviation. Of
    costs the least is taken: a seed may come from a slower machine. ``again_...`` are those of `runs` that the book has
    and that were trained here again.
    """
    runs, again = book_and_again(runs)
    live = rows_of(name, again) if again else {}
    rows = {}
    for label, group in rows_of(name, runs).items():
        columns = [*SHOWN, "over_bicubic", *COSTS]
        scores = pd.DataFrame([_scores(run) for run in group], columns=columns, dtype=float)
        means = {**scores.mean(), **scores[[*COSTS]].min()}
        here = pd.DataFrame([_scores(run) for run in live.get(label, [])], columns=[*SHOWN], dtype=float)
        seeds = {"spread": scores["psnr"].std(), "seeds": len(group)}
        rows[label] = {**means, **here.mean().add_prefix("again_"), **seeds}
    table = pd.DataFrame(rows).T.assign(difference=paired(name, runs).mean())
    printed = paper_table(name)
    table[[f"paper_{metric}" for metric in SHOWN]] = printed[list(SHOWN)].to_numpy()
    table["paper_difference"] = table["paper_psnr"] - float(table["paper_psnr"][baseline(name)])
    table.attrs = {"table": printed.attrs["table"], "ours": belongs_to(runs), "baseline": baseline(name)}
    return table


def book_and_again(runs: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """Each of `runs` as the book has it, if it does; and those of them that were trained here again."""
    found = [(run, run.of_the_book) for run in runs]
    return [book or run for run, book in found], [run for run, book in found if book and not run.committed]


def gain_curve(run: Run) -> pd.DataFrame:
    """The history of a run with ``over_bicubic``, its PSNR minus that of bicubic (dB)."""
    history = run.history()
    return history.assign(over_bicubic=history["psnr"] - run.metrics["mean"]["bicubic"]["psnr"])


def row_curves(groups: Mapping[str, Sequence[Run]]) -> dict[str, dict[str, list[pd.DataFrame]]]:
    """For `method_curves`: the `gain_curve` of each run of each row, whole and in the second half of the steps."""
    whole = {label: [gain_curve(run) for run in runs] for label, runs in groups.items() if runs}
    half = max(curve["step"].max() for curves in whole.values() for curve in curves) / 2
    late = {label: [curve[curve["step"] >= half] for curve in curves] for label, curves in whole.items()}
    return {"all steps": whole, "second half": late}


def show_tries(preset: str) -> Styler:
    """The finished runs of a plan as they stand in a chapter: the settings in which they differ, and their scores."""
    runs = get_runs(read_plan(preset).configs)
    settings = pd.DataFrame([run.config.to_dict() for run in runs]).drop(columns=list(EXECUTION_FIELDS))
    settings["method"] = [method_label(run.config.method) for run in runs]
    settings["precision"] = settings["precision"].replace("no", "float32")
    differ = [name for name in settings if settings[name].map(str).nunique() > 1]
    scores = pd.DataFrame([_scores(run) for run in runs])[[*SHOWN, "over_bicubic"]]
    table = settings[differ].join(scores).sort_values("method", ascending=False, kind="stable")
    return (
        table.rename(columns=lambda name: SHORT.get(name, str(name).replace("_", " ")))
        .style.format({SHORT[name]: _FORMATS[name] for name in (*SHOWN, "over_bicubic")})
        .format("{:g}", subset=["learning rate"] if "learning_rate" in differ else [])
        .format("{:,}", subset=["steps"] if "steps" in differ else [])
        .hide(axis="index")
        .set_caption(
            f"x{runs[0].config.scale}, {origin(runs)}; PSNR and gain over bicubic in dB, SAM in degrees"
        )
    )


def belongs_to(runs: Sequence[Run]) -> str:
    """What the numbers of `runs` belong to: preset, data, split, scale, seeds, steps, and bicubic's scores there."""
    steps = sorted({run.metrics["steps"] for run in runs})
    bicubic = "bicubic {psnr:.2f} dB, {sam:.2f}°".format(**runs[0].metrics["mean"]["bicubic"])
    taken = " or ".join(f"{count:,}" for count in steps)
    return f"x{runs[0].config.scale}, {origin(runs)}, {taken} steps; {bicubic}"


def origin(runs: Sequence[Run]) -> str:
    """Preset, data, split, seeds of `runs`, all of one dataset; where they were trained, and in which low precision."""
    metrics = runs[0].metrics
    seeds = sorted({run.config.seed for run in runs})
    split = metrics["split"]
    data = data_label(metrics["dataset"]) + blur_label(runs[0].config.blur)
    role = "validation" if split["name"].endswith(_VALIDATION) else "test"
    places = sorted({"from the book" if run.committed else "trained here" for run in runs})
    low = [run.config for run in runs if run.config.precision != "no"]
    coarse = sorted({f"{method_label(one.method)} x{one.scale} in {one.precision}" for one in low})
    return (
        f"preset {runs[0].config.preset}, {data} (split {split['name']}, {role}: {', '.join(split['test'])}), "
        f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}, {' and '.join(places)}"
        f"{', ' * bool(coarse)}{', '.join(coarse)}"
    )


def show_rows(table: pd.DataFrame) -> Styler:
    """The table of `compare_rows` as it stands in a chapter: *paper | ours*, with what the numbers belong to."""
    layout = {
        **{f"paper_{name}": ("paper, CAVE x2", SHORT[name]) for name in (*SHOWN, "difference")},
        **{name: ("ours", SHORT[name]) for name in (*SHOWN, "spread", "difference", "over_bicubic")},
        **{f"again_{name}": ("trained here again", SHORT[name]) for name in SHOWN},
        **{name: ("one training", SHORT.get(name, name)) for name in COSTS},
    }
    # one seed has no spread
    layout = {name: place for name, place in layout.items() if table[name].notna().any()}
    spread = "; means over the seeds, ± their standard deviation" if "spread" in layout else ""
    missing = table.index[table["psnr"].isna()]
    left = f" Not trained: {', '.join(missing)}." if len(missing) else ""
    return style_table(table, layout).set_caption(
        f"{table.attrs['table']}. Ours: {table.attrs['ours']}{spread}. PSNR, the difference (Δ) to "
        f'"{table.attrs["baseline"]}" and the gain over bicubic in dB, SAM in degrees.{left}'
    )


def style_table(table: pd.DataFrame, layout: Mapping[str, tuple[str, str]]) -> Styler:
    """The columns of `layout` under its headings, (paper or ours, quantity), each in its format."""
    columns = pd.MultiIndex.from_tuples(list(layout.values()))
    formats: dict[Any, Any] = {heading: _FORMATS.get(name, "{:,.0f}") for name, heading in layout.items()}
    return table[list(layout)].set_axis(columns, axis=1).style.format(formats, na_rep="–")


def not_converged(groups: Mapping[str, Sequence[Run]]) -> str:
    """In Markdown: which groups of runs are below bicubic, or gained late (a flat end proves nothing).

    Late gains are not asked of a cosine schedule: there each training gains at its end, however long it is.
    """
    below, gaining, asked = [], [], False
    for label, group in groups.items():
        over = np.mean([_scores(run)["over_bicubic"] for run in group]) if group else np.nan
        late = [_late_gain(run) for run in group if run.config.schedule != "cosine"]
        gain, first, last = np.mean(late or [(np.nan,) * 3], axis=0)
        asked |= bool(late)
        if over < 0:
            below.append(f"{label} (by {-over:.2f} dB)")
        elif gain > _LATE:
            gaining.append(f"{label} ({gain:+.2f} dB from step {first:,.0f} to {last:,.0f})")
    if not below and not gaining:
        late_text = f" or gained more than {_LATE} dB late in its training" * asked
        return f"**No row is below bicubic{late_text}.**"
    texts = []
    if below:
        texts += [f"**Below bicubic:** {'; '.join(below)}. Such rows learn slowly or not what PSNR asks for."]
    if gaining:
        texts += [f"**Not converged:** {'; '.join(gaining)}. Such rows say how fast they learn, not how far."]
    return " ".join(texts)


def _has(config: RunConfig, row: Mapping[str, Any]) -> bool:
    return all(getattr(config, setting) == value for setting, value in row.items())


def _scores(run: Run) -> dict[str, float]:
    """Means over the images, and what the training cost."""
    metrics = run.metrics
    means = metrics["mean"][run.config.method]
    return {
        **{metric: means[metric] for metric in SHOWN},
        "over_bicubic": means["psnr"] - metrics["mean"]["bicubic"]["psnr"],
        **{cost: metrics.get(cost) or np.nan for cost in COSTS},  # 0.1.0 counted none, a GPU has none
    }


def _late_gain(run: Run) -> tuple[float, ...]:
    """PSNR (dB) gained from the first score after half of the steps to the last, and their steps; NaN without both."""
    curve = run.history().dropna(subset="psnr")
    late = curve.loc[curve["step"] >= curve["step"].max() / 2, ["psnr", "step"]].to_numpy()
    return (late[-1, 0] - late[0, 0], late[0, 1], late[-1, 1]) if len(late) > 1 else (np.nan,) * 3
