"""Preset files, and their `runs`: settings, tables and products of settings, expanded one by one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hsisr_core.base import book_folder
from hsisr_core.errors import HsisrError
from hsisr_core.paper import TABLES, table_settings

__all__ = ["PlanEntry", "count_runs", "expand", "preset_path", "preset_values"]

EXAMPLE = "`- {seed: 2}` or `- {table: loss, product: {scale: [2, 3], seed: [1, 2]}}`"


def preset_path(preset: str) -> Path:
    """The YAML file of a preset: a name in book/presets, or a path that ends in .yaml."""
    if preset.endswith((".yaml", ".yml")):
        path = Path(preset)
        if not path.is_file():
            raise HsisrError(f"Preset file {preset} does not exist.")
        return path
    folder = book_folder() / "presets"
    path = folder / f"{preset}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise HsisrError(
            f"preset {preset!r} is unknown: choose one of {names}, or give a path to a .yaml file."
        )
    return path


def preset_values(preset: str) -> dict[str, Any]:
    """The mapping in a preset file."""
    path = preset_path(preset)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise HsisrError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise HsisrError(f"{path} must hold a mapping of settings, one `name: value` a line.")
    return values


@dataclass(frozen=True)
class PlanEntry:
    """One entry of `runs`, checked for its form."""

    place: str  # in the plan, for messages
    table: str | None  # the table of the paper that it feeds
    fixed: Mapping[str, Any]
    product: Mapping[str, list[Any]]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What each row of the table sets; one row that sets nothing, where the entry names no table."""
        return table_settings(self.table) if self.table else [{}]

    @property
    def count(self) -> int:
        return len(self.rows) * math.prod(map(len, self.product.values()))


def expand(runs: Any, where: str) -> Iterator[tuple[PlanEntry, dict[str, Any]]]:
    """Yield for each run the entry that it is from, and the settings it adds to the defaults.

    An entry is one run, or as many as its ``product`` has combinations, for each row of its ``table`` where it names
    one. The last name of ``product`` varies fastest, the table slowest. Settings beside them hold for all runs of the
    entry. HsisrError when `runs` has another form, the paper has no such table, or an entry sets a name twice;
    `where` names the plan.
    """
    for entry in _entries(runs, where):
        for row in entry.rows:
            for values in itertools.product(*entry.product.values()):
                yield entry, {**entry.fixed, **row, **dict(zip(entry.product, values, strict=True))}


def count_runs(runs: Any, where: str) -> int:
    """Number of runs that `expand` yields, without expanding them: a product grows quickly."""
    return sum(entry.count for entry in _entries(runs, where))


def _entries(runs: Any, where: str) -> list[PlanEntry]:
    """The entries of `runs`, checked for their form."""
    if not isinstance(runs, list) or not runs:
        raise HsisrError(f"{where}: `runs` must be a list with at least one entry, such as {EXAMPLE}.")
    checked = []
    for number, values in enumerate(runs, start=1):
        place = f"{where}, entry {number} of runs"
        if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
            raise HsisrError(f"{place} is {values!r}: expected a mapping of settings, such as {EXAMPLE}.")
        fixed = {name: value for name, value in values.items() if name not in ("table", "product")}
        product = values.get("product", {})
        if "product" in values:
            _check_product(product, fixed, place)
        table = values.get("table")
        if "table" in values:
            _check_table(table, {*fixed, *product}, place)
        checked.append(PlanEntry(place, table, fixed, dict(product)))
    return checked


def _check_table(table: Any, names: set[str], place: str) -> None:
    """Raise HsisrError unless `table` is one of the paper's, and its rows set none of `names`."""
    if not isinstance(table, str) or table not in TABLES:
        raise HsisrError(f"{place}: table={table!r}, expected one of {', '.join(TABLES)}.")
    for name in table_settings(table)[0]:
        if name in names:
            raise HsisrError(f"{place}: {name} is set by the rows of table {table}. Leave it out here.")


def _check_product(product: Any, fixed: Mapping[str, Any], place: str) -> None:
    """Raise HsisrError unless `product` maps names that are not in `fixed` to lists that hold something."""
    if not isinstance(product, Mapping) or not product or not all(isinstance(name, str) for name in product):
        raise HsisrError(f"{place}: `product` maps each setting to a list of values, such as {EXAMPLE}.")
    for name, values in product.items():
        if not isinstance(values, list) or not values:
            raise HsisrError(f"{place}: product has {name}={values!r}, expected a list of values.")
        if name in fixed:
            raise HsisrError(f"{place}: {name} is set inside and beside product. Leave out one of them.")
