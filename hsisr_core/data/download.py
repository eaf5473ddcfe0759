"""Download one file, whole or not at all: mirrors in order, resumed where it broke off, checked at the end."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pooch
import requests
import urllib3
from tqdm import tqdm

from hsisr_core import __version__
from hsisr_core.errors import HsisrError

__all__ = ["Patience", "download"]

_SIGNATURES = {".zip": b"PK", ".tgz": b"\x1f\x8b", ".gz": b"\x1f\x8b"}
_MOST_BYTES = 1 << 36  # 64 GiB: no archive of these datasets comes near it
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Patience:
    """When a transfer is given up.

    Attributes
    ----------
    tries
        Attempts in a row that bring less than `rate`, at one address.
    pause
        Seconds before the second attempt; doubled for each further one.
    silence
        Seconds without a byte.
    slow
        Seconds over which the rate is taken.
    rate
        Bytes a second below which it is given up.
    """

    tries: int = 4
    pause: float = 1.0
    silence: float = 30.0
    slow: float = 60.0
    rate: float = 500.0


class _AddressError(Exception):
    """This address is of no use; the reason completes a sentence."""


class _AttemptError(Exception):
    """This attempt is of no use, another one may be."""


class _Identity(NamedTuple):
    """What tells that two answers are parts of one file."""

    url: str
    etag: str
    modified: str
    total: int | None


def download(
    urls: Sequence[str],
    target: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    patience: Patience | None = None,
    advice: str = "",
) -> str:
    """Download `target` from the first of `urls` that gives all of it.

    What arrived of an interrupted transfer is kept beside `target` and continued, if the server says that the
    file is still the same. `target` appears only when it is whole.

    Parameters
    ----------
    urls
        Addresses, tried in order.
    target
        Where the file goes; its suffix tells what it must begin with.
    size, sha256
        What it must have, where known.
    patience
        When to give up.
    advice
        What to do when nothing answers, for the message.

    Returns
    -------
    str
        The address that it came from.

    Raises
    ------
    HsisrError
        No address gave the file; the message has each with its reason. The disk is full.
    """
    reasons = []
    pooch.get_logger().setLevel(logging.WARNING)
    for url in urls:
        transfer = _Transfer(target, size, sha256, patience or Patience())
        try:
            pooch.retrieve(
                url,
                known_hash=f"sha256:{sha256}" if sha256 else None,
                fname=target.name,
                path=target.parent,
                downloader=transfer,
            )
            return url
        except _AddressError as error:
            reasons.append(f"{url} ({error})")
        except ValueError:  # pooch: another hash
            transfer.forget()
            reasons.append(f"{url} (it gave a file of another SHA-256 than {sha256})")
        except OSError as error:
            raise HsisrError(
                f"Cannot write {target}: {error.strerror or error}. Free some space or choose another folder; what "
                "has arrived is kept and continued."
            ) from error
    tried = "; ".join(reasons) or "no address is known"
    raise HsisrError(f"{target.name} could not be downloaded: {tried}. {advice}".rstrip())


class _Transfer:
    """A downloader for pooch: writes to a file beside the target, so that it can be continued."""

    def __init__(self, target: Path, size: int | None, sha256: str | None, patience: Patience) -> None:
        self.part = target.with_name(f".{target.name}.part")
        self.notes = target.with_name(f".{target.name}.part.json")
        self.target, self.size, self.sha256, self.patience = target, size, sha256, patience

    def __call__(self, url: str, output_file: str, _: Any) -> None:
        fruitless, restarts = 0, 0
        with tqdm(
            total=self.size, desc=self.target.name, unit="B", unit_scale=True, unit_divisor=1024, disable=None
        ) as bar:
            while True:
                before, start = self._have(), time.monotonic()
                try:
                    self._attempt(url, bar)
                    break
                except _AttemptError as error:
                    # a few bytes and then silence, again and again, is no progress either
                    enough = self.patience.rate * (time.monotonic() - start)
                    fruitless = 0 if self._have() - before > enough else fruitless + 1
                    restarts += self._have() < before  # else a wrong Content-Length is tried for ever
                    if max(fruitless, restarts) >= self.patience.tries:
                        raise _AddressError(f"{error}, {max(fruitless, restarts)} times") from error
                    time.sleep(self.patience.pause * 2 ** max(fruitless - 1, 0))
        self.part.replace(output_file)
        self.notes.unlink(missing_ok=True)

    def forget(self) -> None:
        """Throw away what arrived."""
        self.part.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)

    def _attempt(self, url: str, bar: Any) -> None:
        have, known = self._resumable(url)
        if known is not None and known.total is not None and have == known.total:
            return
        headers = {"Accept-Encoding": "identity", "User-Agent": f"hsisr/{__version__}"}
        if have and known is not None:
            headers |= {"Range": f"bytes={have}-", "If-Range": known.etag or known.modified}
        limits = (min(self.patience.silence, 20), self.patience.silence)
        try:
            with requests.get(url, headers=headers, stream=True, timeout=limits) as response:
                self._receive(response, url, have, known, bar)
        except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
            raise _AttemptError(_reason(error, self._have())) from error
        except requests.RequestException as error:  # a wrong address, too many redirects
            raise _AddressError(_reason(error, 0)) from error

    def _receive(
        self, response: requests.Response, url: str, have: int, known: _Identity | None, bar: Any
    ) -> None:
        status = response.status_code
        if status in _TRY_AGAIN:
            raise _AttemptError(f"it answered {status} {response.reason}")
        if status == 416 or (status == 206 and not self._continues(response, url, have, known)):
            self.forget()
            raise _AttemptError("it did not continue the file")
        if status not in (200, 206):
            raise _AddressError(f"it answered {status} {response.reason}")
        if status == 200:
            have = 0
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else None
        self._check_total(total, response)
        identity = _identity(response, url, total)
        self.notes.write_text(json.dumps(identity), encoding="utf-8")
        bar.total, bar.n = total or self.size, have
        bar.refresh()
        with self.part.open("ab" if have else "wb") as file:
            file.truncate(have)
            have = self._copy(response, file.write, have, bar)
        if total is not None and have < total:
            raise _AttemptError(f"it broke off after {have} of {total} bytes")
        if self.size is not None and have != self.size:
            self.forget()
            raise _AddressError(f"it gave {have} bytes, expected {self.size}")

    def _check_total(self, total: int | None, response: requests.Response) -> None:
        if self.size is not None and total is not None and total != self.size:
            raise _AddressError(f"it offers {total} bytes, expected {self.size}")
        chunked = response.headers.get("Transfer-Encoding", "").lower() == "chunked"
        if total is None and not chunked and self.size is None and self.sha256 is None:
            raise _AddressError("it does not say how long the file is, so half of one could not be told")

    def _copy(self, response: requests.Response, write: Callable[[bytes], int], have: int, bar: Any) -> int:
        """Write what arrives, as it arrives; return the bytes there are then."""
        most = self.size or _MOST_BYTES
        signature = _SIGNATURES.get(self.target.suffix.lower(), b"")
        first, since, then = b"", time.monotonic(), have
        # read1 returns after each arrival: a slow drip is seen, which a read of a full block would wait for
        while data := response.raw.read1(1 << 18, decode_content=False):
            if have < len(signature):
                first += data[: len(signature)]
                if not (signature.startswith(first) or first.startswith(signature)):
                    raise _AddressError(
                        f"it gave {_looks_like(first + data)} instead of a {self.target.suffix} file"
                    )
            write(data)
            have += len(data)
            bar.update(len(data))
            if have > most:
                self.forget()
                raise _AddressError(f"it gave more than {most} bytes")
            now = time.monotonic()
            if now - since >= self.patience.slow:
                if have - then < self.patience.rate * self.patience.slow:
                    raise _AddressError(f"it is too slow: {have - then} bytes in {now - since:.0f} s")
                since, then = now, have
        return have

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _resumable(self, url: str) -> tuple[int, _Identity | None]:
        """What is there of this very file, as far as can be known."""
        try:
            known = _Identity(*json.loads(self.notes.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return 0, None
        if known.url != url or not (known.etag or known.modified):
            return 0, None
        return self._have(), known

    def _continues(self, response: requests.Response, url: str, have: int, known: _Identity | None) -> bool:
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", "").strip())
        if match is None or int(match[1]) != have or known is None:
            return False
        total = None if match[3] == "*" else int(match[3])
        return known.total in (None, total) and known[:3] == _identity(response, url, total)[:3]


def _identity(response: requests.Response, url: str, total: int | None) -> _Identity:
    etag = response.headers.get("ETag", "")
    return _Identity(
        url, "" if etag.startswith("W/") else etag, response.headers.get("Last-Modified", ""), total
    )


def _looks_like(data: bytes) -> str:
    return "a web page" if data.lstrip()[:1] == b"<" else "something else"


def _reason(error: Exception, have: int) -> str:
    """A few words of what requests and urllib3 wrap several times."""
    if isinstance(error, requests.TooManyRedirects):
        return "it redirects without end"
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError) or "timed out" in str(error):
        return "it fell silent"
    if isinstance(error, urllib3.exceptions.HTTPError):  # while the file arrived
        return f"it broke off after {have} bytes"
    root: BaseException = error
    while root.__context__ is not None:
        root = root.__context__
    if isinstance(root, OSError) and root.strerror:
        return root.strerror
    return " ".join(str(root).split()) or "no answer"
