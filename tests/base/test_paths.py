from __future__ import annotations

from pathlib import Path

import pytest

from hsisr_core.base import paths
from hsisr_core.errors import HsisrError


def test_the_project_is_found_from_a_folder_inside_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = project / "runs" / "a"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert paths.project_root() == project
    assert paths.book_folder() == project / "book"


def test_outside_any_project_the_checkout_of_the_package_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "book").mkdir(parents=True)
    (checkout / "book" / "_toc.yml").touch()
    monkeypatch.setattr(paths, "__file__", str(checkout / "hsisr_core" / "base" / "paths.py"))
    monkeypatch.chdir("/")
    assert paths.project_root() == checkout


def test_no_book_anywhere_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        paths, "__file__", str(tmp_path / "site-packages" / "hsisr_core" / "base" / "paths.py")
    )
    monkeypatch.chdir("/")
    with pytest.raises(HsisrError, match=r"No book/_toc\.yml .* checkout"):
        paths.book_folder()


def test_cache_and_runs_follow_the_environment(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert paths.runs_folder() == project / "runs"
    assert paths.cache_folder() == tmp_path / "cache"
    monkeypatch.setenv("HSISR_CACHE", "")
    monkeypatch.setenv("HSISR_RUNS", "elsewhere/runs")
    assert paths.cache_folder() == project / "_build" / "data"
    runs = paths.runs_folder()
    monkeypatch.chdir("/")
    assert runs == project / "elsewhere" / "runs"
