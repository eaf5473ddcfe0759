"""From an address to an unpacked folder, with tiny archives in the true layouts on a loopback server."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from loopback import Page, cave_zip, foster_zip, harvard_tgz, serving

from hsisr_core.data import fetch as module
from hsisr_core.data.download import Patience
from hsisr_core.data.fetch import LOCK, fetch
from hsisr_core.data.sources import DatasetSource, dataset_source
from hsisr_core.errors import HsisrError

HASTY = Patience(tries=2, pause=0.01, silence=0.5, slow=0.3, rate=2000)
CAVE, HARVARD = cave_zip(), {"CZ_hsdb": harvard_tgz(), "CZ_hsdbi": harvard_tgz("CZ_hsdbi", ("imgh7",))}


@pytest.fixture(autouse=True)
def tiny_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The true size of CAVE's archive is known; the tiny one has another."""

    def source(name: str) -> DatasetSource:
        known = dataset_source(name)
        return replace(known, archives=tuple(replace(archive, size=None) for archive in known.archives))

    monkeypatch.setattr(module, "dataset_source", source)


def locked(folder: Path) -> dict[str, dict[str, object]]:
    return dict(json.loads((folder / LOCK).read_text()))


def files(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def test_cave_is_fetched_unpacked_and_its_hash_recorded(tmp_path: Path) -> None:
    page = Page(CAVE, drop=[700])
    with serving({"/x/complete_ms_data.zip": page}) as address:
        done = fetch("cave", tmp_path, [f"{address}/x/"], patience=HASTY)
        assert done.folder == tmp_path
        assert done.done == (f"complete_ms_data.zip: 99 files in {tmp_path / 'complete_ms_data'}",)
        inner = tmp_path / "complete_ms_data" / "balloons_ms" / "balloons_ms"
        assert (inner / "balloons_ms_31.png").is_file()
        entry = locked(tmp_path)["complete_ms_data.zip"]
        assert entry["sha256"] == hashlib.sha256(CAVE).hexdigest()
        assert entry["from"] == f"{address}/x/complete_ms_data.zip"
        requests = len(page.asked)
        (tmp_path / "complete_ms_data.zip").unlink()  # to save space: what is unpacked stays
        (again,) = fetch("cave", tmp_path, [f"{address}/x/"]).done
        assert "already unpacked" in again
        assert len(page.asked) == requests


def test_another_file_than_the_first_download_is_refused_ever_after(tmp_path: Path) -> None:
    pages = {"/complete_ms_data.zip": Page(CAVE)}
    other = cave_zip(("balloons",))
    with serving(pages) as address:
        fetch("cave", tmp_path, [f"{address}/"], patience=HASTY)
        for name in files(tmp_path):
            if name != LOCK:
                (tmp_path / name).unlink()
        pages["/complete_ms_data.zip"] = Page(other)
        with pytest.raises(HsisrError, match=r"another SHA-256 than") as caught:
            fetch("cave", tmp_path, [f"{address}/"], patience=HASTY)
        assert hashlib.sha256(CAVE).hexdigest() in str(caught.value)
        assert not (tmp_path / "complete_ms_data.zip").exists()
    by_hand = tmp_path / "complete_ms_data.zip"
    by_hand.write_bytes(other)
    with pytest.raises(
        HsisrError, match=r"its first download, of .* from http.*, had .* if you trust it, remove"
    ):
        fetch("cave", tmp_path)
    (tmp_path / LOCK).unlink()
    fetch("cave", tmp_path)
    assert locked(tmp_path)["complete_ms_data.zip"]["sha256"] == hashlib.sha256(other).hexdigest()


def test_a_published_hash_needs_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = dataset_source("cave")
    (archive,) = known.archives
    published = replace(archive, size=len(CAVE), sha256=hashlib.sha256(CAVE).hexdigest())
    monkeypatch.setattr(module, "dataset_source", lambda name: replace(known, archives=(published,)))
    file = tmp_path / "mine.zip"
    file.write_bytes(CAVE)
    fetch("cave", tmp_path / "to", [str(file)])
    assert not (tmp_path / "to" / LOCK).exists()
    file.write_bytes(CAVE[:-1] + b"?")
    with pytest.raises(HsisrError, match=f"but it had {published.sha256}"):
        fetch("cave", tmp_path / "to", [str(file)])
    file.write_bytes(CAVE[:-1])
    with pytest.raises(HsisrError, match=f"has {len(CAVE) - 1} bytes, expected {len(CAVE)}: it is not whole"):
        fetch("cave", tmp_path / "to", [str(file)])


def test_nothing_is_recorded_of_an_archive_that_cannot_be_unpacked(tmp_path: Path) -> None:
    expected = pytest.raises(HsisrError, match=r"damaged or no archive .* Delete it and fetch it again")
    with serving({"/complete_ms_data.zip": Page(CAVE[:5000])}) as address, expected:
        fetch("cave", tmp_path, [f"{address}/"], patience=HASTY)
    assert not (tmp_path / LOCK).exists()
    assert not (tmp_path / "complete_ms_data").exists()


def test_when_nothing_answers_the_message_says_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = dataset_source("cave")
    (archive,) = known.archives
    with serving({"/b.zip": Page(b"<html>moved</html>")}) as address:
        urls = (f"{address}/a.zip", f"{address}/b.zip")
        moved = replace(known, archives=(replace(archive, urls=urls, size=None),))
        monkeypatch.setattr(module, "dataset_source", lambda name: moved)
        with pytest.raises(HsisrError) as caught:
            fetch("cave", tmp_path, patience=HASTY)
    for part in (*urls, "404", "a web page", known.page, str(tmp_path / archive.name), "--from FILE"):
        assert part in str(caught.value)


def test_an_archive_placed_by_hand_is_used(tmp_path: Path) -> None:
    (tmp_path / "complete_ms_data.zip").write_bytes(CAVE)
    fetch("cave", tmp_path)
    assert (tmp_path / "complete_ms_data" / "cloth_ms").is_dir()


def test_harvard_has_two_archives_and_takes_them_from_a_folder(tmp_path: Path) -> None:
    source = tmp_path / "disk"
    source.mkdir()
    for stem, data in HARVARD.items():
        (source / f"{stem}.tgz").write_bytes(data)
    fetch("harvard", tmp_path / "to", [str(source)])
    assert [name for name in files(tmp_path / "to") if name.endswith((".mat", ".txt"))] == [
        "CZ_hsdb/CZ_hsdb/calib.txt",
        "CZ_hsdb/CZ_hsdb/imga1.mat",
        "CZ_hsdb/CZ_hsdb/imgb2.mat",
        "CZ_hsdbi/CZ_hsdbi/calib.txt",
        "CZ_hsdbi/CZ_hsdbi/imgh7.mat",
    ]
    assert set(locked(tmp_path / "to")) == {"CZ_hsdb.tgz", "CZ_hsdbi.tgz"}


def test_one_of_two_archives_as_a_file_is_enough(tmp_path: Path) -> None:
    file = tmp_path / "CZ_hsdbi.tgz"
    file.write_bytes(HARVARD["CZ_hsdbi"])
    (done,) = fetch("harvard", tmp_path / "to", [str(file)]).done
    assert done.startswith("CZ_hsdbi.tgz: 2 files")
    file.rename(tmp_path / "harvard.tgz")
    with pytest.raises(HsisrError, match=r"harvard\.tgz is no archive of harvard; expected CZ_hsdb\.tgz or"):
        fetch("harvard", tmp_path / "to", [str(tmp_path / "harvard.tgz")])
    with pytest.raises(HsisrError, match="no such file or folder"):
        fetch("harvard", tmp_path / "to", [str(tmp_path / "nowhere.tgz")])


def test_only_some_scenes_and_later_more(tmp_path: Path) -> None:
    (tmp_path / "complete_ms_data.zip").write_bytes(CAVE)
    fetch("cave", tmp_path, scenes=["balloons"])
    assert [folder.name for folder in (tmp_path / "complete_ms_data").glob("*_ms")] == ["balloons_ms"]
    fetch("cave", tmp_path, scenes=["cloth"])
    assert len(list((tmp_path / "complete_ms_data").glob("*_ms"))) == 2
    assert "already unpacked" in fetch("cave", tmp_path, scenes=["balloons", "cloth"]).done[0]
    with pytest.raises(HsisrError, match="No archive of cave holds the scenes baloons"):
        fetch("cave", tmp_path, scenes=["baloons"])
    assert len(list((tmp_path / "complete_ms_data").glob("*_ms"))) == 2
    fetch("cave", tmp_path)
    assert len(list((tmp_path / "complete_ms_data").glob("*_ms"))) == 3


def test_a_scene_may_be_in_any_of_the_archives(tmp_path: Path) -> None:
    for stem, data in HARVARD.items():
        (tmp_path / f"{stem}.tgz").write_bytes(data)
    fetch("harvard", tmp_path, scenes=["imgh7"])
    assert [file.name for file in tmp_path.rglob("*.mat")] == ["imgh7.mat"]
    with pytest.raises(HsisrError, match="No archive of harvard holds the scenes imgz9"):
        fetch("harvard", tmp_path, scenes=["imga1", "imgz9"])


def test_foster_takes_names_that_are_not_in_its_list(tmp_path: Path) -> None:
    names = ["Gualtar_Steps", "Nogueiro"]
    pages = {f"/{name}.zip": Page(foster_zip(name, tmp_path)) for name in names}
    with serving(pages) as address:
        fetch("foster", tmp_path / "to", [f"{address}/"], names, patience=HASTY)
    assert [name for name in files(tmp_path / "to") if name.endswith(".mat")] == [
        "Gualtar_Steps/hsi_gualtar_steps.mat",
        "Nogueiro/hsi_nogueiro.mat",
    ]


def test_foster_takes_a_folder_of_archives_as_its_list(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    for name in ("Ruivaes", "Nogueiro"):
        (disk / f"{name}.zip").write_bytes(foster_zip(name, tmp_path))
    fetched = fetch("foster", tmp_path / "to", [str(disk)])
    assert [line.split(":")[0] for line in fetched.done] == ["Nogueiro.zip", "Ruivaes.zip"]


def test_a_damaged_lock_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "complete_ms_data.zip").write_bytes(CAVE)
    (tmp_path / LOCK).write_text('{"complete_ms_data.zip": {"sha')
    with pytest.raises(HsisrError, match=r"lock\.json is damaged"):
        fetch("cave", tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    with pytest.raises(HsisrError, match=r"Cannot write to .*taken.* --to"):
        fetch("cave", tmp_path / "taken" / "cave")
