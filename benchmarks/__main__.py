"""Measure everything side by side, and print each bar as a ratio: ``python -m benchmarks``.

    python -m benchmarks                      all of it: half an hour to an hour on two cores, 8 GB of memory
    python -m benchmarks --only score         one group
    python -m benchmarks --quick              small sizes: does it work? Its numbers mean nothing
    python -m benchmarks --json results.json  write what was measured, for chapter "What it costs"
    python -m benchmarks --resume folder      keep what was measured there; started again, it goes on where it was

Run it on a machine that does nothing else. The engines that people would pick are measured where they are installed:
pip install -e .[engines]. Of their own, for what is not in a bar: ``python -m benchmarks.prepare``
(datasets), ``python -m benchmarks.results`` (the table of runs), ``python -m benchmarks.estimates`` (estimates).
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import Settings
from benchmarks.suite import GROUPS, Row
from hsisr_core.base import write_json
from hsisr_core.training import git_commit, versions


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(GROUPS), help="this group; may be repeated")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each way, in turns (default 3)")
    parser.add_argument("--resume", type=Path, metavar="FOLDER", help="keep measurements, reuse those there")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the results to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.resume or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        rounds = 1 if arguments.quick else max(1, arguments.rounds)
        measure(Settings(arguments.quick, rounds, folder), arguments.only or [*GROUPS], arguments.json)


def measure(settings: Settings, groups: Sequence[str], out: Path | None) -> None:
    """Measure these groups, print their rows, and write them to `out`."""
    result: dict[str, Any] = {"quick": settings.quick, "machine": machine(), "rows": []}
    print(f"{result['machine']['cores']} cores, {result['machine']['isa']}, PyTorch {torch.__version__}")
    if settings.quick:
        print("A quick run: sizes are small and the numbers mean nothing.")
    for name in groups:
        print(f"\n{name}", flush=True)
        rows, tables = GROUPS[name](settings)
        for row in rows:
            print(line(row), flush=True)
        for engine, reason in tables.get("engines_left_out", {}).items():
            print(f"  {engine} was not measured: {reason}")
        result["rows"] += [{"group": name, **row.to_dict()} for row in rows]
        result |= tables
        if out:  # after each group: an hour's work survives an interruption
            write_json(out, result)


def machine() -> dict[str, Any]:
    """What the numbers belong to: class of the machine, software, date. Nothing that names the machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    return {
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "isa": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "memory_bytes": memory,
        "system": platform.system(),
        "versions": versions(),
        "commit": git_commit(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def line(row: Row) -> str:
    """One result as text: value, spread, bar, and the two measured numbers behind it."""
    both = "" if row.ours is None or row.plain is None else f"ours {row.ours:.4g}, plain {row.plain:.4g}"
    return f"  {row.name:<60} {row.result:<40} {row.wanted:<22} {both}".rstrip()


if __name__ == "__main__":
    main()
