"""`make links`: every external address of the README and the book, with its kind."""

from __future__ import annotations

from pathlib import Path

from links import find_links, kind

ROOT = Path(__file__).parents[1]


def test_links_are_found_with_their_kind_and_pages() -> None:
    links = find_links(ROOT)
    assert {"README.md", "index.md"} <= set(links["https://arxiv.org/abs/2001.04609"])
    assert kind("https://arxiv.org/abs/2001.04609") == "publication"
    assert kind("https://vision.seas.harvard.edu/hyperspec/") == "data"
    assert not [link for link in links if link.endswith((".", ",", ")")) or "127.0.0.1" in link]
    assert {"publication", "code", "data"} <= {kind(link) for link in links}
