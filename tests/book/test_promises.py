"""The page "What it promises" names tests that are there."""

from __future__ import annotations

import re

from small_book import ROOT


def test_every_promise_has_its_test() -> None:
    text = (ROOT / "book" / "what-it-promises.md").read_text()
    rows = [line for line in text.partition("\n## ")[0].splitlines() if line.startswith("| ")][1:]
    assert rows
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", row)
        assert named, row
        for file, test in named:
            assert f"def {test}" in (ROOT / file).read_text(), row
