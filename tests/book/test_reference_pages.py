"""The pages "From 0.1.0" and "The reviewer's guide" name what is there."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OLD = (ROOT / "book" / "from-0-1-0.md").read_text()
GUIDE = (ROOT / "book" / "reviewers-guide.md").read_text()


def test_every_new_module_is_there_and_what_is_gone_is_not() -> None:
    rows = re.findall(
        r"^\| (`.+) \| (.+) \|$", OLD.partition("## Modules")[2].partition("## Commands")[0], re.M
    )
    for old, new in rows:
        names = re.findall(r"`([\w.]+)`", old)
        if new.startswith("gone"):
            assert not any(find_spec(f"hsisr_core.{name}") for name in names), old
        else:
            assert find_spec(f"hsisr_core.{new.strip('`')}"), new
    assert len(rows) > 10


@pytest.mark.parametrize("path", re.findall(r"(?:tests|book)/[\w./-]+", GUIDE))
def test_the_guide_names_files_that_exist(path: str) -> None:
    assert (ROOT / path).exists()
