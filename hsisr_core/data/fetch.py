"""Fetch a dataset: download what is missing, compare hashes, unpack."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock

from hsisr_core.base.files import sha256_file, write_json
from hsisr_core.base.paths import datasets_folder
from hsisr_core.data.download import Patience, download
from hsisr_core.data.sources import Archive, DatasetSource, dataset_source
from hsisr_core.data.unpack import Limits, unpack, unpacked
from hsisr_core.errors import HsisrError
from hsisr_core.scenes import scene_name

__all__ = ["LOCK", "Fetched", "fetch"]

LOCK = "downloads.lock.json"
"""File, beside the archives, with the SHA-256 of the first download of each."""


@dataclass(frozen=True)
class Fetched:
    """What `fetch` did.

    Attributes
    ----------
    folder
        Where everything is.
    done
        A line per archive.
    """

    folder: Path
    done: tuple[str, ...]


def fetch(
    dataset: str,
    to: str | os.PathLike[str] | None = None,
    given: Sequence[str] = (),
    scenes: Sequence[str] = (),
    patience: Patience | None = None,
    limits: Limits | None = None,
) -> Fetched:
    """Fetch the archives of a dataset and unpack them; what is there already is not fetched again.

    Parameters
    ----------
    dataset
        "cave", "harvard" or "foster".
    to
        Folder for the archives, and below it one folder per archive. None: the project's data folder.
    given
        Where to take archives from instead of the known addresses: files, folders that hold them, addresses
        of files, or addresses that end in "/" and are followed by the name of the archive.
    scenes
        Only these scenes are unpacked; of Foster, whose scenes have an archive each, only these are fetched,
        also ones that are not in the list of known names.
    patience, limits
        When a transfer is given up; what an archive may hold.

    Returns
    -------
    Fetched

    Raises
    ------
    HsisrError
        An archive cannot be had: the message names every address that was tried and how to place the file by
        hand. It has another size or SHA-256 than it should, is damaged or not safe to unpack; a scene is in no
        archive; the folder cannot be written.
    """
    source = dataset_source(dataset)
    folder = datasets_folder() / dataset if to is None else Path(to).expanduser().absolute()
    archives = _archives(source, given, scenes)
    choice = sorted(set(scenes)) if scenes and not source.base_urls else None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        with lock:
            done = tuple(
                _fetch_one(source, archive, folder, given, choice, patience, limits) for archive in archives
            )
    except OSError as error:
        raise HsisrError(
            f"Cannot write to {folder}: {error.strerror or error}. Choose another with --to."
        ) from error
    if choice is not None:
        _check_found(choice, [folder / archive.stem for archive in archives], dataset)
    return Fetched(folder, done)


def _archives(source: DatasetSource, given: Sequence[str], scenes: Sequence[str]) -> list[Archive]:
    """Which archives to fetch: the known ones, those of the asked scenes, or those that are given as files."""
    if scenes and source.base_urls:
        return [source.archive(scene) for scene in scenes]
    archives = list(source.archives)
    if source.base_urls:
        local = [Path(text).expanduser() for text in given if not _is_url(text)]
        names = [path.name for path in local if path.is_file()]
        names += [file.name for path in local if path.is_dir() for file in sorted(path.glob("*.zip"))]
        names += [
            PurePosixPath(urlsplit(text).path).name for text in given if _is_url(text) and text[-1] != "/"
        ]
        if names:
            return [source.archive(name) for name in dict.fromkeys(names)]
    files = [Path(text).name for text in given if not _is_url(text) and Path(text).expanduser().is_file()]
    if len(files) < len(given) or not given or len(archives) == 1:
        return archives
    named = [archive for archive in archives if archive.name in files]  # only what is at hand
    if not named:
        known = " or ".join(archive.name for archive in archives)
        raise HsisrError(f"{files[0]} is no archive of {source.name}; expected {known}. Rename it.")
    return named


def _fetch_one(
    source: DatasetSource,
    archive: Archive,
    folder: Path,
    given: Sequence[str],
    choice: list[str] | None,
    patience: Patience | None,
    limits: Limits | None,
) -> str:
    target = folder / archive.stem
    local, urls = _given(archive, given, single=len(source.archives) == 1)
    note = unpacked(target)
    before = None if note is None else note["choice"]
    enough = note is not None and (before is None or (choice is not None and set(choice) <= set(before)))
    if enough and local is None:
        return f"{archive.name}: already unpacked in {target}"
    if choice is not None and before is not None:
        choice = sorted({*choice, *before})
    place = folder / archive.name if local is None else local
    lock = folder / LOCK
    known = _locked(lock, archive)
    origin = str(place)
    if not place.is_file():
        origin = download(
            urls or archive.urls,
            place,
            size=archive.size,
            sha256=known.get("sha256"),
            patience=patience,
            advice=_by_hand(source, place),
        )
    digest = _check(archive, place, known, lock)
    count = unpack(place, target, digest, _wanted(choice), choice, limits)
    if not known:  # only now: what cannot be unpacked is no file to compare others with
        _remember(lock, archive, digest, place.stat().st_size, origin)
    return f"{archive.name}: {count} files in {target}"


def _given(archive: Archive, given: Sequence[str], single: bool) -> tuple[Path | None, list[str]]:
    """Return the file that is to be used as `archive`, if one is given, and the given addresses of it."""
    local: Path | None = None
    urls = []
    for text in given:
        if _is_url(text):
            name = PurePosixPath(urlsplit(text).path).name
            if text.endswith("/"):
                urls.append(text + archive.name)
            elif single or name == archive.name:
                urls.append(text)
            continue
        path = Path(text).expanduser()
        if not path.exists():
            raise HsisrError(f"--from {text}: there is no such file or folder. Check the path.")
        if path.is_dir():
            path = path / archive.name
        if path.is_file() and (single or path.name == archive.name):
            local = path
    return local, urls


def _is_url(text: str) -> bool:
    return text.lower().startswith(("http://", "https://"))


def _wanted(choice: list[str] | None) -> Callable[[PurePosixPath], bool] | None:
    if choice is None:
        return None
    return lambda place: any(scene_name(part) in choice for part in place.parts)


def _check_found(choice: list[str], folders: list[Path], dataset: str) -> None:
    found = {scene_name(place) for folder in folders for place in folder.rglob("*")}
    missing = [name for name in choice if name not in found]
    if missing:
        raise HsisrError(f"No archive of {dataset} holds the scenes {', '.join(missing)}. Check the names.")


def _by_hand(source: DatasetSource, place: Path) -> str:
    copies = f" (copies: {', '.join(source.by_hand)})" if source.by_hand else ""
    return (
        f"Start again to continue where it stopped. Or by hand: download it with a browser from {source.page}{copies}, "
        f"put it at {place}, and start the same command again; or give its place with --from FILE."
    )


def _locked(lock: Path, archive: Archive) -> dict[str, Any]:
    """Return what is known of an archive: from the published facts, else from its first download."""
    if archive.sha256 is not None:
        return {"sha256": archive.sha256}
    entry = _read_lock(lock).get(archive.name, {})
    return dict(entry)


def _read_lock(lock: Path) -> dict[str, dict[str, Any]]:
    if not lock.exists():
        return {}
    try:
        entries = json.loads(lock.read_text(encoding="utf-8"))
        if not all(isinstance(entry["sha256"], str) for entry in entries.values()):
            raise TypeError
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise HsisrError(
            f"{lock} is damaged, so no download can be compared with the first one. Restore it from a backup, or "
            "delete it to trust the next download."
        ) from error
    return dict(entries)


def _remember(lock: Path, archive: Archive, digest: str, size: int, origin: str) -> None:
    entry = {"sha256": digest, "bytes": size, "from": origin, "date": f"{datetime.now(UTC):%Y-%m-%d}"}
    write_json(lock, _read_lock(lock) | {archive.name: entry})


def _check(archive: Archive, place: Path, known: dict[str, Any], lock: Path) -> str:
    """Return the SHA-256 of the archive at `place`, if size and hash are what they should be."""
    size = place.stat().st_size
    if archive.size is not None and size != archive.size:
        raise HsisrError(
            f"{place} has {size} bytes, expected {archive.size}: it is not whole, or another file. Delete it and fetch "
            "it again."
        )
    digest = sha256_file(place)
    if known and known["sha256"] != digest:
        first = f"its first download, of {known['date']} from {known['from']}," if "date" in known else "it"
        raise HsisrError(
            f"{place} has the SHA-256 {digest}, but {first} had {known['sha256']}: it changed or is damaged. Delete "
            f"it to fetch it again; if you trust it, remove {archive.name} from {lock}."
        )
    return digest
