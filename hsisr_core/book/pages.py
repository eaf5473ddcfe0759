"""The whole book: train what it shows, execute its chapters, build the pages from the executed notebooks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from hsisr_core.base import AnyPath, book_folder, project_root
from hsisr_core.book import execute
from hsisr_core.book.chapter import KEEP, assign_parameters
from hsisr_core.book.execute import BookError
from hsisr_core.errors import HsisrError

if TYPE_CHECKING:
    from hsisr_core.runs import Plan, Train

JUPYTER_BOOK = "from jupyter_book.cli.main import main; main()"  # it has no `python -m` entry


def build_book(
    preset: str | None,
    parameters: Mapping[str, Any],
    *,
    jobs: int | None = None,
    strict: bool = False,
    force: bool = False,
    before: Callable[[], object] | None = None,
    out: AnyPath | None = None,
) -> Path:
    """Execute every chapter and build the pages; returns the book's ``index.html``.

    `preset` is a name in ``book/presets`` or a YAML file, None for each chapter's own; `parameters` go to the chapters
    that declare them. When all are known to be valid, `before` is called, which trains what the chapters show. In `out`
    (default: ``_build``) are then ``executed/``, ``html/`` and the digest of its sources; after an error the last good
    pages stay.
    """
    given = _given(preset, parameters)
    chapters = [page for page in book_pages() if page.suffix == ".ipynb"]
    assign_parameters(chapters, given)
    if before is not None:
        before()
    return build_pages(execute.execute_chapters(chapters, given, out, jobs, force=force), out, strict=strict)


def keep_figures(preset: str, parameters: Mapping[str, Any], jobs: int | None = None) -> None:
    """Draw the figures that need scenes and weights (`Chapter.figure`), and keep them beside the results."""
    chapters = [page for page in book_pages() if "@chapter.figure(" in page.read_text(encoding="utf-8")]
    os.environ[KEEP] = "1"
    with tempfile.TemporaryDirectory() as out:
        # scores of the self-ensemble take minutes, and no figure shows them
        execute.execute_chapters(chapters, _given(preset, {"ensemble": False, **parameters}), out, jobs)


def train_shown(plan: Plan, train: Train, jobs: int | None = None) -> None:
    """Carry out the plan of what the chapters show with `train`, so that no two chapters train one run."""
    from hsisr_core.runs import carry_out, planned_runs, run_state

    runs = planned_runs(plan)
    carry_out(runs, train, jobs)
    failed = [(run, state) for run in runs if (state := run_state(run)).state == "failed"]
    if failed:
        run, state = failed[0]
        others = f" ({len(failed) - 1} more failed too)" if failed[1:] else ""
        raise BookError(f"Training failed, {run.label}: {state.error}{others}\nThe run folder: {run.folder}")


def book_pages() -> list[Path]:
    """The files that ``book/_toc.yml`` lists, in its order, the root first."""
    from sphinx_external_toc.parsing import MalformedError, parse_toc_yaml

    book, pages = book_folder(), []
    if not (book / "_toc.yml").is_file():
        raise HsisrError("There is no book here. `hsisr book` needs a clone of the project: start in it.")
    try:
        names = list(parse_toc_yaml(book / "_toc.yml"))
    except (yaml.YAMLError, UnicodeDecodeError, MalformedError) as error:
        raise HsisrError(f"{book / '_toc.yml'} cannot be read: {' '.join(str(error).split())}") from error
    for name in names:
        files = [book / f"{name}{suffix}" for suffix in (".ipynb", ".md")]
        found = [file for file in files if file.is_file()]
        if len(found) != 1:
            raise HsisrError(f"_toc.yml: expected either {name}.ipynb or {name}.md in {book}.")
        pages += found
    return pages


def build_pages(executed: Path, out: AnyPath | None = None, *, strict: bool = False) -> Path:
    """Build ``out/html`` of executed notebooks (`strict`: a warning of Sphinx is an error); returns ``index.html``.

    Pages of the same notebooks, settings, code and packages stay. Others are all built: an incremental build reports
    only the warnings of the pages that changed.
    """
    folder = execute.output_folder(out)
    options = ["-W", "-n", "--keep-going"] if strict else []
    config, index = project_root() / "_config.yml", folder / "html" / "index.html"
    built = folder / "pages.sha256"
    # the order in which chapters ended is of no account
    read = [file for file in execute.list_files(executed) if file.name != execute.MANIFEST]
    digest = execute.digest_of([*read, *execute.list_files(execute.PACKAGE), config], options)
    if index.is_file() and built.is_file() and built.read_text() == digest:
        return index
    built.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix=".work-", dir=folder, ignore_cleanup_errors=True) as work:
        command = [sys.executable, "-c", JUPYTER_BOOK, "build", str(executed), "--config", str(config)]
        command += ["--path-output", work, "--quiet", *options]
        environment = execute.clean_environment(Path(work))
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        html = Path(work) / "_build" / "html"
        if result.returncode or not (html / "index.html").is_file():
            summary = _sphinx_summary(result.stdout + result.stderr, executed)
            raise BookError(f"The pages could not be built.\n{summary}")
        shutil.rmtree(folder / "html", ignore_errors=True)
        html.rename(folder / "html")
        built.write_text(digest)
        return index


def _given(preset: str | None, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of all chapters, with paths as the chapters must be given them."""
    from hsisr_core.runs import preset_path

    given = dict(parameters)
    if preset is not None:
        path = preset_path(preset)
        given["preset"] = _from_project(path) if preset.endswith((".yaml", ".yml")) else preset
    if isinstance(given.get("data"), str) and Path(given["data"]).expanduser().exists():
        given["data"] = _from_project(Path(given["data"]).expanduser())
    return given


def _from_project(path: Path) -> str:
    """`path` as the chapters must be given it, which run in the project's folder: relative to it if inside."""
    path, root = path.resolve(), project_root().resolve()
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _sphinx_summary(log: str, executed: Path) -> str:
    """The warnings and errors in Sphinx's output, or its last lines where it names none."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", log).replace(f"{executed}{os.sep}", "").splitlines()
    lines = [line for line in lines if line.strip("= \t")]
    named = [line for line in lines if re.search(r"\b(WARNING|ERROR|CRITICAL|SEVERE)\b|error:", line)]
    return "\n".join(f"  {line.strip()}" for line in (named[-15:] or lines[-3:]))
