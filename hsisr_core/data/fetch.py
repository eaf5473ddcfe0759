"""Fetch a dataset: download what is missing, compare hashes, unpack whole or not at all."""

from __future__ import annotations

import gzip
import json
import logging
import os
import shutil
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from filelock import FileLock
from tqdm import tqdm

from hsisr_core import __version__
from hsisr_core.base import datasets_folder, sha256_file, write_json
from hsisr_core.data.sources import Archive, DatasetSource, dataset_source
from hsisr_core.errors import HsisrError

LOCK = "downloads.lock.json"
"""File, beside the archives, with the SHA-256 of the first download of each."""

# Attempts in a row that bring nothing new, the pause before the second in seconds, seconds without a byte.
_TRIES, _PAUSE, _SILENCE = 4, 1.0, 30.0
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}
# Bytes that are written at once, and at most lost when a transfer breaks off.
_PIECE = 1 << 14


def fetch(
    dataset: str,
    to: str | os.PathLike[str] | None = None,
    given: Sequence[str] = (),
    scenes: Sequence[str] = (),
) -> tuple[Path, list[str]]:
    """Fetch the archives of a dataset and unpack them; return the folder where they are, and a line for each.

    What is there already is not fetched again. `to` is the folder for the archives (None: the project's data folder).
    `given` says where to take them from instead of the known addresses: files, folders that hold them, addresses of
    files, or addresses that end in "/". `scenes` are those of Foster, which have an archive each.
    """
    source = dataset_source(dataset)
    folder = datasets_folder() / dataset if to is None else Path(to).expanduser().absolute()
    archives = _choose(source, given, scenes)
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


def download(
    urls: Sequence[str], target: Path, size: int | None = None, sha256: str | None = None, advice: str = ""
) -> str:
    """Download `target` from the first of `urls` that gives all of it, and return that address.

    What arrived of an interrupted transfer is kept beside `target` and continued where the server says that
    the file is still the same. `advice` ends the message that names each address and why it did not give the file.
    """
    # a quarter of a second to import, and only a download needs them
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.WARNING)
    part = target.with_name(f".{target.name}.part")
    what = f"{target.suffix} file" + (f" of {size}" if size else "")
    reasons = []
    for url in urls:
        try:
            pooch.retrieve(
                url,
                known_hash=sha256 and f"sha256:{sha256}",
                fname=target.name,
                path=target.parent,
                downloader=lambda url, output, _: _transfer(url, output, part),
            )
        except requests.RequestException as error:
            reason = _reason(error)
        except ValueError:
            reason = f"it gave a file of another SHA-256 than {sha256}"
        else:
            if _is_archive(target) and size in (None, target.stat().st_size):
                return url
            reason = f"it gave {target.stat().st_size} bytes that are not the expected {what}"
            target.unlink()
        reasons.append(f"{url} ({reason})")
    tried = "; ".join(reasons) or "no address is known"
    raise HsisrError(f"{target.name} could not be downloaded: {tried}. {advice}".rstrip())


def unpack(archive: Path, folder: Path) -> int:
    """Unpack `archive` to `folder`, which is replaced when all went well; return the number of files."""
    temporary = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        count = _extract(archive, temporary)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.replace(folder)
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        gzip.BadGzipFile,
        EOFError,
        # zipfile: a compression or encryption that it does not know
        RuntimeError,
    ) as error:
        raise HsisrError(
            f"{archive} is damaged or not an archive ({' '.join(str(error).split()) or type(error).__name__}). "
            "Delete it and fetch it again."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return count


def _choose(source: DatasetSource, given: Sequence[str], scenes: Sequence[str]) -> list[Archive]:
    """Which archives to fetch; given addresses and files stand in place of the known addresses."""
    if scenes and not source.base_urls:
        raise HsisrError(f"{source.name} does not come by scenes. Leave out --scenes.")
    bases = [text for text in given if _is_url(text) and text.endswith("/")]
    named: dict[str, str] = {}
    for text in given:
        path = Path(text).expanduser()
        if text in bases:
            continue
        if _is_url(text):
            named[PurePosixPath(urlsplit(text).path).name] = text
        elif path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix in (".zip", ".tgz"))
            named |= {file.name: str(file) for file in files}
        elif path.is_file():
            named[path.name] = str(path)
        else:
            raise HsisrError(f"--from {text}: there is no such file or folder. Check the path.")
    archives = source.archives
    if source.base_urls and (scenes or named):
        archives = tuple(source.archive(name) for name in scenes or named)
    elif len(archives) == len(named) == 1:
        # the only archive may have any name
        named = {archives[0].name: named.popitem()[1]}
    elif named:
        # only what is at hand
        archives = tuple(archive for archive in archives if archive.name in named)
        if not archives:
            known = " or ".join(archive.name for archive in source.archives)
            raise HsisrError(
                f"{next(iter(named))} is not an archive of {source.name}; expected {known}. Rename it."
            )
    chosen = []
    for archive in archives:
        places = [named[archive.name]] if archive.name in named else [base + archive.name for base in bases]
        chosen.append(archive.model_copy(update={"urls": tuple(places) or archive.urls}))
    return chosen


def _is_url(text: str) -> bool:
    return text.lower().startswith(("http://", "https://"))


def _fetch_one(source: DatasetSource, archive: Archive, folder: Path) -> str:
    target = folder / archive.stem
    local = None if _is_url(archive.urls[0]) else Path(archive.urls[0])
    if target.is_dir() and local is None:
        return f"{archive.name}: already unpacked in {target}"
    lock = folder / LOCK
    try:
        firsts = dict(json.loads(lock.read_text(encoding="utf-8"))) if lock.exists() else {}
    except ValueError as error:
        raise HsisrError(f"{lock} is damaged. Restore it, or delete it to start anew.") from error
    first = firsts.get(archive.name)
    place = local or folder / archive.name
    origin = str(place)
    if not place.is_file():
        copies = f" (copies: {', '.join(source.by_hand)})" if source.by_hand else ""
        advice = (
            f"Start again to continue where it stopped. Or by hand: download it with a browser from {source.page}"
            f"{copies}, put it at {place}, and start the same command again; or give its place with --from FILE."
        )
        origin = download(archive.urls, place, archive.size, first and first["sha256"], advice)
    size = place.stat().st_size
    if archive.size not in (None, size):
        raise HsisrError(
            f"{place} has {size} bytes, expected {archive.size}: it is not whole, or another file. Delete it and "
            "fetch it again."
        )
    digest = sha256_file(place)
    if first and first["sha256"] != digest:
        raise HsisrError(
            f"{place} has the SHA-256 {digest}, but its first download, of {first['date']} from {first['from']}, had "
            f"{first['sha256']}: it changed or is damaged. Delete it to fetch it again; if you trust it, remove "
            f"{archive.name} from {lock}."
        )
    count = unpack(place, target)
    if not first:
        # only now: what cannot be unpacked is no file to compare others with
        entry = {"sha256": digest, "bytes": size, "from": origin, "date": f"{datetime.now(UTC):%Y-%m-%d}"}
        write_json(lock, firsts | {archive.name: entry})
    return f"{archive.name}: {count} files in {target}"


def _transfer(url: str, output: str, part: Path) -> None:
    """Download `url` to `output` through `part`, which stays when the transfer breaks off."""
    import requests

    most, failures = _size(part), 0
    with tqdm(desc=part.name[1:-5], unit="B", unit_scale=True, unit_divisor=1024, disable=None) as bar:
        while True:
            try:
                _receive(url, part, bar)
                break
            except requests.RequestException as error:
                answer = error.response
                failures = 0 if _size(part) > most else failures + 1
                most = max(most, _size(part))
                if failures == _TRIES or (answer is not None and answer.status_code not in _TRY_AGAIN):
                    raise
                time.sleep(_PAUSE * failures)
    part.replace(output)
    part.with_suffix(".from").unlink()


def _receive(url: str, part: Path, bar: tqdm) -> None:
    """One attempt: ask for what is missing of the file that the note beside `part` names, or for all of it."""
    import requests

    # the address that `part` came from, and the tag that the server gave it
    have, note = _size(part), part.with_suffix(".from")
    noted_url, _, noted_tag = (note.read_text(encoding="utf-8") if note.exists() else "").partition("\n")
    headers = {"Accept-Encoding": "identity", "User-Agent": f"hsisr/{__version__}"}
    if have and noted_url == url and noted_tag:
        headers |= {"Range": f"bytes={have}-", "If-Range": noted_tag}
    with requests.get(url, headers=headers, stream=True, timeout=_SILENCE) as response:
        etag = response.headers.get("ETag", "")
        # a weak tag does not say that the bytes are the same
        tag = response.headers.get("Last-Modified", "") if etag[:2] in ("", "W/") else etag
        start = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
        more = response.status_code == 206
        if response.status_code == 416 or (more and (start != str(have) or tag != noted_tag)):
            part.unlink(missing_ok=True)
            raise requests.ConnectionError("it did not continue the file")
        response.raise_for_status()
        if not more:
            part.unlink(missing_ok=True)
            note.write_text(f"{url}\n{tag}", encoding="utf-8")
        bar.n = _size(part)
        bar.total = bar.n + int(response.headers.get("Content-Length") or 0) or None
        # as it is sent: some servers call a .tgz a compressed .tar, which requests would decompress
        response.raw.headers.pop("Content-Encoding", None)
        with part.open("ab") as file:
            for data in response.iter_content(_PIECE):
                file.write(data)
                bar.update(len(data))


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _reason(error: BaseException) -> str:
    """A few words of what requests and urllib3 wrap several times."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"it answered {response.status_code} {response.reason}"
    while error.__context__ is not None:
        error = error.__context__
    return " ".join(str(getattr(error, "strerror", None) or error).split())


def _is_archive(path: Path) -> bool:
    if path.suffix.lower() == ".zip":
        return zipfile.is_zipfile(path)
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _extract(archive: Path, folder: Path) -> int:
    """Extract all files, and return how many there are."""
    count = 0
    if archive.suffix.lower() == ".zip":
        with zipfile.ZipFile(archive) as zipped:
            for info in tqdm(zipped.infolist(), f"Unpacking {archive.name}", unit="file", disable=None):
                # the mode of Unix; zero if it was packed elsewhere
                kind = stat.S_IFMT(info.external_attr >> 16)
                _check_member(archive, info.filename, kind in (0, stat.S_IFREG, stat.S_IFDIR))
                zipped.extract(info, folder)
                count += not info.is_dir()
        return count
    # through gzip and to its end, where the checksum is: tarfile alone stops before it
    with gzip.open(archive) as plain, tarfile.open(fileobj=plain) as tarred:
        for item in tqdm(tarred, f"Unpacking {archive.name}", unit="file", disable=None):
            _check_member(archive, item.name, item.isreg() or item.isdir())
            tarred.extract(item, folder, filter="data")
            count += item.isreg()
        while plain.read(1 << 20):
            pass
    return count


def _check_member(archive: Path, name: str, plain: bool) -> None:
    """Refuse links, devices and what would leave the folder."""
    place = PurePosixPath(name.replace("\\", "/"))
    if not plain or place.is_absolute() or ".." in place.parts or name[1:2] == ":":
        raise HsisrError(
            f"{archive} holds {name!r}, which is a link or device or would leave its folder. It was not unpacked; "
            "it is forged or damaged."
        )
