"""Fetch a dataset: download what is missing, compare hashes, unpack whole or not at all."""

import errno
import gzip
import json
import shutil
import tarfile
import time
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock
from tqdm import tqdm

from hsisr_core.base import AnyPath, datasets_folder, sha256_file, write_json
from hsisr_core.data.sources import Archive, DatasetSource, dataset_source
from hsisr_core.errors import HsisrError

LOCK = "downloads.lock.json"
"""File, beside the archives, with the SHA-256 of the first download of each, which later ones must have."""

# Attempts in a row that bring nothing new, the pause before the second in seconds, seconds without a byte.
_TRIES, _PAUSE, _SILENCE = 4, 1.0, 30.0
_TRY_AGAIN = {408, 416, 425, 429, 500, 502, 503, 504}
# Bytes that are written at once, and at most lost when a transfer breaks off.
_PIECE = 1 << 14
# of the disk, not of an archive
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)


def fetch(dataset: str, to: AnyPath | None = None, scenes: Sequence[str] = ()) -> tuple[Path, list[str]]:
    """Fetch and unpack what is missing of a dataset, or of its `scenes`; return the folder, and a line for each."""
    source = dataset_source(dataset)
    if scenes and not source.base_urls:
        raise HsisrError(f"{dataset} does not come by scenes. Leave out --scenes.")
    archives = [source.archive(name) for name in scenes] or source.archives
    folder = datasets_folder() / dataset if to is None else Path(to).expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            done = [_fetch_one(source, archive, folder) for archive in archives]
    except OSError as error:
        raise HsisrError(
            f"Cannot write to {folder}: {error.strerror or error}. Free some space, or choose another folder with "
            "--to; what has arrived is kept."
        ) from error
    return folder, done


def _fetch_one(source: DatasetSource, archive: Archive, folder: Path) -> str:
    target = folder / archive.name.split(".", 1)[0]
    place, lock = folder / archive.name, folder / LOCK
    if target.is_dir():
        return f"{archive.name}: already unpacked in {target}"
    try:
        firsts = dict(json.loads(lock.read_text(encoding="utf-8"))) if lock.exists() else {}
    except ValueError as error:
        raise HsisrError(f"{lock} is damaged. Restore it, or delete it to start anew.") from error
    origin = str(place)
    if not place.is_file():
        copies = f" (copies: {', '.join(source.by_hand)})" if source.by_hand else ""
        advice = (
            "Start again to continue where it stopped. Or by hand: download it with a browser from "
            f"{source.page}{copies}, put it at {place}, and start the same command again."
        )
        origin = download(archive.urls, place, advice)
    size = place.stat().st_size
    if archive.size not in (None, size):
        raise HsisrError(
            f"{place} has {size} bytes, expected {archive.size}: it is not whole, or another file. Delete it and "
            "fetch it again."
        )
    digest, first = sha256_file(place), firsts.get(archive.name)
    if first and first["sha256"] != digest:
        raise HsisrError(
            f"{place} has the SHA-256 {digest}, but its first download, of {first['date']} from {first['from']}, had "
            f"{first['sha256']}: it changed or is damaged. Delete it to fetch it again; if you trust it, remove "
            f"{archive.name} from {lock}."
        )
    count = unpack(place, target)
    if not first:
        # only now: later downloads are not compared with a file that cannot be unpacked
        entry = {"sha256": digest, "bytes": size, "from": origin, "date": f"{datetime.now(UTC):%Y-%m-%d}"}
        write_json(lock, firsts | {archive.name: entry})
    return f"{archive.name}: {count} files in {target}"


def download(urls: Sequence[str], target: Path, advice: str = "") -> str:
    """Download an archive from the first of `urls` that gives one, going on where it broke off; return that address."""
    # a quarter of a second to import, and only a download needs it
    import requests

    part = target.with_name(f".{target.name}.part")
    reasons = []
    for url in urls:
        try:
            _transfer(url, part)
        except requests.RequestException as error:
            reasons.append(f"{url} ({' '.join(str(error).split())})")
            continue
        if zipfile.is_zipfile(part) or tarfile.is_tarfile(part):
            part.replace(target)
            return url
        reasons.append(f"{url} (it gave {part.stat().st_size} bytes that are not an archive)")
        part.unlink()
    raise HsisrError(f"{target.name} could not be downloaded: {'; '.join(reasons)}. {advice}".rstrip())


def _transfer(url: str, part: Path) -> None:
    """Download `url` to `part`; start again where it broke off until several attempts in a row bring nothing."""
    import requests

    failures = 0
    while True:
        before = _size(part)
        try:
            return _receive(url, part)
        except requests.RequestException as error:
            failures = 0 if _size(part) > before else failures + 1
            refused = error.response is not None and error.response.status_code not in _TRY_AGAIN
            if refused or failures == _TRIES:
                raise
            time.sleep(_PAUSE * failures)


def _receive(url: str, part: Path) -> None:
    """One attempt: ask for what `part` lacks, and begin anew where the server sends all of it."""
    import requests

    have = _size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=_SILENCE) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink()
        response.raise_for_status()
        continued = response.status_code == requests.codes.partial_content
        have = have if continued else 0
        total = have + int(response.headers.get("Content-Length") or 0) or None
        # as it is sent: some servers call a .tgz a compressed .tar, which requests would decompress
        response.raw.headers.pop("Content-Encoding", None)
        bar = tqdm(desc=part.stem[1:], initial=have, total=total, unit="B", unit_scale=True, disable=None)
        with bar, part.open("ab" if continued else "wb") as file:
            for data in response.iter_content(_PIECE):
                bar.update(file.write(data))


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def unpack(archive: Path, folder: Path) -> int:
    """Unpack `archive` to `folder`, whole or not at all; return the number of files."""
    temporary = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        _extract(archive, temporary)
        temporary.replace(folder)
    # a damaged archive raises a dozen types
    except Exception as error:
        if getattr(error, "errno", None) in _DISK:
            raise
        raise HsisrError(
            f"{archive} is damaged or not an archive ({' '.join(str(error).split()) or type(error).__name__}). "
            "Delete it and fetch it again."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return sum(file.is_file() for file in folder.rglob("*"))


def _extract(archive: Path, folder: Path) -> None:
    """Extract all files, none outside `folder`: zipfile shortens a name that leads there, tarfile's filter refuses."""
    progress = {"desc": f"Unpacking {archive.name}", "unit": "file", "disable": None}
    if archive.suffix.lower() == ".zip":
        with zipfile.ZipFile(archive) as zipped:
            for name in tqdm(zipped.namelist(), **progress):
                zipped.extract(name, folder)
        return
    # through gzip and to its end, where the checksum is: tarfile alone stops before it
    with gzip.open(archive) as plain, tarfile.open(fileobj=plain) as tarred:
        for item in tqdm(tarred, **progress):
            if not (item.isreg() or item.isdir()):
                raise tarfile.TarError(f"it holds {item.name!r}, which is a link or device")
            tarred.extract(item, folder, filter="data")
        while plain.read(1 << 20):
            pass
