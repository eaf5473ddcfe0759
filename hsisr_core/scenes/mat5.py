"""Read an array of a MATLAB v5 file band by band.

scipy reads a variable as a whole, twice if it is compressed; here only one band at a time is in memory.
Layout: MathWorks, "MAT-File Format" (level 5): elements of an 8-byte tag (type, bytes) and data, padded
to 8 bytes; a variable is an element `miMATRIX` of four or more elements, or its zlib stream.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from hsisr_core.errors import HsisrError

__all__ = ["check_whole", "v5_bands"]

_HEADER = 128  # bytes
_MATRIX, _COMPRESSED = 14, 15  # the only element types at the top level
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_COMPLEX = 0x0800  # in the array flags
_ZLIB_BYTES = 1 << 18


def check_whole(path: Path) -> None:
    """Refuse a v5 file that ends inside a variable: scipy skips such a variable in silence.

    Raises
    ------
    HsisrError
        It does.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        order = _byte_order(file)
        if order is None:
            return  # not as MATLAB writes it: scipy says what is wrong
        for element, start, length in _elements(file, order, size):
            if element not in (_MATRIX, _COMPRESSED):
                return
            if start + length > size:
                raise HsisrError(f"{path} is truncated at {size} bytes. Fetch it again.")


def v5_bands(path: Path, name: str) -> Iterator[np.ndarray]:
    """Yield the bands of the real 3-D numeric array `name`, each (height, width), in the file's type.

    Raises
    ------
    HsisrError
        The array is complex.
    ValueError, EOFError, struct.error, zlib.error
        The file is damaged.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        order = _byte_order(file)
        if order is None:
            raise ValueError("no byte order mark")
        for element, start, length in _elements(file, order, size):
            file.seek(start)
            stream: _Stream = _Plain(file)
            if element == _COMPRESSED:
                stream = _Inflated(file, length)
                stream.read(8)  # the tag of the matrix inside
            flags, shape, found = _matrix_header(stream, order)
            if found == name:
                if flags & _COMPLEX:
                    raise HsisrError(f"{path}: {name} is complex; expected real numbers. Save its real part.")
                yield from _bands(stream, order, shape)
                return
    raise ValueError(f"no array {name}")


def _byte_order(file: BinaryIO) -> str | None:
    return {b"IM": "<", b"MI": ">"}.get(file.read(_HEADER)[-2:])


def _elements(file: BinaryIO, order: str, size: int) -> Iterator[tuple[int, int, int]]:
    """Yield (type, start of the data, bytes) of the elements at the top level."""
    position = _HEADER
    while position < size:
        file.seek(position)
        tag = file.read(8)
        if len(tag) < 8:
            yield _MATRIX, position, 8  # ends beyond the file
            return
        element, length = struct.unpack(f"{order}II", tag)
        yield element, position + 8, length
        position += 8 + length


class _Stream(Protocol):
    def read(self, size: int) -> bytes | bytearray: ...

    def end(self) -> None: ...


class _Plain:
    """Exactly as many bytes of a file as asked for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise EOFError("the file ends inside a variable")
        return data

    def end(self) -> None:
        """Nothing to compare: the format has no checksum of its own."""


class _Inflated:
    """Exactly as many bytes as asked for of a zlib stream of `length` bytes in a file."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self._file, self._left, self._inflate, self._rest = file, length, zlib.decompressobj(), b""

    def read(self, size: int) -> bytearray:
        data = bytearray()
        while len(data) < size:
            data += self._some(size - len(data))
        return data

    def end(self) -> None:
        """Go to the end of the stream, where zlib compares its checksum."""
        while not self._inflate.eof:
            self._some(_ZLIB_BYTES)

    def _some(self, most: int) -> bytes:
        if not self._rest:
            self._rest = self._file.read(min(_ZLIB_BYTES, self._left))
            self._left -= len(self._rest)
        starved = not self._rest
        data = self._inflate.decompress(self._rest, most)
        self._rest = self._inflate.unconsumed_tail
        if starved and not data:
            raise EOFError("a compressed variable ends too early")
        return data


def _matrix_header(stream: _Stream, order: str) -> tuple[int, tuple[int, ...], str]:
    """Read the array flags, the dimensions and the name."""
    (flags,) = struct.unpack_from(f"{order}I", _element(stream, order)[1])
    dimensions = _element(stream, order)[1]
    shape = struct.unpack(f"{order}{len(dimensions) // 4}i", dimensions)
    return flags, shape, bytes(_element(stream, order)[1]).decode("latin-1")


def _element(stream: _Stream, order: str) -> tuple[int, bytes | bytearray]:
    """Read a short element with its padding: its type and its data."""
    tag = stream.read(8)
    kind, length = struct.unpack(f"{order}II", tag)
    if kind > 0xFFFF:  # the small format: type and length in one word, data in the other
        return kind & 0xFFFF, tag[4 : 4 + (kind >> 16)]
    return kind, stream.read(-(-length // 8) * 8)[:length]


def _bands(stream: _Stream, order: str, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    kind, length = struct.unpack(f"{order}II", stream.read(8))
    dtype = np.dtype(order + _TYPES[kind])
    if length != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{length} bytes for {shape} values of type {dtype}")
    height, width, count = shape
    for _ in range(count):
        data = stream.read(height * width * dtype.itemsize)
        yield np.frombuffer(data, dtype).reshape(width, height).T  # MATLAB: the first index runs fastest
    stream.end()
