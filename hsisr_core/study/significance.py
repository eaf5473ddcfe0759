"""Does a difference mean anything: its spread over seeds and over images, and what would settle it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import t as student

from hsisr_core.data import Dataset
from hsisr_core.errors import HsisrError
from hsisr_core.runs.folder import Run
from hsisr_core.study.rows import baseline, compare_rows, paired, rows_of
from hsisr_core.training.evaluate import reduced_pairs, restore

__all__ = ["difference_table", "image_spread", "repeats_needed"]

LEVEL = 0.95
# Standard errors in a difference that a test at the 5 % level finds four times in five: 1.960 + 0.842
POWER = 2.8


def repeats_needed(spread: float, difference: float) -> float:
    """Repeats after which a true `difference` is found four times in five, by a two-sided test at the 5 % level.

    The standard error of a mean of n paired differences is ``spread / sqrt(n)``; it must be no more than
    ``|difference| / 2.8`` (normal approximation), which gives n = (2.8 spread / difference)^2, and at least 2.

    Parameters
    ----------
    spread : float
        Standard deviation of one paired difference (dB).
    difference : float
        True difference (dB).

    Returns
    -------
    float
        A whole number; inf for a difference of 0, NaN where the spread is unknown.
    """
    if not (math.isfinite(spread) and math.isfinite(difference)):
        return math.nan
    if difference == 0:
        return math.inf
    return max(2.0, math.ceil((POWER * spread / difference) ** 2))


def difference_table(name: str, runs: Sequence[Run]) -> pd.DataFrame:
    """Our differences to the baseline row, seed by seed, beside the paper's.

    Parameters
    ----------
    name : {"loss", "ablation", "block", "modules"}
    runs : sequence of Run
        Finished.

    Returns
    -------
    pandas.DataFrame
        A row for every row of the table but the baseline: ``paper`` (dB), ``mean`` (dB), ``spread`` (dB,
        standard deviation of the paired differences), ``low`` and ``high`` (dB, 95 % interval of the mean,
        Student's t), ``seeds`` (pairs), ``needed`` (seeds that would find a difference as large as the
        paper's, see `repeats_needed`). NaN for what one seed cannot tell.

    Raises
    ------
    HsisrError
        As `rows_of`.
    """
    printed = compare_rows(name, runs)["paper_difference"].to_dict()
    differences = paired(name, runs)
    rows = {}
    for label in rows_of(name, runs):
        if label == baseline(name):
            continue
        found = differences[label].dropna().to_numpy()
        count = len(found)
        mean = float(found.mean()) if count else math.nan
        spread = float(found.std(ddof=1)) if count > 1 else math.nan
        half = student.ppf(0.5 + LEVEL / 2, count - 1) * spread / math.sqrt(count) if count > 1 else math.nan
        rows[label] = {
            "paper": printed[label],
            "mean": mean,
            "spread": spread,
            "low": mean - half,
            "high": mean + half,
            "seeds": count,
            "needed": repeats_needed(spread, printed[label]),
        }
    return pd.DataFrame(rows).T


def image_spread(name: str, label: str, runs: Sequence[Run], dataset: Dataset, parts: int = 3) -> pd.Series:
    """How a row's gain over the baseline row differs from image to image, with the lowest seed that both have.

    With one test image its `parts` x `parts` equal parts stand for images. They are more alike than images of
    different scenes are, so their spread is likely too small.

    Parameters
    ----------
    name : str
        Of the table.
    label : str
        A row of it; see `row_label`.
    runs : sequence of Run
        Finished.
    dataset : Dataset
        The data of `runs`.
    parts : int
        Parts to a side of the only test image.

    Returns
    -------
    pandas.Series
        Difference of PSNR (dB), indexed by image or part.

    Raises
    ------
    HsisrError
        The row and the baseline row have no seed in common, or as `rows_of`.
    """
    groups = rows_of(name, runs)
    own, reference = ({run.config.seed: run for run in groups[key]} for key in (label, baseline(name)))
    common = sorted(set(own) & set(reference))
    if not common:
        raise HsisrError(
            f"Table {name}: {label} and {baseline(name)} have no seed in common; train both with one."
        )
    pair = own[common[0]], reference[common[0]]
    if len(dataset.test) > 1:
        scores = [
            pd.Series(
                {row["image"]: row["psnr"] for row in run.metrics["images"] if row["result"] != "bicubic"}
            )
            for run in pair
        ]
        return (scores[0] - scores[1]).rename(label)
    (lr, hr), *_ = reduced_pairs(dataset, pair[0].config.scale).values()
    new, old = (part_means(((restore(run.model(), lr) - hr) ** 2).mean(axis=0), parts) for run in pair)
    gains = 10 * np.log10(old / new)
    index = [f"part {row + 1}.{column + 1}" for row in range(parts) for column in range(parts)]
    return pd.Series(gains.ravel(), index=index, name=label)


def part_means(image: np.ndarray, parts: int) -> np.ndarray:
    """Means (parts, parts) of the equal parts of an image (height, width)."""
    strips = np.array_split(image, parts)
    return np.array([[part.mean() for part in np.array_split(strip, parts, axis=1)] for strip in strips])
