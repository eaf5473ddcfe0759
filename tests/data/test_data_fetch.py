"""From an address to an unpacked folder, with tiny archives in the true layouts on a loopback server.

A download against a server that does everything wrong ends in a complete file or a clear error, never in a silent half.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loopback import Page, cave_zip, foster_zip, harvard_tgz, serving

from hsisr_core.data import DatasetSource, dataset_source, fetch
from hsisr_core.data.fetch import LOCK, download, unpack
from hsisr_core.errors import HsisrError

module = importlib.import_module("hsisr_core.data.fetch")
CAVE, HARVARD = cave_zip(), {"CZ_hsdb": harvard_tgz(), "CZ_hsdbi": harvard_tgz("CZ_hsdbi", ("imgh7",))}


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the loopback."""
    monkeypatch.setattr(module, "_PAUSE", 0.01)
    monkeypatch.setattr(module, "_SILENCE", 0.3)


@pytest.fixture(autouse=True)
def tiny_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The true size of CAVE's archive is known; the tiny one has another."""
    replace_archives(monkeypatch, size=None)


def replace_archives(monkeypatch: pytest.MonkeyPatch, **facts: object) -> None:
    def source(name: str) -> DatasetSource:
        known = dataset_source(name)
        files = tuple(archive.model_copy(update=facts) for archive in known.files)
        return known.model_copy(update={"files": files})

    monkeypatch.setattr(module, "dataset_source", source)


def locked(folder: Path) -> dict[str, dict[str, object]]:
    return dict(json.loads((folder / LOCK).read_text()))


def files(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


# Downloads

FILE = harvard_tgz("big", tuple(f"img{index}" for index in range(8)))


def get(tmp_path: Path, *pages: Page, size: int | None = None, sha256: str | None = None) -> str:
    """Download from the first page that gives it; return the path on the server that did."""
    served = {f"/{index}.tgz": page for index, page in enumerate(pages)}
    with serving(served) as address:
        urls = [address + path for path in served]
        url = download(urls, tmp_path / "a.tgz", size, sha256, "By hand.")
    assert (tmp_path / "a.tgz").read_bytes() == FILE
    assert files(tmp_path) == ["a.tgz"]
    return url.removeprefix(address)


def refuse(tmp_path: Path, page: Page, *parts: str, **known: Any) -> None:
    with pytest.raises(HsisrError) as caught:
        get(tmp_path, page, **known)
    for part in (*parts, "a.tgz could not be downloaded", "/0.tgz (", "By hand."):
        assert part in str(caught.value)
    assert not (tmp_path / "a.tgz").exists()


def start(asked: str | None) -> int:
    return 0 if asked is None else int(asked.removeprefix("bytes=").removesuffix("-"))


def test_a_file_arrives(tmp_path: Path) -> None:
    assert len(FILE) > 80_000
    sha256 = hashlib.sha256(FILE).hexdigest()
    assert get(tmp_path, Page(FILE), size=len(FILE), sha256=sha256) == "/0.tgz"


def test_a_broken_transfer_is_continued_where_it_stopped(tmp_path: Path) -> None:
    page = Page(FILE, drop=[40_000, 0, 0, 30_000, 0])
    get(tmp_path, page)
    starts = [start(asked) for asked in page.asked]
    assert starts[0] == 0
    assert starts == sorted(starts)
    assert 20_000 < starts[1] == starts[2] == starts[3] <= 40_000
    assert starts[3] < starts[4] == starts[5] <= 70_000


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("changed", [True, False])
def test_a_later_start_continues_the_same_file_and_no_other(
    tmp_path: Path, changed: bool, ranges: bool
) -> None:
    before = bytes(len(FILE)) if changed else FILE
    pages = {"/a.tgz": Page(before, drop=[40_000, 0, 0, 0, 0])}
    with serving(pages) as address:
        with pytest.raises(HsisrError, match=r"could not be downloaded: http.*a\.tgz \("):
            download([address + "/a.tgz"], tmp_path / "a.tgz")
        assert not (tmp_path / "a.tgz").exists()
        page = pages["/a.tgz"] = Page(FILE, ranges=ranges)
        download([address + "/a.tgz"], tmp_path / "a.tgz")
    assert len(page.asked) == 1
    assert start(page.asked[0]) > 20_000
    assert (tmp_path / "a.tgz").read_bytes() == FILE
    assert files(tmp_path) == ["a.tgz"]


def test_without_a_strong_tag_it_starts_anew(tmp_path: Path) -> None:
    for tag in ("", 'W/"1"'):
        page = Page(FILE, drop=[40_000], headers={"ETag": tag})
        get(tmp_path, page)
        assert page.asked == [None, None]
        (tmp_path / "a.tgz").unlink()


def test_the_next_mirror_is_asked_and_gets_nothing_of_the_one_before(tmp_path: Path) -> None:
    broken = Page(bytes(len(FILE)), drop=[40_000, 0, 0, 0, 0])
    pages = Page(status=[404]), Page(status=[500] * 5), Page(b"<html>"), broken, Page(FILE)
    assert get(tmp_path, *pages) == "/4.tgz"


def test_a_busy_server_is_asked_again(tmp_path: Path) -> None:
    assert get(tmp_path, Page(FILE, status=[503, 429])) == "/0.tgz"


def test_every_address_is_named_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(HsisrError) as caught:
        get(tmp_path, Page(status=[404]), Page(b"<html>Not here</html>"), Page(status=[403]))
    for part in (
        "/0.tgz (it answered 404 Not Found)",
        "/1.tgz (it gave 21 bytes that are not the expected .tgz file)",
        "/2.tgz (it answered 403 Forbidden)",
    ):
        assert part in str(caught.value)
    with serving({}) as address:
        pass
    with pytest.raises(HsisrError, match=r"Connection refused\)\. By hand\."):
        download([address + "/a.tgz"], tmp_path / "a.tgz", advice="By hand.")
    with pytest.raises(HsisrError, match="no address is known"):
        download([], tmp_path / "a.tgz")


def test_wrong_bytes_are_refused_and_the_next_mirror_asked(tmp_path: Path) -> None:
    sha256 = hashlib.sha256(FILE).hexdigest()
    wrong = FILE[:-1] + b"?"
    refuse(tmp_path, Page(wrong), f"another SHA-256 than {sha256}", sha256=sha256)
    assert files(tmp_path) == []
    refuse(tmp_path, Page(FILE), "expected .tgz file of 7)", size=7)
    assert files(tmp_path) == []
    assert get(tmp_path, Page(wrong), Page(FILE), sha256=sha256) == "/1.tgz"


def test_too_little_is_never_taken_for_all(tmp_path: Path) -> None:
    refuse(tmp_path, Page(FILE, length=5))
    refuse(tmp_path, Page(FILE, drop=[40_000] * 9, ranges=False))


def test_silence_is_given_up(tmp_path: Path) -> None:
    refuse(tmp_path, Page(FILE, silent=True, ranges=False), "timed out")


def test_an_archive_is_kept_as_it_is_sent(tmp_path: Path) -> None:
    """Some servers call a .tgz a compressed .tar: it is not decompressed on the way."""
    get(tmp_path, Page(FILE, headers={"Content-Encoding": "gzip"}))


# Archives


def zip_of(path: Path, *members: tuple[Any, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def tar_of(path: Path, *members: tuple[Any, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members:
            item = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            item.size = len(data) if item.isreg() else 0
            archive.addfile(item, io.BytesIO(data))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "inner" / "out"


Maker = Callable[..., Path]
BOTH = pytest.mark.parametrize(("make", "name"), [(zip_of, "a.zip"), (tar_of, "a.tgz")])


@BOTH
def test_everything_is_unpacked(tmp_path: Path, folder: Path, make: Maker, name: str) -> None:
    archive = make(tmp_path / name, ("x/1.png", b"one"), ("x/2.png", b"two" * 10**6), ("calib.txt", b""))
    assert unpack(archive, folder) == 3
    assert (folder / "x" / "2.png").read_bytes() == b"two" * 10**6
    assert files(tmp_path / "inner") == ["out/calib.txt", "out/x/1.png", "out/x/2.png"]
    # again, other files: nothing of the old folder stays
    assert unpack(make(tmp_path / name, ("y_ms/1.png", b"one")), folder) == 1
    assert files(folder) == ["y_ms/1.png"]


@BOTH
@pytest.mark.parametrize("bad", ["../evil", "x/../../evil", "/evil", "..\\evil", "C:\\evil", "C:evil", ".."])
def test_no_member_leaves_the_folder(tmp_path: Path, folder: Path, make: Maker, name: str, bad: str) -> None:
    archive = make(tmp_path / name, ("x/1.png", b"one"), (bad, b"evil"))
    with pytest.raises(HsisrError, match=r"would leave its folder.* not unpacked"):
        unpack(archive, folder)
    assert files(tmp_path) == [name]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, folder: Path, kind: bytes) -> None:
    item = tarfile.TarInfo("x/link")
    item.type, item.linkname = kind, "../../.."
    archive = tar_of(tmp_path / "a.tgz", ("x/1.png", b"one"), (item, b""), ("x/link/evil", b"evil"))
    with pytest.raises(HsisrError, match=r"'x/link', which is a link or device.* not unpacked"):
        unpack(archive, folder)
    assert files(tmp_path) == ["a.tgz"]


def test_links_in_a_zip_are_refused(tmp_path: Path, folder: Path) -> None:
    item = zipfile.ZipInfo("x/link")
    item.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive = zip_of(tmp_path / "a.zip", (item, b"../../.."), ("x/link/evil", b"evil"))
    with pytest.raises(HsisrError, match="'x/link', which is a link or device"):
        unpack(archive, folder)
    assert files(tmp_path) == ["a.zip"]


@pytest.mark.parametrize("data", [cave_zip(("balloons",)), harvard_tgz()])
def test_an_archive_cut_anywhere_leaves_the_old_folder(tmp_path: Path, folder: Path, data: bytes) -> None:
    archive = tmp_path / ("a.zip" if data.startswith(b"PK") else "a.tgz")
    archive.write_bytes(data)
    unpack(archive, folder)
    before = files(folder)
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 1
    lengths = [*range(0, len(data), len(data) // 9), len(data) - 1, len(data) - 9]
    for wrong in (*(data[:length] for length in lengths), bytes(damaged)):
        archive.write_bytes(wrong)
        with pytest.raises(HsisrError, match=r"damaged or not an archive .* fetch it again"):
            unpack(archive, folder)
    assert files(folder) == before
    assert [file.name for file in folder.parent.iterdir()] == ["out"]


# Datasets


def test_cave_is_fetched_unpacked_and_its_hash_recorded(tmp_path: Path) -> None:
    page = Page(CAVE, drop=[700])
    with serving({"/x/complete_ms_data.zip": page}) as address:
        folder, done = fetch("cave", tmp_path, [f"{address}/x/"])
        assert folder == tmp_path
        assert done == [f"complete_ms_data.zip: 99 files in {tmp_path / 'complete_ms_data'}"]
        inner = tmp_path / "complete_ms_data" / "balloons_ms" / "balloons_ms"
        assert (inner / "balloons_ms_31.png").is_file()
        entry = locked(tmp_path)["complete_ms_data.zip"]
        assert entry["sha256"] == hashlib.sha256(CAVE).hexdigest()
        assert entry["from"] == f"{address}/x/complete_ms_data.zip"
        requests = len(page.asked)
        (tmp_path / "complete_ms_data.zip").unlink()  # to save space: what is unpacked stays
        _, (again,) = fetch("cave", tmp_path, [f"{address}/x/"])
        assert "already unpacked" in again
        assert len(page.asked) == requests


def test_another_file_than_the_first_download_is_refused_ever_after(tmp_path: Path) -> None:
    pages = {"/complete_ms_data.zip": Page(CAVE)}
    other = cave_zip(("balloons",))
    with serving(pages) as address:
        fetch("cave", tmp_path, [f"{address}/"])
        for name in files(tmp_path):
            if name.endswith(".zip"):
                (tmp_path / name).unlink()
        shutil.rmtree(tmp_path / "complete_ms_data")
        pages["/complete_ms_data.zip"] = Page(other)
        with pytest.raises(HsisrError, match=r"another SHA-256 than") as caught:
            fetch("cave", tmp_path, [f"{address}/"])
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


def test_an_archive_of_another_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_archives(monkeypatch, size=len(CAVE))
    file = tmp_path / "mine.zip"
    file.write_bytes(CAVE[:-1])
    with pytest.raises(HsisrError, match=f"has {len(CAVE) - 1} bytes, expected {len(CAVE)}: it is not whole"):
        fetch("cave", tmp_path / "to", [str(file)])
    file.write_bytes(CAVE)
    fetch("cave", tmp_path / "to", [str(file)])
    assert (tmp_path / "to" / "complete_ms_data" / "cloth_ms").is_dir()


def test_nothing_is_recorded_of_an_archive_that_cannot_be_unpacked(tmp_path: Path) -> None:
    pages = {f"/{name}.tgz": Page(data[:-200]) for name, data in HARVARD.items()}
    expected = pytest.raises(HsisrError, match=r"damaged or not an archive .* Delete it and fetch it again")
    with serving(pages) as address, expected:
        fetch("harvard", tmp_path, [f"{address}/"])
    assert not (tmp_path / LOCK).exists()
    assert not (tmp_path / "CZ_hsdb").exists()


def test_when_nothing_answers_the_message_says_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving({"/b.zip": Page(b"<html>moved</html>")}) as address:
        urls = (f"{address}/a.zip", f"{address}/b.zip")
        replace_archives(monkeypatch, urls=urls, size=None)
        with pytest.raises(HsisrError) as caught:
            fetch("cave", tmp_path)
    by_hand = dataset_source("cave").page, str(tmp_path / "complete_ms_data.zip")
    for part in (*urls, *by_hand, "404", "not the expected .zip file", "--from FILE"):
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
    _, (done,) = fetch("harvard", tmp_path / "to", [str(file)])
    assert done.startswith("CZ_hsdbi.tgz: 2 files")
    file.rename(tmp_path / "harvard.tgz")
    with pytest.raises(
        HsisrError, match=r"harvard\.tgz is not an archive of harvard; expected CZ_hsdb\.tgz or"
    ):
        fetch("harvard", tmp_path / "to", [str(tmp_path / "harvard.tgz")])
    with pytest.raises(HsisrError, match="no such file or folder"):
        fetch("harvard", tmp_path / "to", [str(tmp_path / "nowhere.tgz")])


def test_what_comes_in_one_archive_is_not_fetched_by_scenes(tmp_path: Path) -> None:
    with pytest.raises(HsisrError, match="cave does not come by scenes"):
        fetch("cave", tmp_path, scenes=["balloons"])


def test_foster_takes_names_that_are_not_in_its_list(tmp_path: Path) -> None:
    names = ["Gualtar_Steps", "Nogueiro"]
    pages = {f"/{name}.zip": Page(foster_zip(name, tmp_path)) for name in names}
    with serving(pages) as address:
        fetch("foster", tmp_path / "to", [f"{address}/"], names)
    assert [name for name in files(tmp_path / "to") if name.endswith(".mat")] == [
        "Gualtar_Steps/hsi_gualtar_steps.mat",
        "Nogueiro/hsi_nogueiro.mat",
    ]


def test_foster_takes_a_folder_of_archives_as_its_list(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    for name in ("Ruivaes", "Nogueiro"):
        (disk / f"{name}.zip").write_bytes(foster_zip(name, tmp_path))
    _, done = fetch("foster", tmp_path / "to", [str(disk)])
    assert [line.split(":")[0] for line in done] == ["Nogueiro.zip", "Ruivaes.zip"]


def test_a_damaged_lock_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "complete_ms_data.zip").write_bytes(CAVE)
    (tmp_path / LOCK).write_text('{"complete_ms_data.zip": {"sha')
    with pytest.raises(HsisrError, match=r"lock\.json is damaged"):
        fetch("cave", tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    with pytest.raises(HsisrError, match=r"Cannot write to .*taken.* --to"):
        fetch("cave", tmp_path / "taken" / "cave")
