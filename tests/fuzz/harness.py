"""Damage small valid files, read each in a child process with limits, and count how that ends."""

from __future__ import annotations

import copy
import gc
import json
import math
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hsisr_core.errors import HsisrError

GOOD = ("read", "refused")
# for each file; a child reads BATCH files, since a fork takes longer than most of them
CPU_SECONDS, WALL_SECONDS, EXTRA_BYTES, BATCH = 5, 300, 2 << 30, 20

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
_STRUCTURED = (".yaml", ".json", ".ipynb", ".safetensors")
_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 10**30, 1e308, math.nan, "", "x" * 300, "\x1b[2J", "../a", [], {}, [[]], {"a": None},
)  # fmt: skip


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
        valid, place = Path(folder, "valid"), Path(folder, "damaged")
        valid.mkdir()
        named = kind.make(valid).relative_to(valid)
        # in the parent, so that the libraries are ready in each child; of a copy, since reading may unpack beside it
        kind.read(shutil.copytree(valid, Path(folder, "copy")) / named)
        gc.collect()
        gc.freeze()
        for first in range(0, len(numbers), BATCH):
            damaged = {number: place / str(number) for number in numbers[first : first + BATCH]}
            for number, folder_of_one in damaged.items():
                _damage(valid, named, folder_of_one, random.Random(f"{kind} {number}"))
            ends = read_in_children(kind.read, [path / named for path in damaged.values()])
            for (number, path), (outcome, why) in zip(damaged.items(), ends, strict=True):
                outcomes[outcome] += 1
                size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
                failure = f"{kind}: {outcome}, {why}"
                if outcome not in GOOD and size < smallest.get(failure, size + 1):
                    kept = keep / f"{kind}-{outcome}-{zlib.crc32(failure.encode()):08x}"
                    shutil.rmtree(kept, ignore_errors=True)
                    shutil.copytree(path, kept)
                    (kept / "why.txt").write_text(f"{failure}\nmutation {number}\n")
                    smallest[failure] = size
            shutil.rmtree(place)
    return outcomes


def _damage(valid: Path, named: Path, folder: Path, rng: random.Random) -> None:
    """Copy the files to `folder`, and damage one: the first as often as all others together."""
    shutil.copytree(valid, folder)
    files = sorted(file.relative_to(valid) for file in valid.rglob("*") if file.is_file())
    file = folder / (named if rng.random() < 0.5 and named in files else rng.choice(files))
    data = file.read_bytes()
    structured = file.suffix in _STRUCTURED and rng.random() < 0.5
    file.write_bytes(exchange(data, file.suffix, rng) if structured else mutate(data, rng))


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


def exchange(data: bytes, suffix: str, rng: random.Random) -> bytes:
    """Replace, double or remove one value of a document of YAML or JSON, or of the header of a safetensors file."""
    if suffix == ".yaml":
        return yaml.safe_dump(_exchange(yaml.safe_load(data), rng), sort_keys=False).encode()
    if suffix != ".safetensors":
        return json.dumps(_exchange(json.loads(data), rng), indent=1).encode()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    texts = header.get("__metadata__", {})
    for name in texts:
        with suppress(ValueError):
            texts[name] = json.loads(texts[name])
    _exchange(header, rng)
    if isinstance(texts, dict):
        texts |= {name: json.dumps(value) for name, value in texts.items() if not isinstance(value, str)}
    head = json.dumps(header).encode()
    return len(head).to_bytes(8, "little") + head + data[end:]


def _exchange(document: Any, rng: random.Random) -> Any:
    places = list(_places(document))
    inside, key = rng.choice(places)
    way = rng.random()
    if way < 0.2:
        del inside[key]
    elif way < 0.4:
        other, name = rng.choice(places)
        inside[key] = copy.deepcopy(other[name])
    else:
        inside[key] = rng.choice(_VALUES)
    return document


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each list and mapping in a document, with each of its keys."""
    if isinstance(value, dict | list):
        for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
            yield value, key
            yield from _places(inner)


def read_in_children(read: Callable[[Path], object], paths: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Read files in a forked child, and in another from the one on that ended it; yield how, and why, each ended."""
    left = list(paths)
    while left:
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as shown:
            child = os.fork()
            if child == 0:
                try:
                    _read_all(read, left, said.fileno(), shown.fileno())
                finally:
                    os._exit(0)
            _, status = os.waitpid(child, 0)
            said.seek(0)
            ends = [json.loads(line) for line in said]
        yield from ends
        if len(ends) < len(left):
            name = (
                signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "it left the process"
            )
            yield ("hang" if name in ("SIGXCPU", "SIGALRM") else "crash"), name
        left = left[len(ends) + 1 :]


def _read_all(read: Callable[[Path], object], paths: list[Path], said: int, shown: int) -> None:
    """In a child: read files, and write how each ended to `said`, as JSON."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + EXTRA_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(shown, 1)
    os.dup2(shown, 2)
    for path in paths:
        used = round(sum(os.times()[:2]))
        resource.setrlimit(resource.RLIMIT_CPU, (used + CPU_SECONDS, resource.RLIM_INFINITY))
        signal.alarm(WALL_SECONDS)
        before = os.lseek(shown, 0, os.SEEK_CUR)
        outcome, why = _try(read, path)
        sys.stdout.flush()
        sys.stderr.flush()
        output = os.pread(shown, 1 << 20, before).decode("utf-8", "replace")
        if "Traceback (most recent call last)" in output:
            outcome, why = "traceback", output.strip().splitlines()[-1][:200]
        elif "\x1b" in output:
            outcome, why = "traceback", "a control character reaches the terminal"
        os.write(said, (json.dumps([outcome, why]) + "\n").encode())


def _try(read: Callable[[Path], object], path: Path) -> tuple[str, str]:
    try:
        read(path)
        return "read", ""
    except MemoryError as error:
        return "memory", _place(error)
    except HsisrError as error:
        for cause in _causes(error):
            if isinstance(cause, MemoryError) or "can't allocate memory" in str(cause):
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
