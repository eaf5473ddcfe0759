"""The project's folders; files written whole or not at all, and their hashes."""

import errno
import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import lock_descriptor

from hsisr_core.errors import HsisrError

AnyPath = str | os.PathLike[str]


@contextmanager
def atomic_path(path: AnyPath) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it there when the block ends without an error.

    A reader sees the old file or the new one, never a part. HsisrError: the folder is not writable, the disk is full.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes the file private
        temporary.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise HsisrError(f"No space left on the disk: {path} is as it was. Free some space.") from error
        if isinstance(error, PermissionError | FileExistsError | NotADirectoryError | IsADirectoryError):
            raise HsisrError(f"Cannot write {path}: {error.strerror}. Choose another folder.") from error
        raise
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def remove_leftovers(path: AnyPath) -> None:
    """Remove the temporary files of `atomic_path(path)` that no process has locked: killed ones left them."""
    path = Path(path)
    # as mkstemp names them
    name = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}{re.escape(path.suffix)}")
    with suppress(OSError):
        for file in [file for file in path.parent.iterdir() if name.fullmatch(file.name)]:
            with suppress(OSError), file.open("rb+") as left:
                # the process of a newer one may be about to lock it
                old = time.time() - file.stat().st_mtime > 60
                if old and lock_descriptor(left.fileno(), blocking=False):
                    file.unlink()


def atomic_text(path: AnyPath, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all (see `atomic_path`)."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: AnyPath, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all. NaN is refused: it is not JSON."""
    atomic_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def sha256_file(path: AnyPath) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def project_root() -> Path:
    """Folder that holds `book/_toc.yml`: the current one, one above it, or the package's checkout; else the current."""
    here, package = Path.cwd(), Path(__file__).resolve().parents[2]
    folders = (here, *here.parents, package)
    return next((folder for folder in folders if (folder / "book" / "_toc.yml").is_file()), here)


def book_folder() -> Path:
    """Folder of the chapters, presets, splits and results: `book/` of the project; without one the package."""
    book = project_root() / "book"
    return book if (book / "_toc.yml").is_file() else Path(__file__).resolve().parents[1]


def cache_folder() -> Path:
    """Folder of prepared data: the environment variable HSISR_CACHE, else `_build/data` of the project."""
    return _from_environment("HSISR_CACHE") or project_root() / "_build" / "data"


def datasets_folder() -> Path:
    """Folder of fetched datasets: the environment variable HSISR_DATASETS, else `data` of the project."""
    return _from_environment("HSISR_DATASETS") or project_root() / "data"


def runs_folder() -> Path:
    """Folder of the run folders: the environment variable HSISR_RUNS, else `runs` of the project."""
    return _from_environment("HSISR_RUNS") or project_root() / "runs"


def _from_environment(variable: str) -> Path | None:
    value = os.environ.get(variable, "")
    # Absolute, because papermill changes the working folder between here and the use of the path.
    return Path(value).expanduser().absolute() if value else None
