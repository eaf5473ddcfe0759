"""The book: its table of contents, and the way from chapters to pages."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import papermill
import pytest
import yaml
from filelock import FileLock
from small_book import ROOT, write_notebook, write_project

from hsisr_core.book.chapter import chapter_parameters
from hsisr_core.book.execute import BookError
from hsisr_core.book.pages import book_pages, build_book, build_pages
from hsisr_core.errors import HsisrError

CHAPTERS = sorted((ROOT / "book").glob("*.ipynb"))
PREFACE = "from hsisr_core.book.chapter import open_chapter\n\nchapter = open_chapter('a', globals())"


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A book of a prose page and one chapter that says what it was given."""
    monkeypatch.chdir(tmp_path)
    book = write_project(tmp_path, "index", "a")
    (book / "index.md").write_text("# A small book\n\nSee [the chapter](a.ipynb).\n")
    write_notebook(
        book / "a.ipynb",
        "# Chapter A",
        "#!from typing import Optional\nscale: int = 2\npreset: str = 'demo'\ndata: Optional[str] = None\n",
        PREFACE,
        "print('given', scale, preset, data)",
    )
    return book


def test_book_pages_follow_the_table_of_contents(book: Path) -> None:
    assert book_pages() == [book / "index.md", book / "a.ipynb"]
    (book / "_toc.yml").write_text("format: jb-book\nroot: a\nchapters:\n  - file: index\n")
    assert book_pages() == [book / "a.ipynb", book / "index.md"]


@pytest.mark.parametrize(
    ("toc", "message"),
    [
        ("root: index\nchapters:\n  - file: b\n", "_toc.yml names 'b': expected one of b.ipynb and b.md"),
        ("chapters: []", "expected `root: NAME`"),
        ("root: [", "expected `root: NAME`"),
        ("- index", "expected `root: NAME`"),
        ("root: index\nparts:\n  - chapters:\n      - url: x\n", "expected `root: NAME`"),
    ],
)
def test_book_pages_refuses_a_damaged_table_of_contents(book: Path, toc: str, message: str) -> None:
    (book / "_toc.yml").write_text(toc)
    with pytest.raises(HsisrError) as raised:
        book_pages()
    assert message in str(raised.value)


@pytest.mark.slow
def test_build_book_from_chapters_to_pages(
    book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scenes").mkdir()
    monkeypatch.chdir(tmp_path / "scenes")
    order: list[str] = []
    index = build_book(
        "demo",
        "../scenes",
        {"scale": 4},
        strict=True,
        before=lambda: order.append("before"),
        out="../elsewhere",
    )
    assert index == tmp_path / "elsewhere" / "html" / "index.html"
    assert order == ["before"]
    assert "A small book" in index.read_text()
    page = (index.parent / "a.html").read_text()
    assert "given 4 demo scenes" in page
    assert "_static/book.css" in page
    assert (index.parent / "_static" / "book.css").is_file()
    left = {path.name for path in (tmp_path / "elsewhere").iterdir() if not path.name.endswith(".lock")}
    assert left == {"executed", "html"}


@pytest.mark.slow
def test_a_preset_file_is_found_from_anywhere(
    book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "sub"
    folder.mkdir()
    shutil.copy(book / "presets" / "demo.yaml", folder / "mine.yaml")
    monkeypatch.chdir(folder)
    index = build_book("mine.yaml", str(tmp_path.parent))
    assert index == tmp_path / "_build" / "html" / "index.html"
    assert f"given 2 sub/mine.yaml {tmp_path.parent.resolve()}" in (index.parent / "a.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "big"}, "preset 'big' is unknown: choose one of cpu, demo"),
        ({"preset": "no.yaml"}, "Preset file no.yaml does not exist"),
        ({"parameters": {"scael": 3}}, "No chapter has a parameter 'scael'"),
        ({"parameters": {"scale": 2.5}}, "a: scale=2.5, expected int"),
        ({"data": 3}, "a: data=3, expected Optional[str]"),
    ],
)
def test_build_book_refuses_before_anything_runs(
    book: Path, tmp_path: Path, arguments: dict[str, object], message: str
) -> None:
    def before() -> None:
        pytest.fail("trained for a book that cannot be built")

    build: Callable[..., Path] = build_book
    with pytest.raises(HsisrError) as raised:
        build(**arguments, before=before)
    assert message in str(raised.value)
    assert not (tmp_path / "_build").exists()


@pytest.fixture
def executed(book: Path, tmp_path: Path) -> Path:
    """What execution leaves, without the time it takes."""
    folder = tmp_path / "_build" / "executed"
    shutil.copytree(book, folder)
    return folder


@pytest.mark.slow
def test_pages_that_fail_leave_the_last_good_ones(executed: Path, tmp_path: Path) -> None:
    index = build_pages(executed, strict=True)
    (executed / "index.md").write_text("# Changed\n\nSee [nothing](nowhere.md) and {eq}`eq:none`.\n")
    with pytest.raises(BookError) as raised:
        build_pages(executed, strict=True)
    message = str(raised.value)
    assert message.startswith("The pages could not be built.\n  ")
    assert "index.md:3: WARNING: 'myst' cross-reference target not found: 'nowhere.md'" in message
    assert "index.md:3: WARNING: equation not found: eq:none" in message
    assert len(message.splitlines()) <= 5
    assert "\x1b" not in message
    assert "A small book" in index.read_text()

    assert build_pages(executed) == index  # not strict: warnings are no errors
    assert "Changed" in index.read_text()


@pytest.mark.slow
def test_pages_without_a_table_of_contents(executed: Path) -> None:
    (executed / "_toc.yml").unlink()
    with pytest.raises(BookError, match="Table of Contents"):
        build_pages(executed)


def test_one_build_of_pages_at_a_time(executed: Path) -> None:
    with (
        FileLock(executed.parent / ".pages.lock"),
        pytest.raises(HsisrError, match="Another build is at work"),
    ):
        build_pages(executed)


def test_the_table_of_contents_lists_every_chapter_of_the_project() -> None:
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
    names = [toc["root"], *(item["file"] for part in toc["parts"] for item in part["chapters"])]
    assert names == [
        *(
            "index",
            "01-data",
            "02-degradation-and-metrics",
            "03-ssrnet",
            "04-training",
            "05-results",
            "06-losses",
            "07-fusion-and-residuals",
            "08-separable-or-standard",
            "09-how-many-modules",
            "10-comparison",
            "11-paper-against-itself",
            "12-does-it-mean-anything",
            "explore",
            "your-own-cube",
            "running",
            "what-it-costs",
            "status",
        )
    ]
    assert {path.stem for path in CHAPTERS} <= set(names)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_chapters_declare_their_parameters_and_open_themselves(chapter: Path) -> None:
    assert chapter_parameters(chapter)
    cells = [cell for cell in nbformat.read(chapter, 4).cells if cell.cell_type == "code"]
    tagged = next(i for i, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", []))
    opening = "\n".join(
        cell.source for cell in cells[tagged + 1 : tagged + 3]
    )  # at most the imports come before
    assert f'open_chapter("{chapter.stem}", globals())' in opening


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_papermill_knows_every_parameter(chapter: Path) -> None:
    """Or it would call them unknown, and leave them out of `papermill --help-notebook`."""
    known = papermill.inspect_notebook(str(chapter))
    declared = chapter_parameters(chapter)
    assert {name: (item["inferred_type_name"], item["help"]) for name, item in known.items()} == {
        name: (parameter.type, parameter.help) for name, parameter in declared.items()
    }


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_chapters_are_committed_without_outputs(chapter: Path) -> None:
    keys = "metadata.papermill cell.metadata.papermill"
    command = [sys.executable, "-m", "nbstripout", "--verify", "--extra-keys", keys, str(chapter)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
