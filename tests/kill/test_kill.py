"""SIGKILL at random moments, HSISR_KILLS times each (default 3): the results are the undisturbed ones, bit for bit.

A training is killed as one process; of a plan, the command or one of its workers. What is started next goes on.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from small_plan import write_plan

from hsisr_core.runs import PlannedRun, RunConfig, carry_out, planned_runs, read_plan, run_state
from hsisr_core.train import train

KILLS = int(os.environ.get("HSISR_KILLS", "3"))
CONFIG: dict[str, Any] = {"steps": 40, "checkpoint_every": 5, "evaluate_every": 20}
# a child starts in no time, with its imports done
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["hsisr_core.train", "hsisr_core.runs"])
Action = Callable[[Path], None]

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*fork.*")]


def train_one(folder: Path) -> None:
    torch.set_num_threads(1)
    train(RunConfig.from_preset(str(folder.parent / "plan.yaml")), folder, progress=False)


def plan(folder: Path) -> list[PlannedRun]:
    return planned_runs(read_plan(str(folder.parent / "plan.yaml")), folder)


def work_through(folder: Path) -> None:
    torch.set_num_threads(1)
    carry_out(plan(folder), train, jobs=2)


def run(
    action: Action, folder: Path, after: float | None = None, draw: random.Random | None = None
) -> float | None:
    """The seconds that `action` took in a process of its own; None if it was killed, `after` seconds."""
    began = time.monotonic()
    process = CONTEXT.Process(target=action, args=(folder,))
    process.start()
    process.join(after)
    if process.exitcode is None:
        assert process.pid is not None
        workers = psutil.Process(process.pid).children()
        victim = (draw or random).choice([process.pid, process.pid, *(worker.pid for worker in workers)])
        os.kill(victim, signal.SIGKILL)
        # the command replaces a worker, once
        process.join()
        return None
    assert process.exitcode == 0
    return time.monotonic() - began


def results(folder: Path) -> dict[str, tuple[bytes, str, object]]:
    """Of each run: its weights, its curve without the seconds, its scores."""
    found = {}
    for path in sorted(folder.iterdir()):
        metrics = json.loads((path / "metrics.json").read_bytes())
        rows = [line.split(",") for line in (path / "history.csv").read_text().splitlines()]
        curve = "\n".join(",".join(row[:3] + row[4:]) for row in rows)
        assert not list((path / "checkpoint").iterdir())
        found[path.name] = ((path / "weights.safetensors").read_bytes(), curve, metrics["images"])
    return found


def kill_often(action: Action, folder: Path, done: Callable[[Path], bool]) -> None:
    """Kill `action` at random moments, in as many new folders as that takes, and compare each with the first."""
    draw, kills, number = random.Random(19), 0, 0
    seconds = run(action, folder / "straight")
    assert seconds is not None
    straight = results(folder / "straight")
    while kills < KILLS:
        number += 1
        place = folder / f"killed{number}"
        while not done(place):
            moment = draw.uniform(0, seconds) if kills < KILLS else None
            took = run(action, place, moment, draw)
            kills += took is None
            # the first one may have waited for the imports
            seconds = min(seconds, took or seconds)
        assert results(place) == straight
    print(f"{kills} kills of {number} {action.__name__}, each {seconds:.1f} s undisturbed: all bit-identical")


def test_a_training(tmp_path: Path) -> None:
    write_plan(tmp_path, "", **CONFIG)
    kill_often(train_one, tmp_path, lambda folder: bool(list(folder.glob("*/metrics.json"))))


def test_a_plan(tmp_path: Path) -> None:
    write_plan(tmp_path, "[{seed: 1}, {seed: 2}]", **CONFIG)
    kill_often(
        work_through, tmp_path, lambda folder: all(run_state(one).state == "done" for one in plan(folder))
    )
