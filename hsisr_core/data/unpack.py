"""Unpack an archive, whole or not at all, and nothing outside its folder."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tqdm import tqdm

from hsisr_core.base.files import write_json
from hsisr_core.errors import HsisrError

__all__ = ["Limits", "unpack", "unpacked"]

_MARKER = ".unpacked.json"
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What an archive may hold, so that a forged one cannot fill the disk.

    Attributes
    ----------
    files
        Number of files.
    size
        Bytes of all files.
    ratio
        Bytes of all files for each byte of the archive, beyond the first `free` bytes.
    free
        See `ratio`.
    """

    files: int = 20_000
    size: int = 1 << 36
    ratio: float = 100.0
    free: int = 1 << 28


@dataclass(frozen=True)
class _Member:
    """A file of an archive: its place in the folder, its bytes, and how to read it."""

    place: PurePosixPath
    size: int
    open: Callable[[], IO[bytes]]


def unpack(
    archive: Path,
    folder: Path,
    sha256: str,
    wanted: Callable[[PurePosixPath], bool] | None = None,
    choice: Any = None,
    limits: Limits | None = None,
) -> int:
    """Unpack `archive` (.zip, .tgz, .tar.gz) to `folder`; an older folder is replaced when all went well.

    Parameters
    ----------
    archive
        The file.
    folder
        Where its files go. It appears only when all are there.
    sha256
        Hash of `archive`, kept in the folder with `choice`, so that `unpacked` can tell.
    wanted
        Which members to take, by their path; None: all.
    choice
        What `wanted` stands for, as JSON can hold it.
    limits
        What it may hold.

    Returns
    -------
    int
        Number of files that were unpacked.

    Raises
    ------
    HsisrError
        A member would leave the folder, is a link or a device, or is there twice; there are too many, or they are
        too large; the archive is damaged or no archive; the disk is full.
    """
    limits = limits or Limits()
    folder.parent.mkdir(parents=True, exist_ok=True)
    for old in folder.parent.glob(f".unpack-{folder.name}-*"):  # what an interrupted one left
        shutil.rmtree(old, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".unpack-{folder.name}-", dir=folder.parent))
    try:
        count = _extract(archive, temporary, wanted, limits)
        write_json(temporary / _MARKER, {"archive": archive.name, "sha256": sha256, "choice": choice})
        temporary.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.replace(folder)
    except OSError as error:
        raise HsisrError(
            f"Cannot unpack {archive} to {folder}: {error.strerror or error}. Free some space or choose another "
            "folder, then start again."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return count


def unpacked(folder: Path) -> dict[str, Any] | None:
    """Return what `unpack` noted in `folder` (archive, sha256, choice); None if it did not finish there."""
    try:
        note = json.loads((folder / _MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) and {"archive", "sha256", "choice"} <= set(note) else None


def _extract(
    archive: Path, folder: Path, wanted: Callable[[PurePosixPath], bool] | None, limits: Limits
) -> int:
    size = archive.stat().st_size
    most = min(limits.size, max(limits.free, int(size * limits.ratio)))
    seen: set[PurePosixPath] = set()
    total = 0
    try:
        with (
            archive.open("rb") as raw,
            tqdm(
                total=size, desc=f"Unpacking {archive.name}", unit="B", unit_scale=True, disable=None
            ) as bar,
        ):
            for member in _members(archive, raw):
                if member.place in seen:
                    raise HsisrError(f"{archive} holds {member.place} twice. Fetch it again.")
                seen.add(member.place)
                total += member.size
                if len(seen) > limits.files or total > most:
                    raise HsisrError(
                        f"{archive} of {size} bytes holds more than {limits.files} files or {most} bytes; no "
                        "archive of these datasets does. It was not unpacked."
                    )
                if wanted is None or wanted(member.place):
                    _write(member, folder / member.place)
                else:
                    seen.discard(member.place)
                    total -= member.size
                bar.update(raw.tell() - bar.n)
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        gzip.BadGzipFile,
        EOFError,
        NotImplementedError,  # zipfile: a compression it does not know
        RuntimeError,
    ) as error:
        raise HsisrError(
            f"{archive} is damaged or no archive ({' '.join(str(error).split()) or type(error).__name__}). Delete it "
            "and fetch it again."
        ) from error
    if not seen and wanted is None:
        raise HsisrError(f"{archive} holds no file. Delete it and fetch it again.")
    return len(seen)


def _write(member: _Member, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    left = member.size
    with member.open() as source, target.open("xb") as file:
        while data := source.read(_BLOCK):
            left -= len(data)
            if left < 0:
                break
            file.write(data)
    if left:
        raise EOFError(f"{member.place} has another size than the archive says")


def _members(archive: Path, raw: IO[bytes]) -> Iterator[_Member]:
    """Yield the files in an archive, each of which must be read before the next."""
    if archive.suffix.lower() == ".zip":
        with zipfile.ZipFile(raw) as zipped:
            for info in zipped.infolist():
                mode = info.external_attr >> 16  # of Unix; zero if it was packed elsewhere
                place = _safe(info.filename, archive)
                if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise HsisrError(
                        f"{archive} holds a link or device, {info.filename!r}. It was not unpacked."
                    )
                if not info.is_dir():
                    yield _Member(place, info.file_size, lambda info=info: zipped.open(info))  # type: ignore[misc]  # mypy infers no lambda with a default
    else:
        # a stream: never goes back, so a member is read once, however often the archive names it
        # (through gzip, which compares the checksum; tarfile's own decompression does not)
        with gzip.GzipFile(fileobj=raw) as plain, tarfile.open(fileobj=plain, mode="r|") as tarred:
            for item in tarred:
                place = _safe(item.name, archive)
                if not (item.isreg() or item.isdir()) or item.issparse():
                    raise HsisrError(f"{archive} holds a link or device, {item.name!r}. It was not unpacked.")
                if item.isreg():
                    yield _Member(place, item.size, lambda item=item: _opened(tarred, item))  # type: ignore[misc]  # as above
            while plain.read(_BLOCK):
                pass  # to the end, where the checksum is


def _opened(tarred: tarfile.TarFile, item: tarfile.TarInfo) -> IO[bytes]:
    file = tarred.extractfile(item)
    assert file is not None  # a regular file
    return file


def _safe(name: str, archive: Path) -> PurePosixPath:
    """Return the place of a member in the folder, or refuse one that would leave it."""
    place = PurePosixPath(name.replace("\\", "/"))
    drive = os.path.splitdrive(name)[0] or (len(name) > 1 and name[1] == ":")
    if place.is_absolute() or drive or ".." in place.parts or "\0" in name or place.name == _MARKER:
        raise HsisrError(
            f"{archive} holds {name!r}, which would leave its folder. It was not unpacked; it is forged or damaged."
        )
    return place
