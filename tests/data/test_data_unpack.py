"""Archives that are safe are unpacked whole; no other writes a byte outside its folder, or half of itself."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from loopback import cave_zip, harvard_tgz

from hsisr_core.data.unpack import Limits, unpack, unpacked
from hsisr_core.errors import HsisrError

SHA = "0" * 64


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


def untouched(tmp_path: Path) -> bool:
    """Nothing was written but the archive itself."""
    return [file.name for file in tmp_path.rglob("*") if file.is_file()] in (["a.zip"], ["a.tgz"])


Maker = Callable[..., Path]
BOTH = pytest.mark.parametrize(("make", "name"), [(zip_of, "a.zip"), (tar_of, "a.tgz")])


@BOTH
def test_everything_is_unpacked_and_noted(tmp_path: Path, folder: Path, make: Maker, name: str) -> None:
    archive = make(tmp_path / name, ("x/1.png", b"one"), ("x/2.png", b"two" * 10**6), ("calib.txt", b""))
    assert unpack(archive, folder, SHA, choice=["x"]) == 3
    assert (folder / "x" / "2.png").read_bytes() == b"two" * 10**6
    assert (folder / "calib.txt").read_bytes() == b""
    assert unpacked(folder) == {"archive": name, "sha256": SHA, "choice": ["x"]}
    assert [file.name for file in folder.parent.iterdir()] == ["out"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


@BOTH
def test_only_the_wanted_members_are_unpacked(tmp_path: Path, folder: Path, make: Maker, name: str) -> None:
    archive = make(tmp_path / name, ("x/1.png", b"one"), ("y/1.png", b"two"))

    def wanted(place: PurePosixPath) -> bool:
        return place.parts[0] == "y"

    assert unpack(archive, folder, SHA, wanted) == 1
    assert not (folder / "x").exists()
    assert unpack(archive, tmp_path / "none", SHA, lambda place: False) == 0
    with pytest.raises(HsisrError, match="holds no file"):
        unpack(make(tmp_path / name), folder, SHA)


@BOTH
@pytest.mark.parametrize(
    "bad",
    [
        "../evil",
        "x/../../evil",
        "/evil",
        "..\\evil",
        "x\\..\\..\\evil",
        "C:\\evil",
        "C:evil",
        "..",
        ".unpacked.json",
    ],
)
def test_no_member_leaves_the_folder(tmp_path: Path, folder: Path, make: Maker, name: str, bad: str) -> None:
    archive = make(tmp_path / name, ("x/1.png", b"one"), (bad, b"evil"))
    with pytest.raises(HsisrError, match=r"which would leave its folder.* not unpacked"):
        unpack(archive, folder, SHA)
    assert untouched(tmp_path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, folder: Path, kind: bytes) -> None:
    item = tarfile.TarInfo("x/link")
    item.type, item.linkname = kind, "../../.."
    archive = tar_of(tmp_path / "a.tgz", ("x/1.png", b"one"), (item, b""), ("x/link/evil", b"evil"))
    with pytest.raises(HsisrError, match=r"link or device, 'x/link'.* not unpacked"):
        unpack(archive, folder, SHA)
    assert untouched(tmp_path)


def test_links_in_a_zip_are_refused(tmp_path: Path, folder: Path) -> None:
    item = zipfile.ZipInfo("x/link")
    item.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive = zip_of(tmp_path / "a.zip", (item, b"../../.."), ("x/link/evil", b"evil"))
    with pytest.raises(HsisrError, match="link or device, 'x/link'"):
        unpack(archive, folder, SHA)
    assert untouched(tmp_path)


@BOTH
def test_bombs_are_refused(tmp_path: Path, folder: Path, make: Maker, name: str) -> None:
    archive = make(tmp_path / name, *((f"{index}", b"") for index in range(11)))
    with pytest.raises(HsisrError, match="more than 10 files"):
        unpack(archive, folder, SHA, limits=Limits(files=10))
    archive = make(tmp_path / name, ("a", bytes(60_000)), ("b", bytes(60_000)))
    with pytest.raises(HsisrError, match="or 100000 bytes"):
        unpack(archive, folder, SHA, limits=Limits(size=100_000))
    archive = make(tmp_path / name, ("a", bytes(3_000_000)))
    most = 100 * archive.stat().st_size
    assert most < 3_000_000
    with pytest.raises(HsisrError, match=f"or {most} bytes"):
        unpack(archive, folder, SHA, limits=Limits(free=0))
    assert untouched(tmp_path)
    assert unpack(archive, folder, SHA) == 1  # so small that its ratio does not matter


def test_a_zip_that_lies_about_a_size_is_refused(tmp_path: Path, folder: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", ("a", bytes(100_000)))
    data = bytearray(archive.read_bytes())
    true = (100_000).to_bytes(4, "little")
    assert data.count(true) == 2
    archive.write_bytes(data.replace(true, (50_000).to_bytes(4, "little")))
    with pytest.raises(HsisrError, match="damaged or no archive"):
        unpack(archive, folder, SHA)
    assert untouched(tmp_path)


@BOTH
def test_a_member_that_is_there_twice_is_refused(
    tmp_path: Path, folder: Path, make: Maker, name: str
) -> None:
    with pytest.warns(UserWarning, match="Duplicate") if make is zip_of else _quiet():
        archive = make(tmp_path / name, ("x/1.png", b"one"), ("x/1.png", b"two"))
    with pytest.raises(HsisrError, match=r"holds x/1\.png twice"):
        unpack(archive, folder, SHA)
    assert untouched(tmp_path)


def _quiet() -> Any:
    from contextlib import nullcontext

    return nullcontext()


@pytest.mark.parametrize("data", [cave_zip(("balloons",)), harvard_tgz()])
def test_an_archive_cut_anywhere_is_refused(tmp_path: Path, folder: Path, data: bytes) -> None:
    archive = tmp_path / ("a.zip" if data.startswith(b"PK") else "a.tgz")
    for length in [*range(0, len(data), len(data) // 9), len(data) - 1, len(data) - 9]:
        archive.write_bytes(data[:length])
        with pytest.raises(HsisrError, match=r"damaged or no archive .* fetch it again"):
            unpack(archive, folder, SHA)
        assert untouched(tmp_path)


def test_damaged_bytes_are_noticed(tmp_path: Path, folder: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", ("a", bytes(range(256)) * 40))
    data = bytearray(archive.read_bytes())
    data[60] ^= 1
    archive.write_bytes(data)
    with pytest.raises(HsisrError, match="damaged"):
        unpack(archive, folder, SHA)


def test_an_interrupted_unpacking_is_redone(tmp_path: Path, folder: Path) -> None:
    archive = tmp_path / "a.tgz"
    archive.write_bytes(harvard_tgz())
    # as a killed process leaves it: a hidden folder, and no folder of the archive's name
    left = folder.parent / ".unpack-out-abc" / "CZ_hsdb"
    left.mkdir(parents=True)
    (left / "imga1.mat").write_bytes(b"half of a sc")
    assert unpacked(folder) is None
    assert unpack(archive, folder, SHA) == 3
    assert not left.parent.exists()
    # and one that failed half way leaves the old folder as it was
    archive.write_bytes(harvard_tgz()[:-2000])
    with pytest.raises(HsisrError):
        unpack(archive, folder, "1" * 64)
    assert unpacked(folder) == {"archive": "a.tgz", "sha256": SHA, "choice": None}
    assert [file.name for file in folder.parent.iterdir()] == ["out"]


def test_a_folder_without_its_note_was_not_unpacked_here(tmp_path: Path) -> None:
    assert unpacked(tmp_path) is None
    (tmp_path / ".unpacked.json").write_text("[1, 2]")
    assert unpacked(tmp_path) is None
    (tmp_path / ".unpacked.json").write_text('{"archive": "a.zip"')
    assert unpacked(tmp_path) is None
