"""Damage small valid files, read each in a child process with limits, and count how that ends."""

from __future__ import annotations

import gc
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hsisr_core.errors import HsisrError

GOOD = ("read", "refused")
CPU_SECONDS, WALL_SECONDS, EXTRA_BYTES = 5, 60, 2 << 30

_MISTAKES = (
    AttributeError,
    TypeError,
    KeyError,
    IndexError,
    NameError,
    AssertionError,
    ArithmeticError,
    RecursionError,
)
_EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
_WORDS = (
    b"99999999999",
    b"-1",
    b"0",
    b"nan",
    b"1e999",
    b"\xff\xfe",
    b"\x1b[2J",
    b"{",
    b"}",
    b"a: [",
    b"'",
    b"\0",
)


@dataclass(frozen=True)
class Kind:
    """A kind of file: `make` writes a small valid one to a folder and returns its path, `read` reads it."""

    name: str
    make: Callable[[Path], Path]
    read: Callable[[Path], object]

    def __str__(self) -> str:
        return self.name


def fuzz(kind: Kind, numbers: range, keep: Path) -> Counter[str]:
    """Read the damaged files of a kind with these numbers; keep the smallest of each new failure in `keep`.

    A number stands for the same damage each time. Return how often each outcome was.
    """
    outcomes: Counter[str] = Counter()
    smallest: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        valid, damaged = Path(folder, "valid"), Path(folder, "damaged")
        valid.mkdir()
        named = kind.make(valid).relative_to(valid)
        # in the parent, so that the libraries are ready in each child
        kind.read(valid / named)
        gc.collect()
        gc.freeze()
        files = sorted(file.relative_to(valid) for file in valid.rglob("*") if file.is_file())
        for number in numbers:
            rng = random.Random(f"{kind} {number}")
            shutil.rmtree(damaged, ignore_errors=True)
            shutil.copytree(valid, damaged)
            # the first file is as often damaged as all others together
            file = damaged / (named if rng.random() < 0.5 and named in files else rng.choice(files))
            file.write_bytes(mutate(file.read_bytes(), rng))
            outcome, why = read_in_child(kind.read, damaged / named)
            outcomes[outcome] += 1
            size = sum(file.stat().st_size for file in damaged.rglob("*") if file.is_file())
            failure = f"{kind}: {outcome}, {why}"
            if outcome not in GOOD and size < smallest.get(failure, size + 1):
                place = keep / f"{kind}-{outcome}-{zlib.crc32(failure.encode()):08x}"
                shutil.rmtree(place, ignore_errors=True)
                shutil.copytree(damaged, place)
                (place / "why.txt").write_text(f"{failure}\nmutation {number}\n")
                smallest[failure] = size
    return outcomes


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Damage a file's bytes at one to eight places."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        size = len(out)
        at, length = rng.randrange(size + 1), min(1 << rng.randrange(8), size)
        way = rng.randrange(8)
        if way == 0 and size:
            out[at % size] ^= 1 << rng.randrange(8)
        elif way == 1 and size:
            out[at % size] = rng.randrange(256)
        elif way == 2:
            # a number of 1, 2, 4 or 8 bytes
            width = 1 << rng.randrange(4)
            number = rng.choice(_EXTREMES) % (1 << 8 * width)
            out[at : at + width] = number.to_bytes(width, rng.choice(("little", "big")))
        elif way == 3:
            out[at : at + length] = b""
        elif way == 4:
            start = rng.randrange(size + 1)
            out[at : at + length] = out[start : start + length]
        elif way == 5:
            start = rng.randrange(size + 1)
            out[at:at] = out[start : start + length]
        elif way == 6:
            out[at : at + rng.randrange(4)] = rng.choice(_WORDS)
        elif rng.random() < 0.3:
            del out[at:]
        else:
            out[at : at + length] = rng.randbytes(length)
    return bytes(out)


def read_in_child(read: Callable[[Path], object], path: Path) -> tuple[str, str]:
    """Read a file in a forked child; return how that ended, and where or why it failed."""
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as shown:
        child = os.fork()
        if child == 0:
            try:
                _limit()
                os.dup2(shown.fileno(), 1)
                os.dup2(shown.fileno(), 2)
                outcome, why = _try(read, path)
                sys.stderr.flush()
                os.write(said.fileno(), f"{outcome}\n{why}".encode("utf-8", "backslashreplace"))
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        said.seek(0)
        shown.seek(0)
        outcome, _, why = said.read().decode().partition("\n")
        output = shown.read().decode("utf-8", "replace")
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return ("hang" if name in ("SIGXCPU", "SIGALRM") else "crash"), name
    if "Traceback (most recent call last)" in output:
        return "traceback", output.strip().splitlines()[-1][:200]
    return outcome, why


def _limit() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + EXTRA_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = round(sum(os.times()[:2]))
    resource.setrlimit(resource.RLIMIT_CPU, (used + CPU_SECONDS, used + CPU_SECONDS + 1))
    signal.alarm(WALL_SECONDS)


def _try(read: Callable[[Path], object], path: Path) -> tuple[str, str]:
    try:
        read(path)
        return "read", ""
    except MemoryError as error:
        return "memory", _place(error)
    except HsisrError as error:
        for cause in _causes(error):
            if isinstance(cause, MemoryError):
                return "memory", _place(cause)
            # a mistake of our own code that a catch-all hid: one on purpose stands in the same function
            frames = [frame for frame in traceback.extract_tb(cause.__traceback__) if frame.name[0] != "<"]
            ours = bool(frames) and "hsisr_core" in frames[-1].filename
            caught = traceback.extract_tb(error.__traceback__)[-1].name
            if isinstance(cause, _MISTAKES) and ours and frames[-1].name != caught:
                return "traceback", f"hidden {_place(cause)}"
        return "refused", ""
    except BaseException as error:
        return "traceback", _place(error)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__ or error.__context__
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _place(error: BaseException) -> str:
    """The type of an error, and the last lines of ours that it went through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "hsisr_core" in frame.filename]
    lines = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[-2:]]
    return f"{type(error).__name__} at {' '.join(lines) or 'the harness'}"
