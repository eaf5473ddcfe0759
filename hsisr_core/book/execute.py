"""Run the chapters that need it with papermill, several at once, and swap the result in when all have run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from tqdm import tqdm

from hsisr_core.base.paths import book_folder, project_root
from hsisr_core.base.threads import thread_share
from hsisr_core.book.chapter import assign_parameters
from hsisr_core.book.executed_cache import (
    TIMES_VARIABLE,
    Executed,
    chapter_state,
    is_live,
    read_manifest,
    reused,
    still_holds,
    write_manifest,
)
from hsisr_core.errors import HsisrError

__all__ = [
    "BookError",
    "child_environment",
    "execute_chapters",
    "replace_folder",
    "without_colours",
    "work_folder",
]


ANSI = re.compile(r"\x1b\[[0-9;]*m")


class BookError(HsisrError):
    """The book could not be built: a chapter's cell failed, or Sphinx did."""

    exit_code = 1


@dataclass
class Execution:
    """One papermill at work on one chapter."""

    chapter: Path
    output: Path
    log: Path  # what papermill and the kernel print
    process: subprocess.Popen[bytes]
    started: float
    values: Mapping[str, Any]
    state: dict[str, str] | None  # when it began, see `chapter_state`

    @property
    def name(self) -> str:
        return self.chapter.stem

    def executed(self) -> Executed:
        """Its entry in the manifest, once it has ended: reusable if nothing changed while it ran."""
        same = chapter_state(self.chapter, self.values) == self.state
        return Executed.of(self.output, time.monotonic() - self.started, self.state if same else None)

    def failure(self) -> str:
        """Which cell failed, and how."""
        log = without_colours(self.log.read_text(errors="replace")).split("\n")
        said = next((line for line in reversed(log) if line.strip()), "papermill said nothing")
        cells = json.loads(self.output.read_text(encoding="utf-8"))["cells"] if self.output.is_file() else []
        for cell in cells:
            for output in cell.get("outputs", []):
                if output["output_type"] == "error":
                    first = next((line for line in "".join(cell["source"]).splitlines() if line.strip()), "")
                    error = " ".join(f"{output['ename']}: {output['evalue']}".split())
                    return f"{self.name} stopped at the cell that begins with `{first}`: {error[:1000]}"
        return f"{self.name} stopped outside its cells: {said}"


def execute_chapters(
    chapters: Sequence[Path],
    parameters: Mapping[str, Any],
    out: str | os.PathLike[str] | None = None,
    jobs: int = 2,
    progress: bool | None = None,
    *,
    force: bool = False,
) -> Path:
    """Run chapters with papermill, several at once, each in its own kernel of this Python.

    What the last build executed and still holds is taken from there, see `hsisr_core.book.executed_cache`.

    Parameters
    ----------
    chapters : sequence of Path
        Notebooks in ``book/``; their working folder is the project's.
    parameters : mapping
        See `assign_parameters`.
    out, jobs
        See `build_book`.
    progress : bool, optional
        A progress bar, or (False) one line a chapter. Default: a bar when stderr is a terminal.
    force : bool
        Execute all.

    Returns
    -------
    Path
        ``out/executed``: the executed notebooks and everything else that the pages are made from.

    Raises
    ------
    HsisrError
        See `assign_parameters`; or `jobs` is below 1, or another build works in `out`.
    BookError
        A cell failed; its notebook is kept in ``out/failed``.
    """
    if jobs < 1:
        raise HsisrError(f"jobs={jobs}: expected at least 1.")
    assigned = assign_parameters(chapters, parameters)
    book = book_folder()
    with work_folder(out, "execute") as (folder, work):
        pages = work / "pages"
        pages.mkdir()
        copy_sources(book, pages)
        entries = {} if force else reuse(chapters, assigned, folder / "executed", pages)
        if entries:
            count = f"{len(entries)} of {len(chapters)} chapters"
            print(
                f"{count} taken from the last build: nothing they show has changed (--force executes them)",
                file=sys.stderr,
                flush=True,
            )
        fresh = [chapter for chapter in chapters if chapter.stem not in entries]
        live = [chapter for chapter in fresh if is_live(chapter)]
        others = [chapter for chapter in fresh if chapter not in live]
        with tqdm(total=len(fresh), desc="chapters", unit="chapter", disable=not _wants_bar(progress)) as bar:
            for batch in (others, live):  # a live chapter shows what the others took
                write_manifest(pages, entries)
                with closing(run_all(batch, pages, assigned, work, jobs, bar)) as ended:
                    for item in ended:
                        finish(item, folder / "failed")
                        entries[item.name] = item.executed()
                        bar.update()
                        if bar.disable:
                            line = f"chapter {len(entries)}/{len(chapters)}: {item.name}"
                            seconds = entries[item.name].seconds
                            print(f"{line}, {seconds:.0f} s", file=sys.stderr, flush=True)
        write_manifest(pages, entries)
        return replace_folder(pages, folder / "executed")


def reuse(
    chapters: Sequence[Path], assigned: Mapping[Path, Mapping[str, Any]], last: Path, pages: Path
) -> dict[str, Executed]:
    """Copy to `pages` what still holds of the executed chapters in `last`; return their entries."""
    entries, taken = read_manifest(last), dict[str, Executed]()
    for chapter in chapters:
        entry, notebook = entries.get(chapter.stem), last / chapter.name
        if entry is None or is_live(chapter):
            continue
        if still_holds(entry, notebook, chapter_state(chapter, assigned[chapter])):
            shutil.copy2(notebook, pages / chapter.name)
            taken[chapter.stem] = reused(entry)
    return taken


def run_all(
    chapters: Sequence[Path],
    pages: Path,
    assigned: Mapping[Path, Mapping[str, Any]],
    work: Path,
    jobs: int,
    bar: tqdm,
) -> Generator[Execution, None, None]:
    """Run chapters, `jobs` at once, and yield each as it ends; those at work are stopped when the caller stops."""
    waiting, running = list(chapters), list[Execution]()
    shown = time.monotonic()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                chapter = waiting.pop(0)
                running.append(start(chapter, pages / chapter.name, assigned[chapter], work, jobs))
                bar.set_postfix_str(", ".join(item.name for item in running))
            for item in [item for item in running if item.process.poll() is not None]:
                running.remove(item)
                yield item
            if time.monotonic() - shown > 1:  # so that the clock of a long chapter moves
                bar.refresh()
                shown = time.monotonic()
            time.sleep(0.05)
    finally:
        for item in running:
            stop(item.process)


def start(chapter: Path, output: Path, values: Mapping[str, Any], work: Path, jobs: int) -> Execution:
    """Start papermill on one chapter, with the threads of one of `jobs`."""
    own = work / chapter.stem
    own.mkdir()
    given, log = own / "parameters.yaml", own / "log"
    given.write_text(yaml.safe_dump(dict(values)), encoding="utf-8")
    command = [sys.executable, "-m", "papermill", str(chapter), str(output), "--kernel", "python3"]
    options = ["--cwd", str(project_root()), "--no-progress-bar", "--no-log-output", "--log-level", "ERROR"]
    state = chapter_state(chapter, values)
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, *options, *(["-f", str(given)] if values else [])],
            env=thread_share(jobs) | child_environment(own) | {TIMES_VARIABLE: str(output.parent)},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    return Execution(chapter, output, log, process, time.monotonic(), values, state)


def child_environment(work: Path) -> dict[str, str]:
    """Environment of a chapter and of Jupyter Book: this package, and none of the user's Jupyter set-up."""
    kept = {name: value for name, value in os.environ.items() if name not in ("MPLBACKEND", "JUPYTER_PATH")}
    package = str(Path(__file__).resolve().parents[2])
    return kept | {
        "PYTHONPATH": os.pathsep.join(filter(None, [package, kept.get("PYTHONPATH", "")])),
        "JUPYTER_PREFER_ENV_PATH": "1",  # else a user's own kernel named python3 comes first
        "IPYTHONDIR": str(work / "ipython"),  # no start-up files, and no history database to wait for
    }


def without_colours(text: str) -> str:
    """`text` without the terminal's colour codes."""
    return ANSI.sub("", text)


def finish(item: Execution, failed: Path) -> None:
    """Check a chapter that has ended; papermill's notes in it go, because they hold this machine's paths."""
    kept = failed / item.chapter.name
    if item.process.returncode:
        message = item.failure()
        if item.output.is_file():
            failed.mkdir(parents=True, exist_ok=True)
            shutil.move(item.output, kept)
            message += f"\nThe notebook as far as it ran: {kept}"
        raise BookError(message)
    kept.unlink(missing_ok=True)
    notebook = json.loads(item.output.read_text(encoding="utf-8"))
    for part in (notebook, *notebook["cells"]):
        part["metadata"].pop("papermill", None)
    item.output.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a papermill and wait for it; its kernel ends with it."""
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def copy_sources(book: Path, pages: Path) -> None:
    """Copy what pages are made from besides notebooks: the table of contents, prose, pictures and styles."""
    for pattern in ("_toc.yml", "*.md", "*.bib"):
        for file in book.glob(pattern):
            shutil.copy2(file, pages / file.name)
    if (book / "_assets").is_dir():
        shutil.copytree(book / "_assets", pages / "_assets")


@contextmanager
def work_folder(out: str | os.PathLike[str] | None, name: str) -> Iterator[tuple[Path, Path]]:
    """Yield `out` (default: ``_build`` of the project) and an empty folder in it, removed afterwards.

    Raises
    ------
    HsisrError
        Another build is at work on `name` there, or `out` cannot be written.
    """
    folder = (Path(out) if out is not None else project_root() / "_build").resolve()
    lock = FileLock(folder / f".{name}.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise HsisrError(
            f"Another build is at work in {folder}: wait for it, or choose another --out."
        ) from error
    except OSError as error:
        raise HsisrError(f"Cannot write to {folder}: {error.strerror}. Choose another --out.") from error
    try:
        for left in folder.glob(f".{name}-*"):  # of a build that was killed
            shutil.rmtree(left, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder))
        try:
            yield folder, work
        finally:
            shutil.rmtree(work, ignore_errors=True)
    finally:
        lock.release()


def replace_folder(new: Path, old: Path) -> Path:
    """Put the folder `new` in the place of `old`; nothing of `old` is left. Returns `old`."""
    aside = new.with_name(f"{new.name}.old")
    if old.exists():
        old.rename(aside)
    new.rename(old)
    shutil.rmtree(aside, ignore_errors=True)
    return old


def _wants_bar(progress: bool | None) -> bool:
    return sys.stderr.isatty() if progress is None else progress
