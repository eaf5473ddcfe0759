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
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from loopback import Page, cave_zip, foster_zip, harvard_tgz, serving

from hsisr_core.data import dataset_source, fetch
from hsisr_core.data.fetch import LOCK, download, unpack
from hsisr_core.data.sources import DatasetSource
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
    replace_archives(monkeypatch)


def replace_archives(monkeypatch: pytest.MonkeyPatch, address: str = "", size: int | None = None) -> None:
    def source(name: str) -> DatasetSource:
        known = dataset_source(name)
        files = tuple(
            archive.model_copy(update={"urls": (f"{address}/{archive.name}",), "size": size})
            for archive in known.files
        )
        return known.model_copy(update={"files": files})

    monkeypatch.setattr(module, "dataset_source", source)


def locked(folder: Path) -> dict[str, dict[str, object]]:
    return dict(json.loads((folder / LOCK).read_text()))


def files(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


# Downloads

FILE = harvard_tgz("big", tuple(f"img{index}" for index in range(8)))


def get(tmp_path: Path, *pages: Page) -> str:
    """Download from the first page that gives it; return the path on the server that did."""
    served = {f"/{index}.tgz": page for index, page in enumerate(pages)}
    with serving(served) as address:
        urls = [address + path for path in served]
        url = download(urls, tmp_path / "a.tgz", "By hand.")
    assert (tmp_path / "a.tgz").read_bytes() == FILE
    assert files(tmp_path) == ["a.tgz"]
    return url.removeprefix(address)


def refuse(tmp_path: Path, page: Page, *parts: str) -> None:
    with pytest.raises(HsisrError) as caught:
        get(tmp_path, page)
    for part in (*parts, "a.tgz could not be downloaded", "/0.tgz (", "By hand."):
        assert part in str(caught.value)
    assert not (tmp_path / "a.tgz").exists()


def start(asked: str | None) -> int:
    return 0 if asked is None else int(asked.removeprefix("bytes=").removesuffix("-"))


def test_a_broken_transfer_is_continued_where_it_stopped(tmp_path: Path) -> None:
    assert len(FILE) > 80_000
    page = Page(FILE, drop=[40_000, 0, 0, 30_000, 0])
    assert get(tmp_path, page) == "/0.tgz"
    starts = [start(asked) for asked in page.asked]
    assert starts[0] == 0
    assert starts == sorted(starts)
    assert 20_000 < starts[1] == starts[2] == starts[3] <= 40_000
    assert starts[3] < starts[4] == starts[5] <= 70_000


@pytest.mark.parametrize("ranges", [True, False])
def test_a_later_start_continues(tmp_path: Path, ranges: bool) -> None:
    pages = {"/a.tgz": Page(FILE, drop=[40_000, 0, 0, 0, 0])}
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


def test_the_next_mirror_is_asked(tmp_path: Path) -> None:
    pages = Page(status=[404]), Page(status=[500] * 5), Page(b"<html>"), Page(FILE)
    assert get(tmp_path, *pages) == "/3.tgz"


def test_a_busy_server_is_asked_again(tmp_path: Path) -> None:
    assert get(tmp_path, Page(FILE, status=[503, 429])) == "/0.tgz"


def test_every_address_is_named_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(HsisrError) as caught:
        get(tmp_path, Page(status=[404]), Page(b"<html>Not here</html>"), Page(status=[403]))
    for part in (
        "/0.tgz (404 Client Error: Not Found",
        "/1.tgz (it gave 21 bytes",
        "/2.tgz (403 Client Error",
    ):
        assert part in str(caught.value)
    with serving({}) as address:
        pass
    with pytest.raises(HsisrError, match=r"Connection refused.*\)\. By hand\."):
        download([address + "/a.tgz"], tmp_path / "a.tgz", "By hand.")


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


@BOTH
@pytest.mark.parametrize("bad", ["../evil", "x/../../evil", "/evil", "..\\evil", "C:\\evil", "C:evil"])
def test_no_member_leaves_the_folder(tmp_path: Path, folder: Path, make: Maker, name: str, bad: str) -> None:
    archive = make(tmp_path / name, ("x/1.png", b"one"), (bad, b"evil"))
    with suppress(HsisrError):
        unpack(archive, folder)
    outside = [file for file in files(tmp_path) if not file.startswith("inner/out/")]
    assert outside == [name]
    assert not Path("/evil").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, folder: Path, kind: bytes) -> None:
    item = tarfile.TarInfo("x/link")
    item.type, item.linkname = kind, "../../.."
    archive = tar_of(tmp_path / "a.tgz", ("x/1.png", b"one"), (item, b""), ("x/link/evil", b"evil"))
    with pytest.raises(HsisrError, match=r"'x/link', which is a link or device"):
        unpack(archive, folder)
    assert files(tmp_path) == ["a.tgz"]


def test_links_in_a_zip_are_not_made(tmp_path: Path, folder: Path) -> None:
    item = zipfile.ZipInfo("x/link")
    item.external_attr = (stat.S_IFLNK | 0o777) << 16
    unpack(zip_of(tmp_path / "a.zip", (item, b"../../..")), folder)
    assert (folder / "x" / "link").is_file()
    assert not (folder / "x" / "link").is_symlink()


@pytest.mark.parametrize("data", [cave_zip(("balloons",)), harvard_tgz()])
def test_an_archive_cut_anywhere_is_not_unpacked(tmp_path: Path, folder: Path, data: bytes) -> None:
    archive = tmp_path / ("a.zip" if data.startswith(b"PK") else "a.tgz")
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 1
    lengths = [*range(0, len(data), len(data) // 9), len(data) - 1, len(data) - 9]
    for wrong in (*(data[:length] for length in lengths), bytes(damaged)):
        archive.write_bytes(wrong)
        with pytest.raises(HsisrError, match=r"damaged or not an archive .* fetch it again"):
            unpack(archive, folder)
    assert files(tmp_path) == [archive.name]


# Datasets


def test_cave_is_fetched_unpacked_and_its_hash_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Page(CAVE, drop=[700])
    with serving({"/complete_ms_data.zip": page}) as address:
        replace_archives(monkeypatch, address)
        folder, done = fetch("cave", tmp_path)
        assert folder == tmp_path
        assert done == [f"complete_ms_data.zip: 99 files in {tmp_path / 'complete_ms_data'}"]
        inner = tmp_path / "complete_ms_data" / "balloons_ms" / "balloons_ms"
        assert (inner / "balloons_ms_31.png").is_file()
        entry = locked(tmp_path)["complete_ms_data.zip"]
        assert entry["sha256"] == hashlib.sha256(CAVE).hexdigest()
        assert entry["from"] == f"{address}/complete_ms_data.zip"
        requests = len(page.asked)
        (tmp_path / "complete_ms_data.zip").unlink()  # to save space: what is unpacked stays
        _, (again,) = fetch("cave", tmp_path)
        assert "already unpacked" in again
        assert len(page.asked) == requests


def test_another_file_than_the_first_download_is_refused_ever_after(tmp_path: Path) -> None:
    file = tmp_path / "complete_ms_data.zip"
    file.write_bytes(CAVE)
    fetch("cave", tmp_path)
    shutil.rmtree(tmp_path / "complete_ms_data")
    other = cave_zip(("balloons",))
    file.write_bytes(other)
    with pytest.raises(
        HsisrError, match=r"its first download, of .* had .* if you trust it, remove"
    ) as caught:
        fetch("cave", tmp_path)
    assert hashlib.sha256(CAVE).hexdigest() in str(caught.value)
    (tmp_path / LOCK).unlink()
    fetch("cave", tmp_path)
    assert locked(tmp_path)["complete_ms_data.zip"]["sha256"] == hashlib.sha256(other).hexdigest()


def test_an_archive_of_another_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_archives(monkeypatch, size=len(CAVE))
    file = tmp_path / "complete_ms_data.zip"
    file.write_bytes(CAVE[:-1])
    with pytest.raises(HsisrError, match=f"has {len(CAVE) - 1} bytes, expected {len(CAVE)}: it is not whole"):
        fetch("cave", tmp_path)
    file.write_bytes(CAVE)
    fetch("cave", tmp_path)
    assert (tmp_path / "complete_ms_data" / "cloth_ms").is_dir()


def test_harvard_has_two_archives_and_nothing_is_recorded_of_a_damaged_one(tmp_path: Path) -> None:
    for stem, data in HARVARD.items():
        (tmp_path / f"{stem}.tgz").write_bytes(data[:-200])
    with pytest.raises(HsisrError, match=r"damaged or not an archive .* Delete it and fetch it again"):
        fetch("harvard", tmp_path)
    assert not (tmp_path / LOCK).exists()
    for stem, data in HARVARD.items():
        (tmp_path / f"{stem}.tgz").write_bytes(data)
    fetch("harvard", tmp_path)
    assert [name for name in files(tmp_path) if name.endswith((".mat", ".txt"))] == [
        "CZ_hsdb/CZ_hsdb/calib.txt",
        "CZ_hsdb/CZ_hsdb/imga1.mat",
        "CZ_hsdb/CZ_hsdb/imgb2.mat",
        "CZ_hsdbi/CZ_hsdbi/calib.txt",
        "CZ_hsdbi/CZ_hsdbi/imgh7.mat",
    ]
    assert set(locked(tmp_path)) == {"CZ_hsdb.tgz", "CZ_hsdbi.tgz"}


def test_when_nothing_answers_the_message_says_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving({}) as address:
        replace_archives(monkeypatch, address)
        with pytest.raises(HsisrError) as caught:
            fetch("cave", tmp_path)
    place = tmp_path / "complete_ms_data.zip"
    for part in (f"{address}/complete_ms_data.zip", "404", dataset_source("cave").page, f"put it at {place}"):
        assert part in str(caught.value)


def test_what_comes_in_one_archive_is_not_fetched_by_scenes(tmp_path: Path) -> None:
    with pytest.raises(HsisrError, match="cave does not come by scenes"):
        fetch("cave", tmp_path, ["balloons"])


def test_foster_takes_names_that_are_not_in_its_list(tmp_path: Path) -> None:
    names = ["Gualtar_Steps", "Nogueiro"]
    (tmp_path / "to").mkdir()
    for name in names:
        (tmp_path / "to" / f"{name}.zip").write_bytes(foster_zip(name, tmp_path))
    fetch("foster", tmp_path / "to", names)
    assert [name for name in files(tmp_path / "to") if name.endswith(".mat")] == [
        "Gualtar_Steps/hsi_gualtar_steps.mat",
        "Nogueiro/hsi_nogueiro.mat",
    ]


def test_a_damaged_lock_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "complete_ms_data.zip").write_bytes(CAVE)
    (tmp_path / LOCK).write_text('{"complete_ms_data.zip": {"sha')
    with pytest.raises(HsisrError, match=r"lock\.json is damaged"):
        fetch("cave", tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    with pytest.raises(HsisrError, match=r"Cannot write to .*taken.* --to"):
        fetch("cave", tmp_path / "taken" / "cave")


def test_a_damaged_stream_of_any_compression_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.txt", "some text" * 9)
    data = bytearray(path.read_bytes())
    for place in range(30, len(data), 3):
        path.write_bytes(data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :])
        with suppress(HsisrError):
            unpack(path, tmp_path / f"a{place}")
