"""Where the project's folders are: the book, the datasets, the cache of prepared data, the run folders."""

from __future__ import annotations

import os
from pathlib import Path

from hsisr_core.errors import HsisrError

__all__ = ["book_folder", "cache_folder", "datasets_folder", "project_root", "runs_folder"]


def project_root() -> Path:
    """Folder that holds `book/_toc.yml`: the current one, one above it, or the package's own checkout.

    Raises
    ------
    HsisrError
        None of these folders holds the book.
    """
    here = Path.cwd()
    package = Path(__file__).resolve().parents[2]
    for folder in (here, *here.parents, package):
        if (folder / "book" / "_toc.yml").is_file():
            return folder
    raise HsisrError(
        f"No book/_toc.yml in {here}, in a folder above it, or in {package}. "
        "Start from inside a checkout of the project."
    )


def book_folder() -> Path:
    """Folder of the chapters, presets and splits: `book/` under `project_root`."""
    return project_root() / "book"


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
