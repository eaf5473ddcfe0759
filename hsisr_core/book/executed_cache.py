"""Which executed chapters of the last build still hold, so that they need not be executed again.

``executed/executed.json`` lists, for each chapter, how long it took and a digest of each thing that decides
what it shows. A chapter is taken from the last build only if all of these are as they were:

- its notebook's bytes and its parameters, with the defaults of those that were not given;
- every file of `hsisr_core`, and every file in ``book/`` but the other pages: presets, splits, results;
- size and time of change of every file of the data: in the project's datasets folder, and wherever a parameter
  or a value in its preset names a path;
- the run folders: size and time of change of their files, and which are being trained;
- the environment variables of `VARIABLES`, the installed packages and their versions, Python, the machine.

It is taken from the same state only if that state did not change while it was executed, and only if its
executed notebook is the one that was written then. Where something cannot be read, the chapter is executed.
A chapter that shows what is not in this list, such as the time, has a cell tagged ``live`` and is always executed.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from hsisr_core.base.files import sha256_file, write_json
from hsisr_core.base.paths import book_folder, datasets_folder, project_root, runs_folder
from hsisr_core.book.chapter import chapter_parameters
from hsisr_core.errors import HsisrError
from hsisr_core.runs import is_locked, preset_values

__all__ = [
    "LIVE",
    "MANIFEST",
    "TIMES_VARIABLE",
    "Executed",
    "chapter_state",
    "execution_times",
    "is_live",
    "read_manifest",
    "still_holds",
    "write_manifest",
]

LIVE = "live"  # the tag of a cell that makes its chapter always executed
MANIFEST = "executed.json"
TIMES_VARIABLE = "HSISR_EXECUTED"  # where a live chapter finds the manifest of the build that executes it
VARIABLES = ("HSISR_", "CUDA_", "OMP_", "MKL_", "ACCELERATE_", "PYTHON")  # and all that begin so
PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Executed:
    """One executed chapter.

    Attributes
    ----------
    state
        Digests by what they are of, see `chapter_state`; None where nothing says that the outputs will hold.
    seconds
        What the execution took.
    when
        UTC, ISO 8601.
    sha256
        Of the executed notebook.
    reused
        Whether the last build took it from the one before.
    """

    state: dict[str, str] | None
    seconds: float
    when: str
    sha256: str
    reused: bool = False

    @classmethod
    def of(cls, notebook: Path, seconds: float, state: dict[str, str] | None) -> Executed:
        """What has just been executed into the file `notebook`."""
        when = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(state, round(seconds, 2), when, sha256_file(notebook))


def is_live(chapter: Path) -> bool:
    """Whether a cell of the notebook `chapter` is tagged ``live``."""
    cells = json.loads(chapter.read_text(encoding="utf-8"))["cells"]
    return any(LIVE in cell["metadata"].get("tags", []) for cell in cells)


def chapter_state(chapter: Path, given: Mapping[str, Any]) -> dict[str, str] | None:
    """Digest of each thing that decides what a chapter shows, by what it is; None if one cannot be read.

    Parameters
    ----------
    chapter : Path
        A notebook in ``book/``.
    given : mapping
        The parameters that it is executed with.
    """
    book = book_folder()
    try:
        values = {name: item.default for name, item in chapter_parameters(chapter).items()} | dict(given)
        preset = values.get("preset")
        named = [*_texts(values), *(_texts(preset_values(_from_root(preset))) if preset else ())]
        data = {datasets_folder(), *(path for text in named if text and (path := _path(text)).exists())}
        return {
            "notebook": sha256_file(chapter),
            "parameters": _digest(values),
            "code": _contents(PACKAGE),
            "book": _contents(book, leave_out=(".ipynb", ".md")),
            "data": _digest([(str(place), _stamps(place)) for place in sorted(data)]),
            "runs": _digest(_run_stamps(runs_folder())),
            "environment": _digest(
                sorted(item for item in os.environ.items() if item[0].startswith(VARIABLES))
            ),
            "packages": _packages(),
        }
    except (OSError, HsisrError):
        return None


def read_manifest(folder: Path) -> dict[str, Executed]:
    """The executed chapters in `folder`, by name; empty without a manifest that can be read."""
    try:
        entries = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return {name: Executed(**entry) for name, entry in entries.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write_manifest(folder: Path, entries: Mapping[str, Executed]) -> None:
    """Write the manifest of the executed chapters in `folder`."""
    write_json(folder / MANIFEST, {name: asdict(entry) for name, entry in entries.items()})


def still_holds(entry: Executed | None, notebook: Path, state: dict[str, str] | None) -> bool:
    """Whether `notebook`, executed in an earlier build, shows what executing it in `state` would show."""
    if entry is None or entry.state is None or entry.state != state:
        return False
    try:
        return sha256_file(notebook) == entry.sha256
    except OSError:
        return False


def reused(entry: Executed) -> Executed:
    """`entry`, taken over by another build."""
    return replace(entry, reused=True)


def execution_times() -> pd.DataFrame:
    """How long each chapter took to execute, and whether this build did it: for a live chapter.

    Returns
    -------
    pandas.DataFrame
        A row per chapter: chapter, seconds, executed ("in this build" or since when it is reused). Of the build
        that executes the calling chapter, else of the last one; empty if there was none.
    """
    place = os.environ.get(TIMES_VARIABLE)
    folder = Path(place) if place else project_root() / "_build" / "executed"
    rows = [
        (name, entry.seconds, f"reused, from {entry.when[:10]}" if entry.reused else "in this build")
        for name, entry in sorted(read_manifest(folder).items())
    ]
    return pd.DataFrame(rows, columns=["chapter", "seconds", "executed"])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _texts(value: Any) -> Iterator[str]:
    """All texts in nested lists and mappings."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _from_root(preset: str) -> str:
    """`preset` for a process that works elsewhere than the chapters do: in the project's folder."""
    return str(_path(preset)) if preset.endswith((".yaml", ".yml")) else preset


def _path(text: str) -> Path:
    return project_root() / Path(text).expanduser()


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file below `folder` (or itself, if it is one) with its relative name, through links, without caches."""
    if folder.is_file():
        yield folder.name, folder
        return
    seen = set[str]()
    for place, folders, files in os.walk(folder, followlinks=True, onerror=_raise):
        real = os.path.realpath(place)
        folders[:] = sorted(name for name in folders if name not in ("__pycache__", ".ipynb_checkpoints"))
        if real in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        for name in sorted(files):
            yield (Path(place) / name).relative_to(folder).as_posix(), Path(place) / name


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _contents(folder: Path, leave_out: tuple[str, ...] = ()) -> str:
    """Digest of the names and contents of all files; of those that lie in `folder` itself, not with these suffixes."""
    found = []
    for name, file in _files(folder):
        if "/" in name or file.suffix not in leave_out:
            status = file.stat()
            found.append((name, _sha256(file, status.st_size, status.st_mtime_ns)))
    return _digest(found)


@cache
def _sha256(file: Path, size: int, changed: int) -> str:
    return sha256_file(file)


def _stamps(folder: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of change of all files."""
    found = []
    for name, file in _files(folder):
        status = file.stat()
        found.append((name, status.st_size, status.st_mtime_ns))
    return found


def _run_stamps(runs: Path) -> list[Any]:
    """What the run folders hold. A settings file alone is a run that has not begun."""
    held = ("config.yaml", ".lock")
    stamps = [stamp for stamp in _stamps(runs) if stamp[0].rsplit("/", 1)[-1] not in held]
    return [stamps, sorted(lock.parent.name for lock in runs.glob("*/.lock") if is_locked(lock.parent))]


@lru_cache
def _packages() -> str:
    installed = {(item.metadata["Name"], item.version) for item in importlib.metadata.distributions()}
    return _digest([sorted(map(str, installed)), sys.version, platform.platform(), os.cpu_count()])
