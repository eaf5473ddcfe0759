"""The prose of the book: citations, terms, the paper's equations, the drawing of the network."""

from __future__ import annotations

import re
import runpy

import nbformat
from small_book import ROOT

BOOK = ROOT / "book"
PROSE = {path.stem: path.read_text() for path in BOOK.glob("*.md")} | {
    path.stem: "\n\n".join(
        cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"
    )
    for path in BOOK.glob("*.ipynb")
}


def test_what_the_bibliography_lists_is_cited_and_what_is_cited_is_listed() -> None:
    listed = re.findall(r"^@\w+\{([^,]+),", (BOOK / "references.bib").read_text(), re.MULTILINE)
    roles = re.findall(r"\{cite:[pt]\}`([^`]+)`", "\n".join(PROSE.values()))
    assert len(listed) == len(set(listed))
    assert set(listed) == {key for role in roles for key in role.split(",")}


def test_the_paper_and_the_later_code_are_named_with_an_address() -> None:
    for page in (PROSE["index"], PROSE["references"], (ROOT / "README.md").read_text()):
        assert "https://arxiv.org/abs/2001.04609" in page
    assert re.search(r"https://github\.com/qianngli/MCNet/tree/[0-9a-f]{40}", PROSE["references"])


def test_every_equation_of_the_paper_is_written_once_and_found_in_the_glossary() -> None:
    rows = re.findall(r"^\| (\d) \|.*\{eq\}`(.+)` \|$", PROSE["glossary"], re.MULTILINE)
    assert [number for number, _ in rows] == list("12345678")
    for number, label in rows:
        (text,) = (text for text in PROSE.values() if f"$$ ({label})" in text)
        assert text.count(f"$$ ({label})") == 1
        # named in the sentence before it
        assert f"Eq. {number}" in text[: text.index(f"$$ ({label})")].rsplit("$$", 2)[-2]


def test_the_terms_of_the_network_are_linked_where_they_are_first_used() -> None:
    terms = re.findall(r"\{term\}`(?:[^`<]*<)?([^`>]+)", PROSE["03-ssrnet"])
    assert {"IFE", "SSRM", "D", "GRL", "IR", "LFF", "block", "residual unit", "receptive field"} <= set(terms)
    for chapter, words in {"07-fusion-and-residuals": "LFF GRL", "08-separable-or-standard": "block"}.items():
        assert all(f"{{term}}`{word}`" in PROSE[chapter] for word in words.split())


def test_the_drawing_of_the_network_is_what_its_script_makes() -> None:
    draw = runpy.run_path(str(BOOK / "drawings" / "draw_network.py"))["draw"]
    assert draw() == (BOOK / "_assets" / "network.svg").read_text(encoding="utf-8")
    assert "_assets/network.svg" in PROSE["03-ssrnet"]


def test_one_equation_a_line() -> None:
    """Two side by side lose their ends on a page of 700 pixels."""
    for name, text in PROSE.items():
        for block in text.split("$$")[1::2]:
            assert "quad" not in block or block.count("=") < 2, f"{name}: {block}"


def test_code_in_the_text_fits_its_box() -> None:
    for name, text in PROSE.items():
        for block in re.split("^```", text, flags=re.MULTILINE)[1::2]:
            if not block.startswith("{"):
                assert max(map(len, block.splitlines())) < 80, f"{name}: {block}"
