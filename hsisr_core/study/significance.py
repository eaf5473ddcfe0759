"""Does a difference mean anything: its spread over seeds and over images, and what would settle it."""

import math
from collections.abc import Sequence
from itertools import count

import pandas as pd
from scipy.stats import norm
from scipy.stats import t as student

from hsisr_core.runs import Run
from hsisr_core.study.rows import baseline, compare_rows, paired

_QUANTILES = (0.975, 0.8)  # of a test at the 5 % level that finds a difference four times in five
_LEAST = 3  # repeats: a spread from fewer says nothing


def smallest_difference(spread: float, repeats: int) -> float:
    """The true difference that so many repeats find four times in five, by a two-sided t test at the 5 % level.

    Of n paired differences of spread s it is (t_0.975 + t_0.8) s / sqrt(n), by Student's t of n - 1 degrees of freedom.
    """
    return float(student.ppf(_QUANTILES, repeats - 1).sum() * spread / math.sqrt(repeats))


def repeats_needed(spread: float, difference: float) -> float:
    """The least repeats, 3 or more, that find `difference`; inf for one of 0, NaN where the spread is unknown."""
    if not (math.isfinite(spread) and math.isfinite(difference)):
        return math.nan
    if difference == 0:
        return math.inf
    # normal quantiles are slightly smaller than Student's: the count starts a few repeats below its end
    first = max(_LEAST, math.floor((norm.ppf(_QUANTILES).sum() * spread / difference) ** 2))
    return float(next(n for n in count(first) if smallest_difference(spread, n) <= abs(difference)))


def difference_table(name: str, runs: Sequence[Run]) -> pd.DataFrame:
    """Our differences to the baseline row (dB), over pairs of the same seed, beside the paper's.

    ``low`` to ``high`` is the 95 % interval of the mean (Student's t), ``needed`` the seeds that find the paper's.
    """
    differences = paired(name, runs).drop(columns=baseline(name))
    mean, spread, seeds = differences.mean(), differences.std(), differences.count()
    half = student.ppf(_QUANTILES[0], seeds - 1) * differences.sem()
    table = pd.DataFrame(
        {"mean": mean, "spread": spread, "low": mean - half, "high": mean + half, "seeds": seeds}
    )
    table.insert(0, "paper", compare_rows(name, runs)["paper_difference"])
    needed = [repeats_needed(row["spread"], row["paper"]) for _, row in table.iterrows()]
    return table.assign(needed=needed)
