"""A plan: a preset with many runs. Read, expanded and checked as a whole before anything starts."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from hsisr_core.base import AnyPath
from hsisr_core.data import Dataset, load_dataset
from hsisr_core.errors import HsisrError, describe_mistake
from hsisr_core.models import MODELS
from hsisr_core.paper import TABLES, table_settings
from hsisr_core.runs.config import EXECUTION_FIELDS, RunConfig, preset_path, preset_values
from hsisr_core.runs.folder import run_folder

EXAMPLE = "`- {seed: 2}` or `- {table: loss, product: {scale: [2, 3], seed: [1, 2]}}`"
MOST_RUNS = 10_000
Item = TypeVar("Item")


@dataclass(frozen=True)
class Plan:
    """The runs of a preset, in its order, each with the table of the paper that it feeds, if any."""

    name: str
    defaults: RunConfig
    entries: tuple[tuple[str | None, RunConfig], ...]

    @property
    def configs(self) -> tuple[RunConfig, ...]:
        """The different runs: what several tables share is one."""
        return tuple(dict.fromkeys(config for _, config in self.entries))

    def table(self, name: str) -> list[RunConfig]:
        """The runs that feed a table of the paper ("loss", ...); without any, its rows with the defaults."""
        rows = table_settings(name)
        planned = [config for table, config in self.entries if table == name]
        # a network without global residual cannot start from "interpolation"
        start = {"init": "he"} if (name, self.defaults.init) == ("ablation", "interpolation") else {}
        return planned or list(dict.fromkeys(self.defaults.changed(**start, **row) for row in rows))

    def shown(self) -> Plan:
        """The plan of all that the chapters show: the defaults, the entries, and the tables that no entry feeds."""
        fed = {table for table, _ in self.entries}
        missing = [(name, config) for name in TABLES if name not in fed for config in self.table(name)]
        return Plan(self.name, self.defaults, ((None, self.defaults), *self.entries, *missing))

    def label(self, config: RunConfig) -> str:
        """What sets `config` apart in this plan, for example "scale=2 seed=1 block=standard"."""
        parts = []
        for name, value in config:
            named = name in ("method", "scale", "seed") or value != getattr(self.defaults, name, None)
            varies = any(getattr(other, name, None) != value for other in self.configs)
            if named and varies and name not in ("source", *EXECUTION_FIELDS):
                parts.append(f"{name}={','.join(map(str, value)) if isinstance(value, tuple) else value}")
        return " ".join(parts) or f"{config.method} x{config.scale}"


@dataclass(frozen=True, eq=False)
class PlannedRun:
    """One run of a plan: its settings, its data and the folder it has or will have."""

    config: RunConfig
    dataset: Dataset
    folder: Path
    label: str

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.config.total_steps(len(self.dataset.train))


class _Entry(BaseModel, extra="allow"):
    """An entry of `runs`: settings of one run, or of one for each row of a table and combination of a product."""

    table: str | None = None
    product: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}

    def expand(self) -> Iterator[dict[str, Any]]:
        """Yield the settings of each run; the last name of `product` varies fastest, the table slowest."""
        beside = self.model_extra or {}
        if math.prod(map(len, self.product.values())) > MOST_RUNS:
            raise HsisrError(f"`product` stands for more than {MOST_RUNS:,} runs.")
        for row in table_settings(self.table) if self.table else [{}]:
            for name, count in Counter([*beside, *self.product, *row]).items():
                if count > 1:
                    raise HsisrError(f"{name} is set twice: beside `product`, in it, or by the table's rows.")
            for values in itertools.product(*self.product.values()):
                yield {**beside, **row, **dict(zip(self.product, values, strict=True))}


def read_plan(preset: str, overrides: Mapping[str, Any] | None = None) -> Plan:
    """Read the plan in a preset file; a preset without ``runs`` is a plan of one run.

    A plan is a preset (the defaults) with a key ``runs``, a list of settings for one run each, or for
    several: ``- {features: 8, product: {scale: [2, 3], seed: [1, 2]}}`` is four runs. An entry may name a
    table of the paper: ``- {table: block, product: {seed: [1, 2]}}`` is two runs for each of its rows.
    `overrides` replace settings of every run; those that are then equal are one.
    """
    where = f"plan {preset}"
    values = preset_values(preset)
    defaults = RunConfig.from_preset(preset)
    runs = _expand(values["runs"], defaults, where) if "runs" in values else [(None, defaults)]
    changes = dict(overrides or {})
    entries = dict.fromkeys((table, config.changed(**changes)) for table, config in runs)
    plan = Plan(preset_path(preset).stem, defaults.changed(**changes), tuple(entries))
    trainable = sorted(set(MODELS) - {"bicubic"})
    for config in plan.configs:
        if config.method not in trainable and config.source is None:
            raise HsisrError(
                f"{where}: method {config.method!r} cannot be trained; choose one of {', '.join(trainable)}."
            )
    return plan


def _expand(runs: Any, defaults: RunConfig, where: str) -> Iterator[tuple[str | None, RunConfig]]:
    """Yield table and settings of each run in the `runs` of a plan, which `where` names."""
    if not isinstance(runs, list) or not runs:
        raise HsisrError(f"{where}: `runs` must be a list with at least one entry, such as {EXAMPLE}.")
    for number, values in enumerate(runs, start=1):
        place = f"{where}, entry {number} of runs"
        try:
            entry = _Entry.model_validate(values)
            for settings in entry.expand():
                yield entry.table, defaults.changed(**settings)
        except ValidationError as error:
            first = error.errors()[0]
            name = "".join(f"{part!s:.40}: " for part in first["loc"])
            raise HsisrError(f"{place}: {name}{describe_mistake(first)}, such as {EXAMPLE}.") from error
        except HsisrError as error:
            listed = any(isinstance(value, list) for value in values.values())
            hint = " A list of values expands only inside `product`." if listed else ""
            raise HsisrError(f"{place}: {error}{hint}") from error


def plan_for_chapters(preset: str, overrides: Mapping[str, Any]) -> Plan:
    """The plan of a preset as chapters read it: `overrides` hold for all runs, but for those that equal the defaults,
    which ``papermill -f`` passes too: they must not undo what the plan varies."""
    defaults = RunConfig.from_preset(preset)
    changed = defaults.changed(**overrides)
    names = [name for name in overrides if getattr(changed, name) != getattr(defaults, name)]
    return read_plan(preset, {name: getattr(changed, name) for name in names})


def planned_runs(
    plan: Plan, runs: AnyPath | None = None, load: Callable[..., Dataset] = load_dataset
) -> list[PlannedRun]:
    """Load the datasets of `plan` and find the folder of each run; entries of one hash are one run, of the first."""
    load = cache(load)
    planned: dict[Path, PlannedRun] = {}
    for config in plan.configs:
        dataset = load(config.data, config.split, **config.reading)
        folder = run_folder(config, dataset.name, dataset.fingerprint, runs)
        planned.setdefault(folder, PlannedRun(config, dataset, folder, plan.label(config)))
    return list(planned.values())


def shard(items: Sequence[Item], part: str | None) -> list[Item]:
    """Part i of n of `items` for ``part = "i/n"``, i from 1 to n, dealt out like cards; all for None."""
    if part is None:
        return list(items)
    match = re.fullmatch("([0-9]+)/([0-9]+)", part)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise HsisrError(f"--shard {part}: expected i/n with i from 1 to n, for example 1/4.")
    return list(items[int(match[1]) - 1 :: int(match[2])])
