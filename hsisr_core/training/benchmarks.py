"""What was measured by `python -m benchmarks`, as tables."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from hsisr_core.base import book_folder
from hsisr_core.errors import HsisrError

__all__ = ["WRAP", "about", "bars", "load_benchmarks", "stage_table"]

WRAP: Any = [{"selector": "td, th", "props": "white-space: normal; text-align: left"}]
"""For `Styler.set_table_styles`: long cells are wrapped, or the table is wider than the page."""
# of the time of an inference: a kind of operation below it has no row of its own
_SMALL = 0.01


def load_benchmarks(path: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Read what `python -m benchmarks --json` wrote (default: the committed `book/results/benchmarks.json`).

    Raises
    ------
    HsisrError
        The file is missing or damaged.
    """
    file = Path(path) if path else book_folder() / "results" / "benchmarks.json"
    advice = f"write it with `python -m benchmarks --json {file}`."
    try:
        results = dict(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise HsisrError(f"{file} does not exist: {advice}") from error
    except (ValueError, TypeError) as error:
        raise HsisrError(f"{file} is not valid JSON: {advice}") from error
    for key in ("quick", "machine", "rows"):
        if key not in results:
            raise HsisrError(f"{file} has no {key!r}, so it is of another version: {advice}")
    return results


def about(results: dict[str, Any]) -> pd.Series:
    """The machine class, the software and the date that the numbers belong to."""
    machine = results["machine"]
    values = {
        "cores": machine["cores"],
        "threads": machine["threads"],
        "instruction set": machine["isa"],
        "memory": f"{machine['memory_bytes'] / 1e9:.0f} GB" if machine["memory_bytes"] else "unknown",
        "system": machine["system"],
        "PyTorch": machine["versions"]["torch"],
        "measured on": machine["date"],
        "sizes": "small: a trial run, its numbers mean nothing" if results["quick"] else "full",
    }
    return pd.Series(values, name="measured with")


def bars(results: dict[str, Any], groups: Sequence[str]) -> pd.DataFrame:
    """The rows of these groups as they are printed: result (lowest to highest), what was wanted."""
    table = []
    for row in results["rows"]:
        if row["group"] not in groups:
            continue
        wanted = "" if row["at_least"] is None else f"at least {row['at_least']:.3g}"
        if row["at_most"] is not None:
            wanted = f"at most {row['at_most']:.3g}"
        verdict = {True: ", met", False: ", missed", None: ""}[row["met"]]
        spread = "" if row["low"] is None else f" ({row['low']:.3g} to {row['high']:.3g})"
        result = "not reached" if row["value"] is None else f"{row['value']:.3g} {row['unit']}{spread}"
        table.append({"measured": row["name"], "result": result, "wanted": wanted + verdict})
    return pd.DataFrame(table, columns=["measured", "result", "wanted"]).set_index("measured")


def stage_table(results: dict[str, Any], scale: int) -> pd.DataFrame:
    """Each kind of operation of an inference at `scale`: seconds, share of the time and of the best rate.

    Those of less than a hundredth of the time are one row, the last.
    """
    parts = pd.DataFrame([part for part in results.get("stages", []) if part["scale"] == scale])
    if parts.empty:
        raise HsisrError(
            f"The benchmarks hold no stages at x{scale}: run `python -m benchmarks` without --only."
        )
    small = parts["seconds"] < _SMALL * parts["seconds"].sum()
    if small.sum() > 1:
        rest = parts.loc[small, ["seconds", "gflop"]].sum()
        rate = rest["gflop"] / rest["seconds"]
        name = f"others, each below {_SMALL:.0%} of the time"
        share = rate / results["best_gflops"]
        last = pd.DataFrame([{**rest, "stage": name, "gflops": rate, "share": share}])
        parts = pd.concat([parts[~small], last])
    parts["share of time"] = parts["seconds"] / parts["seconds"].sum()
    columns = {
        "seconds": "seconds",
        "share of time": "share of time",
        "gflop": "GFLOP",
        "gflops": "GFLOP/s",
        "share": "of the best rate",
    }
    return parts.set_index("stage")[list(columns)].rename(columns=columns)
