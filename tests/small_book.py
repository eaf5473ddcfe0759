"""A project folder with a small book, for the tests of the machinery that executes and builds it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parent.parent
TEST_PATH = os.pathsep.join([str(ROOT), str(ROOT / "tests")])  # for kernels that import from the tests


def write_notebook(path: Path, *sources: str, tag: str = "parameters") -> Path:
    """Write a notebook: a source that begins with '#!' is the parameters cell, one with '# ' is prose."""
    cells = []
    for source in sources:
        if source.startswith("#!"):
            cells.append(new_code_cell(source.removeprefix("#!"), metadata={"tags": [tag]}))
        elif source.startswith("# "):
            cells.append(new_markdown_cell(source))
        else:
            cells.append(new_code_cell(source))
    notebook = new_notebook(cells=cells)
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def write_project(folder: Path, root: str = "index", *chapters: str) -> Path:
    """Write the real configuration, bibliography, styles and presets and a `_toc.yml` of the names; returns `book/`."""
    book = folder / "book"
    book.mkdir(parents=True)
    shutil.copy(ROOT / "_config.yml", folder)
    for name in ("_assets", "presets"):
        shutil.copytree(ROOT / "book" / name, book / name)
    shutil.copy(ROOT / "book" / "references.bib", book)
    lines = [
        f"format: jb-book\nroot: {root}\nparts:\n  - caption: Chapters\n    numbered: true\n    chapters:"
    ]
    (book / "_toc.yml").write_text(
        "\n".join([*lines, *(f"      - file: {name}" for name in chapters)]) + "\n"
    )
    return book
