"""What the paper claims, and what our runs say of it: holds, does not hold, or cannot be told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from scipy.stats import t as student

from hsisr_core.paper import METHOD_NAMES, paper_table, paper_value, table_settings
from hsisr_core.runs import Run
from hsisr_core.study.rows import row_label, rows_of

# a row that is said to be better, and the other; "as good" allows for a difference of _MARGIN
_BETTER = {
    "comparison": (
        ("SSRNet", "bicubic"),
        ("SSRNet", "EDSR"),
        ("EDSR", "3D-FCNN"),
        ("3D-FCNN", "GDRRN"),
        ("GDRRN", "bicubic"),
    ),
    "loss": (("L1", "MSE"), ("MSE", "0.5 MSE + 0.5 SAM")),
    "ablation": (("LFF + GRL", "GRL"), ("LFF + GRL", "LFF")),
}
_AS_GOOD = {"block": (("separable", "standard"),), "modules": (("D = 3", "D = 4"), ("D = 3", "D = 5"))}
_MARGIN = 0.1  # dB
_CHAPTERS = {
    "comparison": "10-comparison", "loss": "06-losses", "ablation": "07-fusion-and-residuals",
    "block": "08-separable-or-standard", "modules": "09-how-many-modules",
}  # fmt: skip


def image_gains(better: Sequence[Run], worse: Sequence[Run] | None = None) -> pd.DataFrame:
    """PSNR of `better` minus that of `worse` (None: bicubic), dB: a row per test image, a column per common seed."""
    own = _scores(better)
    other = _scores(better, "bicubic") if worse is None else _scores(worse)
    return (own - other).dropna(axis="columns", how="all")


def judge_gains(gains: pd.DataFrame, margin: float = 0.0) -> dict[str, Any]:
    """What `image_gains` say of "better by more than -`margin` dB": their mean, its 95 % interval, the verdict.

    The standard error of the mean over m images and n seeds is sqrt(s_image^2 / m + s_seed^2 / n), with Student's t of
    min(m, n) - 1 degrees of freedom: one seed or one image cannot tell.
    """
    images, seeds = gains.mean(axis="columns"), gains.mean()
    mean, half = float(images.mean()), math.nan
    if min(gains.shape) > 1:
        error = math.sqrt(images.var() / len(images) + seeds.var() / len(seeds))
        half = float(student.ppf(0.975, min(gains.shape) - 1)) * error
    verdict = "cannot be told"
    if mean - half > -margin:
        verdict = "holds"
    elif mean + half < -margin:
        verdict = "does not hold"
    found = {"ours": mean, "low": mean - half, "high": mean + half, "verdict": verdict}
    return found | {"images": len(images), "better": int((images > 0).sum()), "seeds": len(seeds)}


def judge_claims(runs: Mapping[str, Sequence[Run]]) -> pd.DataFrame:
    """Each claim of the paper on the runs of each table: `judge_gains`, and the paper's difference on CAVE (dB)."""
    rows = []
    for table in _CHAPTERS:
        for scale in sorted({run.config.scale for run in runs.get(table, ())}) or [2]:
            here = [run for run in runs.get(table, ()) if run.config.scale == scale]
            groups, printed = _groups(table, here), _printed(table, scale)
            for better, worse in (*_BETTER.get(table, ()), *_AS_GOOD.get(table, ())):
                row = {
                    "table": paper_table(table).attrs["table"], "chapter": _CHAPTERS[table], "scale": scale,
                    "claim": f"{better} {'as good as' if table in _AS_GOOD else 'over'} {worse}",
                    "paper": printed[better] - printed[worse], "verdict": "not trained",
                }  # fmt: skip
                if groups.get(better) and (worse == "bicubic" or groups.get(worse)):
                    gains = image_gains(groups[better], groups.get(worse))
                    row |= judge_gains(gains, _MARGIN if table in _AS_GOOD else 0.0)
                rows.append(row)
    return pd.DataFrame(rows)


def list_claims(table: pd.DataFrame) -> str:
    """The rows of `judge_claims` as a list in HTML, linked to their chapters: a line each, or one for those open."""
    links = [f'<a href="{row.chapter}.html">{row.claim}, x{row.scale}</a>' for row in table.itertuples()]
    lines = []
    for link, row in zip(links, table.to_dict("records"), strict=True):
        if row["verdict"] in ("holds", "does not hold"):
            found = f"{row['ours']:+.2f} dB, better on {row['better']:.0f} of {row['images']:.0f} scenes"
            lines.append(
                f"{link}: <b>{row['verdict']}</b> ({found}, {row['seeds']:.0f} seeds; paper, CAVE: "
                f"{row['paper']:+.2f} dB)"
            )
    for verdict in ("cannot be told", "not trained"):
        some = [link for link, own in zip(links, table["verdict"], strict=True) if own == verdict]
        lines += [f"<b>{verdict}</b>: {'; '.join(some)}"] if some else []
    return f"<ul>{''.join(f'<li>{line}</li>' for line in lines)}</ul>"


def _scores(runs: Sequence[Run], result: str = "") -> pd.DataFrame:
    """PSNR by image (rows) and seed (columns), of the runs' methods or of `result`."""
    columns = {}
    for run in runs:
        images = pd.DataFrame(run.metrics["images"]).set_index(["result", "image"])["psnr"]
        columns[run.config.seed] = images[result or run.config.method]
    return pd.DataFrame(columns)


def _groups(table: str, runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each row of a table, by its label; 3D-FCNN stands for itself where it keeps all bands."""
    if not runs or table != "comparison":
        return rows_of(table, runs) if runs else {}
    whole = [run for run in runs if run.config.keep_size or run.config.method != "3d-fcnn"]
    names = {METHOD_NAMES[run.config.method] for run in whole if run.config.method in METHOD_NAMES}
    return {name: [run for run in whole if METHOD_NAMES.get(run.config.method) == name] for name in names}


def _printed(table: str, scale: int) -> dict[str, float]:
    """The paper's PSNR of each row, on CAVE (dB)."""
    if table == "comparison":
        return {name: paper_value("CAVE", scale, method)["psnr"] for method, name in METHOD_NAMES.items()}
    labels = [row_label(table, row) for row in table_settings(table)]
    return dict(zip(labels, paper_table(table)["psnr"], strict=True))
