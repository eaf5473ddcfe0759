"""Every damaged file is read or refused with one error: `make fuzz N=2000`, and a few of each kind in the tests."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest
from harness import GOOD, Kind, fuzz
from own_files import OWN_FILES
from scene_files import SCENE_FILES

KINDS = [*OWN_FILES, *SCENE_FILES]
KEEP = Path("_build", "fuzz")


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_many_damaged_files(kind: Kind, capfd: pytest.CaptureFixture[str]) -> None:
    _check(kind, int(os.environ.get("N", "200")), capfd)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_few_damaged_files(kind: Kind, capfd: pytest.CaptureFixture[str]) -> None:
    _check(kind, 50, capfd)


def _check(kind: Kind, count: int, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(action="ignore"):
        outcomes = fuzz(kind, range(count), KEEP)
    with capfd.disabled():
        print(f"\n{kind}: {dict(outcomes)}")
    assert set(outcomes) <= set(GOOD), f"{dict(outcomes)}; the smallest files are in {KEEP}"
