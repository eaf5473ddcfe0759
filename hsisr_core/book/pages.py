"""Execute the chapters with papermill, then build the book's pages from the executed notebooks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from hsisr_core.base.paths import book_folder, project_root
from hsisr_core.book.chapter import assign_parameters
from hsisr_core.book.execute import (
    BookError,
    child_environment,
    execute_chapters,
    replace_folder,
    without_colours,
    work_folder,
)
from hsisr_core.book.publish import page_config
from hsisr_core.errors import HsisrError
from hsisr_core.runs import preset_path

__all__ = ["BookError", "book_pages", "build_book", "build_pages", "execute_chapters"]

JUPYTER_BOOK = "from jupyter_book.cli.main import main; main()"  # it has no `python -m` entry


def build_book(
    preset: str = "demo",
    data: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    *,
    jobs: int = 2,
    strict: bool = False,
    force: bool = False,
    before: Callable[[], object] | None = None,
    out: str | os.PathLike[str] | None = None,
) -> Path:
    """Execute every chapter and build the pages.

    Parameters
    ----------
    preset : str
        Name of a file in ``book/presets``, or path of a ``.yaml`` file.
    data : str, optional
        A known dataset's name, or a path: the parameter ``data``.
    parameters : mapping, optional
        More values by name, each given to the chapters that declare it.
    jobs : int
        Chapters executed at once.
    strict : bool
        Sphinx's warnings fail the build.
    force : bool
        Execute also what the last build executed and nothing has changed of.
    before : callable, optional
        Called once the parameters are known to be valid and before the first chapter: trains what the
        chapters show, so that no two of them train it at once.
    out : path, optional
        Folder for ``executed/``, ``html/`` and ``failed/`` (default: ``_build`` of the project).

    Returns
    -------
    Path
        The book's ``index.html``.

    Raises
    ------
    HsisrError
        A parameter that no chapter declares, a value of the wrong type, an unknown preset.
    BookError
        A cell failed or the pages could not be built. The last good build stays.
    """
    path = preset_path(preset)
    is_file = preset.endswith((".yaml", ".yml"))
    given = {"preset": from_project(path) if is_file else preset} | dict(parameters or {})
    if data is not None:
        given["data"] = data
    if isinstance(given.get("data"), str):
        place = Path(given["data"]).expanduser()
        given["data"] = from_project(place) if place.exists() else given["data"]
    chapters = [page for page in book_pages() if page.suffix == ".ipynb"]
    assign_parameters(chapters, given)
    if before is not None:
        before()
    return build_pages(execute_chapters(chapters, given, out, jobs, force=force), out, strict=strict)


def from_project(path: Path) -> str:
    """`path` as the chapters must say it, which run in the project's folder: relative to it if inside."""
    path, root = path.resolve(), project_root().resolve()
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def book_pages() -> list[Path]:
    """The files that ``book/_toc.yml`` lists, in its order, the root first.

    Raises
    ------
    HsisrError
        The table of contents is damaged, or names a page that is not there.
    """
    book = book_folder()
    try:
        toc = yaml.safe_load((book / "_toc.yml").read_text(encoding="utf-8"))
        parts = toc.get("parts", [toc])
        names = [toc["root"], *(item["file"] for part in parts for item in part.get("chapters", []))]
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
        raise HsisrError(
            f"{book / '_toc.yml'}: expected `root: NAME` and `chapters:` with `- file: NAME` each."
        ) from error
    pages = []
    for name in names:
        found = [
            book / f"{name}{suffix}" for suffix in (".ipynb", ".md") if (book / f"{name}{suffix}").is_file()
        ]
        if len(found) != 1:
            raise HsisrError(
                f"_toc.yml names {name!r}: expected one of {name}.ipynb and {name}.md in {book}."
            )
        pages += found
    return pages


def build_pages(executed: Path, out: str | os.PathLike[str] | None = None, *, strict: bool = False) -> Path:
    """Build the pages from executed notebooks with Jupyter Book; nothing is executed.

    Parameters
    ----------
    executed : Path
        Folder of the notebooks, pages and ``_toc.yml``.
    out : path, optional
        The pages go to ``out/html`` (default: ``_build/html`` of the project), once all are written.
    strict : bool
        Warnings, missing references included, fail the build.

    Returns
    -------
    Path
        The book's ``index.html``.

    Raises
    ------
    BookError
        Sphinx failed; the message ends with its last lines. The pages of the last good build stay.
    """
    options = ["-W", "-n", "--keep-going"] if strict else []
    with work_folder(out, "pages") as (folder, work):
        config = page_config(project_root() / "_config.yml", work)
        # Always from nothing: an incremental build reports only the warnings of the pages that changed.
        command = [sys.executable, "-c", JUPYTER_BOOK, "build", str(executed), "--config", str(config)]
        result = subprocess.run(
            [*command, "--path-output", str(work), "--quiet", *options],
            env=child_environment(work),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        html = work / "_build" / "html"
        if result.returncode or not (html / "index.html").is_file():
            raise BookError(
                f"The pages could not be built.\n{sphinx_summary(result.stdout.decode(), executed)}"
            )
        return replace_folder(html, folder / "html") / "index.html"


def sphinx_summary(log: str, executed: Path) -> str:
    """The warnings and errors in Sphinx's output, or its last lines where it names none."""
    lines = without_colours(log).replace(f"{executed}{os.sep}", "").splitlines()
    lines = [line for line in lines if line.strip("= \t")]
    named = [line for line in lines if re.search(r"\b(WARNING|ERROR|CRITICAL|SEVERE)\b|error:", line)]
    return "\n".join(f"  {line.strip()}" for line in (named[-15:] or lines[-3:]))
