"""Where folders are; files are written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from filelock import lock_descriptor

from hsisr_core.base import atomic_path, atomic_text, files, remove_leftovers, sha256_file, write_json
from hsisr_core.errors import HsisrError


def test_the_old_file_stays_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    atomic_text(path, "old")

    def fail_halfway() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_is_one_clear_error(tmp_path: Path, number: int) -> None:
    with pytest.raises(HsisrError, match=r"No space left .*b\.txt"), atomic_path(tmp_path / "b.txt"):
        raise OSError(number, "full")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(HsisrError, match="Cannot write"):
        atomic_text(tmp_path / "file" / "inside.txt", "y")


def test_other_errors_are_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="odd"), atomic_path(tmp_path / "c.txt"):
        raise OSError(errno.EIO, "odd")


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"psnr": float("nan")})
    write_json(tmp_path / "a.json", {"psnr": 3.5})
    assert json.loads((tmp_path / "a.json").read_text()) == {"psnr": 3.5}


def test_files_are_readable_by_others_as_the_umask_says(tmp_path: Path) -> None:
    atomic_text(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_sha256_of_known_bytes(tmp_path: Path) -> None:
    atomic_text(tmp_path / "a", "abc")
    assert sha256_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_leftovers_of_killed_processes_are_removed_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "out.npy"
    with atomic_path(path) as temporary:
        left = temporary.with_name(f".{path.name}.abcd_123.npy")
    held, young = left.with_name(".out.npy.abcd_124.npy"), left.with_name(".out.npy.abcd_125.npy")
    others = [
        left.with_name(name) for name in (".out.npy.backup.npy", ".out2.npy.abcd_123.npy", "out.npy.old")
    ]
    for file in (left, held, young, *others):
        file.write_bytes(b"x")
        os.utime(file, (0, 0) if file != young else None)
    with held.open("rb+") as opened:
        lock_descriptor(opened.fileno())
        remove_leftovers(path)
    assert not left.exists()
    assert all(file.exists() for file in (path, held, young, *others))
    remove_leftovers(path)
    assert not held.exists()


def test_the_name_of_a_temporary_file_is_one_that_is_known_as_a_leftover(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "out.npy") as temporary:
        os.utime(temporary, (0, 0))
        remove_leftovers(tmp_path / "out.npy")
        assert not temporary.exists()
        temporary.touch()


def test_the_project_is_found_from_a_folder_inside_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = project / "runs" / "a"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert files.project_root() == project
    assert files.book_folder() == project / "book"


def test_outside_any_project_the_checkout_of_the_package_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "book").mkdir(parents=True)
    (checkout / "book" / "_toc.yml").touch()
    monkeypatch.setattr(files, "__file__", str(checkout / "hsisr_core" / "base" / "files.py"))
    monkeypatch.chdir("/")
    assert files.project_root() == checkout


def test_without_a_project_files_come_from_the_package_and_go_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site-packages" / "hsisr_core"
    monkeypatch.setattr(files, "__file__", str(package / "base" / "files.py"))
    monkeypatch.chdir(tmp_path)
    assert (files.book_folder(), files.project_root()) == (package, tmp_path)


def test_cache_and_runs_follow_the_environment(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert files.runs_folder() == project / "runs"
    assert files.cache_folder() == tmp_path / "cache"
    monkeypatch.setenv("HSISR_CACHE", "")
    monkeypatch.setenv("HSISR_RUNS", "elsewhere/runs")
    assert files.cache_folder() == project / "_build" / "data"
    runs = files.runs_folder()
    monkeypatch.chdir("/")
    assert runs == project / "elsewhere" / "runs"
