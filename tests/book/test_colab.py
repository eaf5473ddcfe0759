"""The branch for Colab. What Colab itself does cannot be run here; its cell can, with a stand-in for Colab's module."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from small_book import ROOT, write_notebook, write_project

from hsisr_core.book.colab import NOT_NEEDED, main, requirements, setup_cell, write_branch
from hsisr_core.errors import HsisrError

STAND_IN = (
    "import sys, types; colab = types.ModuleType('google.colab'); colab.output = types.SimpleNamespace(\n"
)
STAND_IN += "    enable_custom_widget_manager=lambda: print('widgets'))\n"
STAND_IN += "sys.modules |= {'google': types.ModuleType('google'), 'google.colab': colab}\n"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    return subprocess.check_output(["git", *identity, *arguments], cwd=folder, text=True).strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    book = write_project(tmp_path / "project", "index", "a")
    write_notebook(book / "a.ipynb", "# Chapter A", "#!scale = 2")
    (book.parent / "pyproject.toml").write_text(
        '[project]\ndependencies = ["numpy", "jupyterlab", "torch>=2"]\n'
    )
    git(book.parent, "init", "--quiet", "--initial-branch", "main")
    git(book.parent, "add", "--all")
    git(book.parent, "commit", "--quiet", "--message", "first")
    return book.parent


def test_the_branch_holds_the_chapters_with_a_first_cell(checkout: Path) -> None:
    (checkout / "book" / "a.ipynb").write_text("not committed")
    commit = write_branch(checkout, "https://github.com/a/b")
    assert git(checkout, "rev-parse", "colab") == commit
    assert git(checkout, "rev-parse", "colab~1") == git(checkout, "rev-parse", "main")
    assert git(checkout, "diff", "--name-only", "main", "colab") == "book/a.ipynb"
    notebook = nbformat.reads(git(checkout, "show", "colab:book/a.ipynb"), as_version=4)
    nbformat.validate(notebook)
    title, cell, parameters = notebook.cells[:3]
    assert title.cell_type == "markdown"
    assert "'https://github.com/a/b'" in cell.source
    assert "['numpy', 'torch>=2']" in cell.source
    assert cell.metadata.tags == ["remove-cell"]
    assert parameters.metadata.tags == ["parameters"]
    assert (checkout / "book" / "a.ipynb").read_text() == "not committed", "the working tree is left alone"
    assert git(checkout, "branch", "--show-current") == "main"
    assert len(git(checkout, "worktree", "list").splitlines()) == 1


def test_the_branch_is_written_anew(checkout: Path) -> None:
    write_branch(checkout, "https://github.com/a/b")
    write_branch(checkout, "https://github.com/c/d")
    assert git(checkout, "rev-list", "--count", "main..colab") == "1"
    assert "github.com/c/d" in git(checkout, "show", "colab:book/a.ipynb")


def test_no_checkout_and_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(HsisrError, match=r"git worktree add .* not a git repository"):
        write_branch(tmp_path, "https://github.com/a/b")
    monkeypatch.delenv("HSISR_REPOSITORY", raising=False)
    with pytest.raises(HsisrError, match="Set HSISR_REPOSITORY"):
        main()


def test_the_cell_does_nothing_elsewhere(tmp_path: Path) -> None:
    code = setup_cell("https://github.com/a/b", ["no-such-package"], str(tmp_path / "clone"))
    before = set(sys.modules)
    exec(code, {})
    assert set(sys.modules) == before
    assert not (tmp_path / "clone").exists()


def test_the_cell_fetches_and_installs_in_colab(checkout: Path, tmp_path: Path) -> None:
    write_branch(checkout, "https://github.com/a/b")
    (tmp_path / "pip.py").write_text(
        "import sys; print('pip', *sys.argv[1:])"
    )  # stands in for `python -m pip`
    clone = tmp_path / "content" / "hsisr"
    code = STAND_IN + setup_cell(checkout.as_uri(), ["numpy", "torch>=2"], str(clone)) + "print(sys.path[0])"
    for _ in range(2):  # a cell may be run again
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONUNBUFFERED": "1"},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.splitlines() == [
            "pip install --quiet numpy torch>=2",
            f"pip install --quiet --no-deps --editable {clone}",
            "widgets",
            str(clone),
        ]
    assert git(clone, "branch", "--show-current") == "colab"
    assert (clone / "book" / "a.ipynb").is_file()


def test_chapters_need_nothing_that_only_makes_pages() -> None:
    imports = {
        ast.unparse(node)
        for path in (ROOT / "book").glob("*.ipynb")
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code"
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert any("hsisr_core" in line for line in imports)
    blocked = ("jupyter_book", "jupyterlab", "sphinx_mathjax_offline")
    code = f"import sys; sys.modules |= dict.fromkeys({blocked!r})\n" + "\n".join(sorted(imports))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kept = requirements(ROOT)
    assert "anywidget" in kept
    assert not [entry for entry in kept if entry.startswith(NOT_NEEDED)]
