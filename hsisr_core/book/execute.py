"""Run with papermill, several at once, the chapters of which anything has changed since the last build."""

import glob
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from pathlib import Path
from typing import Any

from hsisr_core import base
from hsisr_core.base import AnyPath
from hsisr_core.book.chapter import assign_parameters, chapter_parameters
from hsisr_core.errors import HsisrError

MANIFEST = "executed.json"
#: Environment variables that may decide what a chapter shows begin so.
VARIABLES = ("HSISR_", "CUDA_", "OMP_", "MKL_", "ACCELERATE_", "PYTHON")
PACKAGE = Path(__file__).resolve().parents[1]


class BookError(HsisrError):
    """The book could not be built: a chapter's cell failed, or Sphinx did."""

    exit_code = 1


def execute_chapters(
    chapters: Sequence[Path],
    parameters: Mapping[str, Any],
    out: AnyPath | None = None,
    jobs: int | None = None,
    *,
    force: bool = False,
) -> Path:
    """Run chapters in the project's folder, `jobs` at once (default: a chapter a core); returns ``out/executed``.

    With `force`, nothing is taken from the last build. When a cell fails, BookError names it and the notebook as far
    as it ran; the next build goes on with the chapters that are left.
    """
    assigned = assign_parameters(chapters, parameters)
    folder = output_folder(out) / "executed"
    digests = {chapter.stem: chapter_digest(chapter, assigned[chapter]) for chapter in chapters}
    entries, kept = {}, {}
    known = {} if force or not (folder / MANIFEST).is_file() else base.read_json(folder / MANIFEST)
    for name, digest in digests.items():
        notebook = folder / f"{name}.ipynb"
        if notebook.is_file() and known.get(name) == {"digest": digest, "sha256": base.sha256_file(notebook)}:
            entries[name], kept[notebook] = known[name], notebook.read_bytes()
    shutil.rmtree(folder, ignore_errors=True)
    other = shutil.ignore_patterns("*.ipynb", "presets", "splits", "results", "drawings", ".*")
    shutil.copytree(base.book_folder(), folder, ignore=other)
    for notebook, content in kept.items():
        notebook.write_bytes(content)
    base.write_json(folder / MANIFEST, entries)
    if entries:
        count = f"{len(entries)} of {len(chapters)} chapters"
        base.to_stderr(f"{count} taken from the last build: nothing has changed (--force executes them)")
    fresh = [chapter for chapter in chapters if chapter.stem not in entries]
    batch = {chapter: assigned[chapter] for chapter in fresh}
    for name, seconds in _run_all(batch, folder, jobs or base.cores()):
        base.to_stderr(f"chapter {len(entries) + 1}/{len(chapters)}: {name}, {seconds:.0f} s")
        entries[name] = {"digest": digests[name], "sha256": base.sha256_file(folder / f"{name}.ipynb")}
        base.write_json(folder / MANIFEST, entries)
    return folder


def chapter_digest(chapter: Path, given: Mapping[str, Any]) -> str:
    """One digest of all that decides what a chapter shows when it is executed with the parameters `given`.

    The contents of its notebook, `hsisr_core`, presets, splits and results; size and time of change of runs and data
    (also where a parameter or its preset names a path); the packages, the machine and the environment `VARIABLES`.
    """
    from hsisr_core.runs import preset_values

    root, book = base.project_root(), base.book_folder()
    values = {name: item.default for name, item in chapter_parameters(chapter).items()} | dict(given)
    preset = values.get("preset")
    if preset is not None:
        # The chapters work in the project's folder, and a preset's file is named as seen from there.
        preset = preset_values(str(root / preset) if preset.endswith((".yaml", ".yml")) else preset)
    read = (PACKAGE, book / "presets", book / "splits", book / "results")
    contents = [chapter, *(file for folder in read for file in list_files(folder))]
    named = {root / Path(text).expanduser() for text in _texts([values, preset])} - {root}
    places = (base.datasets_folder(), base.runs_folder(), *sorted(named))
    stamped = [file for place in places for file in list_files(place)]
    # A run that has not begun has its settings only.
    stats = [(str(file), file.stat()) for file in stamped if file.name != "config.yaml"]
    stamps = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    return digest_of(contents, values, stamps)


def digest_of(files: Iterable[Path], *more: Any) -> str:
    """One digest of the contents of `files`, the packages, the machine, the environment `VARIABLES`, and `more`."""
    variables = sorted(item for item in os.environ.items() if item[0].startswith(VARIABLES))
    hashes = [(str(file), base.sha256_file(file)) for file in files]
    text = json.dumps([*more, hashes, variables, _software()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def clean_environment(work: Path) -> dict[str, str]:
    """Environment of a chapter and of Jupyter Book: this package, and none of the user's Jupyter set-up."""
    kept = {name: value for name, value in os.environ.items() if name not in ("MPLBACKEND", "JUPYTER_PATH")}
    folders = [str(PACKAGE.parent), *filter(None, kept.get("PYTHONPATH", "").split(os.pathsep))]
    return kept | {
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(folders)),
        # else a user's own kernel named python3 comes first
        "JUPYTER_PREFER_ENV_PATH": "1",
        # no start-up files, and no history database to wait for
        "IPYTHONDIR": str(work / "ipython"),
    }


def output_folder(out: AnyPath | None) -> Path:
    """`out` (default: ``_build`` of the project), which is made if it is not there."""
    folder = (Path(out) if out is not None else base.project_root() / "_build").resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HsisrError(f"Cannot write to {folder}: {error.strerror}. Choose another --out.") from error
    return folder


def _run_all(chapters: dict[Path, dict[str, Any]], folder: Path, jobs: int) -> Iterator[tuple[str, float]]:
    """Run chapters with their parameters; yield the name and seconds of each as it ends, BookError when one fails."""
    with base.worker_pool(max(1, min(jobs, len(chapters)))) as pool:
        started = {}
        for chapter, values in chapters.items():
            task = pool.submit(_run_chapter, chapter, folder / chapter.name, values, base.project_root())
            started[task] = chapter.stem
        for task in as_completed(started):
            try:
                yield started[task], task.result()
            except BrokenProcessPool as error:
                raise BookError("The process of a chapter was killed, perhaps for lack of memory.") from error


def _run_chapter(chapter: Path, output: Path, values: Mapping[str, Any], folder: Path) -> float:
    """In a worker: run one chapter in `folder`; returns the seconds it took."""
    import nbformat
    import papermill

    # What a kernel has to say outside its notebook is about its own ports and folders.
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as work:
        environment = clean_environment(Path(work))
        os.environ.clear()
        os.environ.update(environment)
        try:
            notebook = papermill.execute_notebook(
                chapter, output, values, kernel_name="python3", cwd=folder, progress_bar=False
            )
        except papermill.PapermillExecutionError as error:
            first = next((line for line in error.source.splitlines() if line.strip()), "")
            text = " ".join(f"{error.ename}: {error.evalue}".split())[:1000]
            where = f"{chapter.stem} stopped at the cell that begins with `{first}`"
            raise BookError(f"{where}: {text}\nThe notebook as far as it ran: {output}") from None
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            raise BookError(f"{chapter.stem} stopped outside its cells: {text}") from None
    # papermill's notes hold this machine's paths.
    for part in (notebook, *notebook.cells):
        part.metadata.pop("papermill", None)
    nbformat.write(notebook, output)
    return round(time.monotonic() - began, 2)


@cache
def _software() -> list[str]:
    installed = sorted(f"{item.name} {item.version}" for item in importlib.metadata.distributions())
    return [*installed, sys.version, platform.platform(), f"{os.cpu_count()} cores"]


def list_files(place: Path) -> list[Path]:
    """Every file below a folder, or the file itself; through links, without caches and hidden files."""
    # Path.rglob does not follow links.
    names = sorted(glob.glob("**", root_dir=place, recursive=True)) if place.is_dir() else [""]  # noqa: PTH207
    return [place / name for name in names if (place / name).is_file() and "__pycache__" not in name]


def _texts(value: Any) -> Iterator[str]:
    """All texts in nested lists and mappings."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(item)
