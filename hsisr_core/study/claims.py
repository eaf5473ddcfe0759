"""What the paper claims, and what our runs say of it: holds, does not hold, or cannot be told."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from hsisr_core.degrade import SCALES
from hsisr_core.paper import METHOD_NAMES, TABLES, method_label, paper_table, paper_value, table_settings
from hsisr_core.runs import Run
from hsisr_core.study.rows import row_label, rows_of

# by table: its chapter, and pairs of a row that is said to be better, or as good, and the other
_CLAIMS = {
    "comparison": ("10-comparison", [
        ("SSRNet", "bicubic"), ("SSRNet", "EDSR"), ("EDSR", "3D-FCNN"), ("3D-FCNN", "GDRRN"), ("GDRRN", "bicubic"),
    ]),
    "loss": ("06-losses", [("L1", "MSE"), ("MSE", "0.5 MSE + 0.5 SAM")]),
    "ablation": ("07-fusion-and-residuals", [("LFF + GRL", "GRL"), ("LFF + GRL", "LFF")]),
    "block": ("08-separable-or-standard", [("separable", "standard")]),
    "modules": ("09-how-many-modules", [("D = 3", "D = 4"), ("D = 3", "D = 5")]),
}  # fmt: skip
_WORDS = {
    "LFF + GRL over GRL": "local fusion helps (LFF + GRL over GRL)",
    "LFF + GRL over LFF": "the global residual helps (LFF + GRL over LFF)",
}
# dB that "as good" allows for
_MARGINS = {"block": 0.1, "modules": 0.1}


def image_gains(
    better: Sequence[Run], worse: Sequence[Run] | None = None, metric: str = "psnr"
) -> pd.DataFrame:
    """PSNR (dB), or another metric, of `better` minus that of `worse` (None: bicubic).

    A row per test image, a column per common seed.
    """
    own = _scores(better, metric)
    other = _scores(better, metric, "bicubic") if worse is None else _scores(worse, metric)
    return (own - other).dropna(axis="columns", how="all")


def judge_gains(gains: pd.DataFrame, margin: float = 0.0) -> dict[str, Any]:
    """What `image_gains` say of "better by more than -`margin` dB": their mean, its 95 % interval, the verdict.

    The standard error of the mean over m images and n seeds is sqrt(s_image^2 / m + s_seed^2 / n), its degrees of
    freedom are those of Welch and Satterthwaite; ``strict`` is the verdict with min(m, n) - 1 of them. One seed or one
    image cannot tell.
    """
    images, seeds = gains.mean(axis="columns"), gains.mean()
    mean = float(images.mean())
    parts = np.array([images.sem(), seeds.sem()]) ** 2
    several = np.array(gains.shape) - 1
    degrees = (parts.sum() ** 2 / (parts**2 / several).sum(), several.min())
    half, wider = (float(student.ppf(0.975, freedom) * math.sqrt(parts.sum())) for freedom in degrees)
    return {
        "ours": mean,
        "low": mean - half,
        "high": mean + half,
        "verdict": _verdict(mean, half, margin),
        "strict": _verdict(mean, wider, margin),
        "images": len(images),
        "better": int((images > 0).sum()),
        "seeds": len(seeds),
    }


def judge_claims(runs: Mapping[str, Sequence[Run]]) -> pd.DataFrame:
    """Each claim of the paper on the runs of each table: `judge_gains`, and the paper's difference on CAVE (dB).

    Claims are judged by PSNR; ``sam``, ``sam_low``, ``sam_high`` and ``paper_sam`` are the differences in SAM
    (degrees), negative where the claim's better row has the smaller angle.
    """
    rows = []
    for table, (chapter, claims) in _CLAIMS.items():
        for scale in sorted({run.config.scale for run in runs.get(table, ())} & {*SCALES}) or [2]:
            here = [run for run in runs.get(table, ()) if run.config.scale == scale and not run.config.blur]
            groups, printed = _groups(table, here), _printed(table, scale)
            for better, worse in claims:
                claim = f"{better} {'as good as' if table in _MARGINS else 'over'} {worse}"
                ours, other = groups.get(better) or [], groups.get(worse) or []
                row = {
                    "table": TABLES[table][0], "chapter": chapter, "scale": scale, "other": worse,
                    "filters": {run.config.features for run in [*ours, *other]},
                    "steps": {run.metrics["steps"] for run in [*ours, *other]},
                    "claim": _WORDS.get(claim, claim),
                    "paper": printed["psnr"][better] - printed["psnr"][worse],
                    "paper_sam": printed["sam"][better] - printed["sam"][worse], "verdict": "not trained",
                }  # fmt: skip
                if ours and (worse == "bicubic" or other):
                    row |= judge_gains(image_gains(ours, other or None), _MARGINS.get(table, 0.0))
                    row["below"] = -image_gains(other).to_numpy().mean() if other else math.nan
                    sam = judge_gains(image_gains(ours, other or None, "sam"))
                    row |= {"sam": sam["ours"], "sam_low": sam["low"], "sam_high": sam["high"]}
                rows.append(row)
    return pd.DataFrame(rows)


def list_claims(table: pd.DataFrame) -> str:
    """The rows of `judge_claims` as lists in HTML, one for each table and scale: a line each, or one for those open."""
    text = ""
    trained = table[table["verdict"] != "not trained"]
    for (name, chapter, scale), rows in trained.groupby(["table", "chapter", "scale"], sort=False):
        budget = [_spread(set.union(*rows[column])) + f" {column}" for column in ("filters", "steps")]
        lines = map(_line, rows.to_dict("records"))
        text += f'<p><a href="{chapter}.html">{name}, x{scale}</a> ({", ".join(budget)}):</p>'
        text += f"<ul>{''.join(f'<li>{line}</li>' for line in lines)}</ul>"
    missing = table[table["verdict"] == "not trained"].to_dict("records")
    open_claims = [f'<a href="{row["chapter"]}.html">{row["claim"]}, x{row["scale"]}</a>' for row in missing]
    return text + f"<p><b>not trained</b>: {'; '.join(open_claims)}</p>" * bool(open_claims)


def _verdict(mean: float, half: float, margin: float) -> str:
    """What the interval of `mean`, `half` to either side, says of "better by more than -`margin`"."""
    if mean - half > -margin:
        return "holds"
    return "does not hold" if mean + half < -margin else "cannot be told"


def _line(row: Mapping[Any, Any]) -> str:
    """A claim, its verdict, and the numbers behind it."""
    found = f"{row['ours']:+.2f} dB, better on {row['better']:.0f} of {row['images']:.0f} scenes"
    if row["low"] <= row["high"]:
        found += f", {row['seeds']:.0f} seeds, 95 % from {row['low']:+.2f} to {row['high']:+.2f}"
    alone = ", one seed" * (row["seeds"] == 1)
    weak = f"; {row['other']} is {row['below']:.2f} dB below bicubic" if row["below"] > 0 else ""
    return (
        f"{row['claim']}: <b>{row['verdict']}{alone}</b> ({found}; SAM {row['sam']:+.2f}°; "
        f"paper, CAVE: {row['paper']:+.2f} dB{weak})"
    )


def _spread(counts: set[int]) -> str:
    """One number, or the least and the most of several."""
    return " to ".join(f"{count:,}" for count in sorted({min(counts), max(counts)}))


def _scores(runs: Sequence[Run], metric: str, result: str = "") -> pd.DataFrame:
    """A metric by image (rows) and seed (columns), of the runs' methods or of `result`."""
    columns = {}
    for run in runs:
        images = pd.DataFrame(run.metrics["images"]).set_index(["result", "image"])[metric]
        columns[run.config.seed] = images[result or run.config.method]
    return pd.DataFrame(columns)


def _groups(table: str, runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each row of a table, by its label; 3D-FCNN stands for itself where it keeps all bands."""
    if table != "comparison":
        return rows_of(table, runs) if runs else {}
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if run.config.keep_size or run.config.method != "3d-fcnn":
            groups.setdefault(method_label(run.config.method), []).append(run)
    return groups


def _printed(table: str, scale: int) -> pd.DataFrame:
    """The paper's scores of each row, on CAVE."""
    if table == "comparison":
        values = [paper_value("CAVE", scale, method) for method in METHOD_NAMES]
        return pd.DataFrame(values, list(METHOD_NAMES.values()))
    return paper_table(table).set_axis([row_label(table, row) for row in table_settings(table)])
