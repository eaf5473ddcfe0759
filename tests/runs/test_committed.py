"""Runs committed in book/results: whole, named by their hash, and without a path of the machine that trained them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_book import ROOT

from hsisr_core.runs import read_run

COMMITTED = sorted(file.parent for file in (ROOT / "book" / "results").glob("*/*/metrics.json"))


@pytest.mark.parametrize("folder", COMMITTED, ids=lambda folder: folder.name)
def test_a_committed_run_is_whole_and_named_by_its_hash(folder: Path) -> None:
    run = read_run(folder)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert folder.name.endswith(run.config.hash(run.fingerprint))
    assert metrics["fingerprint"] == run.fingerprint
    assert metrics["config"] == run.config.to_dict()
    assert {row["image"] for row in metrics["images"]} == set(metrics["split"]["test"])
    assert run.history()["step"].iloc[-1] == metrics["steps"] == run.config.steps
    assert "/" not in run.config.data
    assert not metrics["git_commit"].endswith("+")


def test_there_are_committed_runs() -> None:
    assert COMMITTED
