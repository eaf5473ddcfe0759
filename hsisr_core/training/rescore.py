"""Score finished runs again, or on other data."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hsisr_core.data import Dataset, load_dataset
from hsisr_core.errors import HsisrError
from hsisr_core.runs.folder import Run, read_run
from hsisr_core.runs.plan import shard
from hsisr_core.runs.results import COLUMNS, run_folders
from hsisr_core.training.evaluate import evaluate, reduced_pairs

__all__ = ["Scored", "finished_runs", "rescore", "score_frame"]


@dataclass(frozen=True, eq=False)
class Scored:
    """A run, the data it was scored on, and a row per image and method (see `evaluate`)."""

    run: Run
    dataset: Dataset
    rows: list[dict[str, Any]]


def finished_runs(folder: Path, part: str | None = None) -> list[Run]:
    """The run in `folder`, or the finished runs in the folders inside it; part i of n for ``part = "i/n"``.

    The parts are dealt out before anything is left out, so they fit together while runs are still being
    trained. What is not finished or no run folder is left out with a warning that names it.

    Raises
    ------
    HsisrError
        There is no finished run in `folder`.
    """
    inside = [path for path in run_folders(folder) if (path / "config.yaml").is_file()]
    if (folder / "config.yaml").is_file() or not inside:
        return [read_run(folder)]
    runs = []
    for path in shard(inside, part):
        try:
            run = read_run(path)
        except HsisrError as error:
            warnings.warn(f"{path} is left out: {error}", stacklevel=2)
            continue
        if run.finished:
            runs.append(run)
        else:
            warnings.warn(f"{path} is left out: it is not finished.", stacklevel=2)
    return runs


def rescore(
    run: Run, data: str | None = None, split: str | None = None, self_ensemble: bool = False
) -> Scored:
    """Score the network of `run` on its own test images, or on those of `data` and `split`; also its self-ensemble.

    Raises
    ------
    HsisrError
        The weights are missing or damaged, the data is not there or has other bands.
    """
    dataset = load_dataset(data or run.config.data, split or (None if data else run.config.split))
    pairs = reduced_pairs(dataset, run.config.scale)
    rows = evaluate(run.model(), pairs, run.config.method, self_ensemble=self_ensemble)
    return Scored(run, dataset, rows)


def score_frame(scored: Sequence[Scored]) -> pd.DataFrame:
    """A row per run and image, with the columns of `load_results`; ``data`` and ``split`` are those scored on."""
    rows = []
    for item in scored:
        metrics = item.run.metrics
        shared = item.run.config.to_dict() | {
            "run": item.run.folder.name,
            "dataset": item.dataset.name,
            "split": item.dataset.split.name,
            "fingerprint": item.dataset.fingerprint,
            "trained_steps": metrics["steps"],
            "seconds": metrics["seconds"],
            "parameters": metrics["parameters"],
        }
        rows += [shared | row for row in item.rows]
    return pd.DataFrame(rows, columns=None if rows else list(COLUMNS))
