"""The `runs` of a plan: a list of settings and products of settings, expanded one by one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from hsisr_core.errors import HsisrError

__all__ = ["count_runs", "expand"]

EXAMPLE = "`- {seed: 2}` or `- product: {scale: [2, 3], seed: [1, 2]}`"


def expand(runs: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each run's place in the plan and the settings it adds to the defaults.

    Parameters
    ----------
    runs : list of mapping
        Each entry is one run, or as many as its ``product`` has combinations. Values of ``product`` are
        lists; the last name varies fastest. Settings beside ``product`` hold for all its runs.
    where : str
        The plan's name, for messages.

    Raises
    ------
    HsisrError
        `runs` has another form, or an entry sets a name both inside and beside its product.
    """
    for place, fixed, product in entries(runs, where):
        for values in itertools.product(*product.values()):
            yield place, fixed | dict(zip(product, values, strict=True))


def count_runs(runs: Any, where: str) -> int:
    """Number of runs that `expand` yields, without expanding them: a product grows quickly."""
    return sum(math.prod(map(len, product.values())) for _, _, product in entries(runs, where))


def entries(runs: Any, where: str) -> list[tuple[str, dict[str, Any], dict[str, list[Any]]]]:
    """Place, fixed settings and product of each entry, checked for their form."""
    if not isinstance(runs, list) or not runs:
        raise HsisrError(f"{where}: `runs` must be a list with at least one entry, such as {EXAMPLE}.")
    checked = []
    for number, entry in enumerate(runs, start=1):
        place = f"{where}, entry {number} of runs"
        if not isinstance(entry, Mapping) or not all(isinstance(name, str) for name in entry):
            raise HsisrError(f"{place} is {entry!r}: expected a mapping of settings, such as {EXAMPLE}.")
        fixed = {name: value for name, value in entry.items() if name != "product"}
        product = entry.get("product", {})
        if "product" in entry:
            check_product(product, fixed, place)
        checked.append((place, fixed, dict(product)))
    return checked


def check_product(product: Any, fixed: Mapping[str, Any], place: str) -> None:
    """Raise HsisrError unless `product` maps names that are not in `fixed` to lists that hold something."""
    if not isinstance(product, Mapping) or not product or not all(isinstance(name, str) for name in product):
        raise HsisrError(f"{place}: `product` maps each setting to a list of values, such as {EXAMPLE}.")
    for name, values in product.items():
        if not isinstance(values, list) or not values:
            raise HsisrError(f"{place}: product has {name}={values!r}, expected a list of values.")
        if name in fixed:
            raise HsisrError(f"{place}: {name} is set inside and beside product. Leave out one of them.")
