"""The book: its table of contents, what it trains first, and the way from chapters to pages."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from small_book import ROOT, write_notebook, write_project
from small_plan import finish, write_plan

from hsisr_core.book import BookError, book_pages, build_book, build_pages, train_shown
from hsisr_core.book.mathjax import copy_mathjax
from hsisr_core.errors import HsisrError
from hsisr_core.paper import TABLES
from hsisr_core.runs import PlannedRun, plan_for_chapters, planned_runs, record_failure


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A book of a prose page and one chapter that says what it was given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HSISR_REPOSITORY", raising=False)
    book = write_project(tmp_path, "index", "a")
    (book / "index.md").write_text("# A small book\n\nSee [the chapter](a.ipynb).\n")
    write_notebook(
        book / "a.ipynb",
        "# Chapter A",
        "#!from typing import Optional\nscale: int = 2\npreset: str = 'demo'\ndata: Optional[str] = None\n",
        "from hsisr_core.chapter import open_chapter\n\nchapter = open_chapter('a', globals())",
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
        ("format: jb-book\nroot: index\nchapters:\n  - file: b\n", "expected either b.ipynb or b.md"),
        ("format: jb-book\nchapters: []", "_toc.yml cannot be read: 'root' key not found"),
        ("root: [", "_toc.yml cannot be read: while parsing"),
        ("- index", "_toc.yml cannot be read: toc is not a mapping"),
    ],
)
def test_book_pages_refuses_a_damaged_table_of_contents(book: Path, toc: str, message: str) -> None:
    (book / "_toc.yml").write_text(toc)
    with pytest.raises(HsisrError, match=re.escape(message)):
        book_pages()


def test_the_table_of_contents_lists_every_chapter_of_the_project() -> None:
    names = [path.stem for path in book_pages()]
    assert names[:2] == ["index", "01-data"]
    numbers = [name[:2] for name in names if name[0].isdigit()]
    assert numbers == [f"{number:02}" for number in range(1, len(numbers) + 1)]
    assert {path.stem for path in (ROOT / "book").glob("*.ipynb")} <= set(names)


@pytest.mark.slow
def test_build_book_from_chapters_to_pages(
    book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a preset's file, a folder of data and an output folder that are named as seen from elsewhere."""
    (tmp_path / "scenes").mkdir()
    shutil.copy(book / "presets" / "demo.yaml", tmp_path / "scenes" / "mine.yaml")
    monkeypatch.chdir(tmp_path / "scenes")
    monkeypatch.setenv("HSISR_REPOSITORY", "https://github.com/owner/name")
    order: list[str] = []
    index = build_book(
        "mine.yaml",
        {"data": "../scenes", "scale": 4},
        strict=True,
        before=lambda: order.append("before"),
        out="../elsewhere",
    )
    assert index == tmp_path / "elsewhere" / "html" / "index.html"
    assert order == ["before"]
    assert "A small book" in index.read_text()
    page = (index.parent / "a.html").read_text()
    assert "given 4 scenes/mine.yaml scenes" in page
    assert "_static/book.css" in page
    assert (index.parent / "_static" / "book.css").is_file()
    assert {path.name for path in (tmp_path / "elsewhere").iterdir()} == {
        "executed",
        "html",
        "pages.sha256",
    }

    notebook = tmp_path / "elsewhere" / "executed" / "a.ipynb"
    links = set(re.findall(r'href="([^"]+)"', page))
    (download,) = (link for link in links if link.endswith(".ipynb") and not link.startswith("http"))
    assert (index.parent / download).read_bytes() == notebook.read_bytes()
    assert "https://github.com/owner/name" in links
    assert "https://mybinder.org/v2/gh/owner/name/main?urlpath=lab/tree/book/a.ipynb" in links
    assert "mybinder" not in index.read_text(), "prose has nothing to launch"
    loaded = re.findall(r'<(?:script|img|link)[^>]+(?:src|href)="(https?://[^"]+)"', page)
    assert loaded == [], "a button is a link: nothing is loaded from there"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "big"}, "preset 'big' does not exist: choose one of after, demo, evidence"),
        ({"preset": "no.yaml"}, "preset 'no.yaml' does not exist"),
        ({"parameters": {"scael": 3}}, "No chapter has a parameter 'scael'"),
        ({"parameters": {"scale": 2.5}}, "a: scale=2.5, expected int"),
        ({"parameters": {"data": 3}}, "a: data=3, expected Optional[str]"),
    ],
)
def test_build_book_refuses_before_anything_runs(
    book: Path, tmp_path: Path, arguments: dict[str, object], message: str
) -> None:
    build: Callable[..., Path] = build_book
    with pytest.raises(HsisrError) as raised:
        build(
            **{"preset": "demo", "parameters": {}} | arguments,
            before=lambda: pytest.fail("trained for a book that cannot be built"),
        )
    assert message in str(raised.value)
    assert not (tmp_path / "_build").exists()


@pytest.mark.slow
def test_pages_that_fail_leave_the_last_good_ones(book: Path, tmp_path: Path) -> None:
    # what execution leaves, without the time it takes
    executed = tmp_path / "_build" / "executed"
    shutil.copytree(book, executed)
    index = build_pages(executed, strict=True)
    assert "mybinder" not in (index.parent / "a.html").read_text()
    (index.parent / "kept").touch()
    assert build_pages(executed, strict=True) == index
    assert (index.parent / "kept").is_file(), "nothing has changed: the same pages"
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

    assert build_pages(executed) == index, "not strict: warnings are no errors"
    assert "Changed" in index.read_text()
    assert not (index.parent / "kept").exists()

    (executed / "_toc.yml").unlink()
    with pytest.raises(BookError, match="Table of Contents"):
        build_pages(executed)


@pytest.fixture
def carried_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[PlannedRun]:
    """The runs that would be trained; each is marked as finished, but for those of seed 13."""
    monkeypatch.setenv("HSISR_RUNS", str(tmp_path / "runs"))
    seen: list[PlannedRun] = []

    def carry_out(runs: Sequence[PlannedRun], train: Callable[..., object], jobs: int | None) -> None:
        assert (train, jobs) == (print, 2)
        seen.extend(runs)
        for run in runs:
            if run.config.seed != 13:
                finish(run)

    monkeypatch.setattr("hsisr_core.runs.carry_out", carry_out)
    return seen


def test_all_that_a_chapter_can_ask_for_is_trained(tmp_path: Path, carried_out: list[PlannedRun]) -> None:
    plan = plan_for_chapters(write_plan(tmp_path, "[{table: loss, steps: 3}, {scale: 3}]"), {"features": 5})
    train_shown(plan.shown(), print, 2)
    trained = {run.config for run in carried_out}
    assert plan.defaults in trained
    assert {config.features for config in trained} == {5}
    for name in TABLES:
        assert set(plan.table(name)) <= trained


def test_the_demo_plan_holds_every_run_of_the_chapters() -> None:
    """Nothing is trained twice, and nothing in a chapter."""
    plan = plan_for_chapters("demo", {})
    folders = {run.folder for run in planned_runs(plan)}
    assert {run.folder for run in planned_runs(plan.shown())} == folders
    asked = set()
    for path in sorted((ROOT / "book").glob("*.ipynb")):
        code = "\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code")
        asked |= set(re.findall(r'\.table\("(\w+)"\)', code))
    assert {"loss", "ablation", "block", "modules", "comparison"} <= asked
    assert asked <= {table for table, _ in plan.entries}


def test_a_failed_run_fails_the_book(tmp_path: Path, carried_out: list[PlannedRun]) -> None:
    plan = plan_for_chapters(write_plan(tmp_path, "[{seed: 13}, {seed: 13, steps: 2}]"), {})
    for run in planned_runs(plan):
        run.folder.mkdir(parents=True)
        record_failure(run.folder, "no luck")
    with pytest.raises(BookError, match=r"Training failed, .*seed=13.*: no luck \(1 more failed too\)"):
        train_shown(plan.shown(), print, 2)


def test_missing_data_is_said_before_anything_is_trained(
    tmp_path: Path, carried_out: list[PlannedRun]
) -> None:
    with pytest.raises(HsisrError, match="nowhere"):
        train_shown(plan_for_chapters(write_plan(tmp_path, "[{seed: 1}]"), {"data": "nowhere"}), print, 2)
    assert carried_out == []


def test_pages_get_mathjax_its_fonts_and_its_extensions_only(tmp_path: Path) -> None:
    app: Any = SimpleNamespace(outdir=tmp_path)
    copy_mathjax(app, ValueError("the build failed"))
    assert list(tmp_path.iterdir()) == []
    copy_mathjax(app, None)
    folder = tmp_path / "_static" / "mathjax"
    found = [path for path in folder.rglob("*") if path.is_file()]
    assert 'VERSION="3.' in (folder / "tex-chtml.js").read_text()
    files = {path.relative_to(folder).as_posix(): path.stat().st_size for path in found}
    assert "output/chtml/fonts/woff-v2/MathJax_Main-Regular.woff" in files
    assert "input/tex/extensions/cancel.js" in files, "loaded when a page uses \\cancel"
    assert {name.split("/")[0] for name in files} == {"tex-chtml.js", "input", "output"}
    assert sum(files.values()) < 2.5e6, "the whole package has 24 MB"
