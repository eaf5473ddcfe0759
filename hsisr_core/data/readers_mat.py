"""Read one 3-D array from a MATLAB file, v5 or v7.3, into the same order of axes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import scipy.io

from hsisr_core.data.scene import MINIMUM_SIDE
from hsisr_core.errors import HsisrError

__all__ = ["MatArray", "read_mat"]

_INTEGERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
_NUMERIC = {"double", "single", *_INTEGERS}
_V5_HEADER = 128  # bytes
_V5_MATRIX, _V5_COMPRESSED = 14, 15  # the only element types at the top level of a v5 file


@dataclass(frozen=True, eq=False)
class MatArray:
    """A 3-D array of a MATLAB file.

    Attributes
    ----------
    key
        Its name in the file.
    kind
        Its MATLAB class ("double", "uint16", ...). A v5 file may store it in a smaller type.
    array
        (height, width, bands), the order that MATLAB shows, for both versions of the file.
    version
        "5" or "7.3".
    """

    key: str
    kind: str
    array: np.ndarray
    version: str

    @property
    def is_integer(self) -> bool:
        """Whether MATLAB holds it as an integer class."""
        return self.kind in _INTEGERS


@dataclass(frozen=True)
class _Variable:
    name: str
    shape: tuple[int, ...]  # in MATLAB's order
    kind: str

    def __str__(self) -> str:
        return " ".join(filter(None, (self.name, "x".join(map(str, self.shape)), self.kind)))


def read_mat(path: Path, key: str | None = None) -> MatArray:
    """Read the 3-D numeric array `key`, or the only one, and no other variable.

    Parameters
    ----------
    path
        A .mat file: v5 (scipy.io.loadmat) or v7.3, which is HDF5 with the axes reversed (h5py).
    key
        Name of the array. None: the only 3-D numeric one; masks and label images are 2-D.

    Raises
    ------
    HsisrError
        The file is missing, truncated or no MATLAB file; there is no such array, or there are several; it is
        a cell, object or complex array; it is smaller than 4 pixels a side.
    """
    if _is_hdf5(path):
        with _reading(path), h5py.File(path, "r", locking=False) as file:
            variable = _choose(path, [_describe(name, item) for name, item in file.items()], key)
            array, version = file[variable.name][...].T, "7.3"
    else:
        with _reading(path):
            _check_whole_v5(path)
            variable = _choose(path, [_Variable(*entry) for entry in scipy.io.whosmat(path)], key)
            array, version = scipy.io.loadmat(path, variable_names=[variable.name])[variable.name], "5"
    if array.dtype.kind not in "iuf":  # a v5 file tells only here that the numbers are complex
        raise HsisrError(
            f"{path}: {variable.name} is {array.dtype.name}; expected real numbers. Save its real part."
        )
    return MatArray(variable.name, variable.kind, array, version)


def _choose(path: Path, variables: list[_Variable], key: str | None) -> _Variable:
    listed = ", ".join(map(str, variables)) or "nothing"
    if key is None:
        cubes = [v for v in variables if v.kind in _NUMERIC and len(v.shape) == 3]
        if not cubes:
            raise HsisrError(
                f"{path} holds no 3-D numeric array (it holds {listed}); "
                "expected height x width x bands. Save the cube as such an array."
            )
        if len(cubes) > 1:
            raise HsisrError(
                f"{path} holds several 3-D arrays ({', '.join(map(str, cubes))}). "
                f"Say which one with key=, for example key={cubes[0].name!r}."
            )
        variable = cubes[0]
    else:
        named = [v for v in variables if v.name == key]
        if not named:
            raise HsisrError(f"{path} has no variable {key!r}; it holds {listed}. Give one of these as key=.")
        variable = named[0]
        if variable.kind not in _NUMERIC or len(variable.shape) != 3:
            raise HsisrError(
                f"{path}: {variable} is not a numeric height x width x bands array; the file holds {listed}. "
                "Give another key=, or save the cube as numbers."
            )
    if min(variable.shape[:2]) < MINIMUM_SIDE or variable.shape[2] < 1:
        raise HsisrError(
            f"{path}: {variable} is too small; expected height x width x bands with at least {MINIMUM_SIDE} "
            "pixels a side. Check the order of its axes, or leave out this scene."
        )
    return variable


def _describe(name: str, item: object) -> _Variable:
    """Describe a root entry of an HDF5 file; without MATLAB's own attribute, the HDF5 type decides."""
    if not isinstance(item, h5py.Dataset):
        return _Variable(name, (), "struct or group")
    kind = item.attrs.get("MATLAB_class", b"")
    kind = kind.decode("ascii", "replace") if isinstance(kind, bytes) else str(kind)
    stored = {"float64": "double", "float32": "single"}.get(item.dtype.name, item.dtype.name)
    if item.dtype.names is not None or item.dtype.kind == "c":
        kind = f"complex {kind}".strip()
    elif item.dtype.kind not in "iuf":
        kind = kind or ("object" if item.dtype.kind == "O" else stored)
        kind = f"{kind} of objects" if kind in _NUMERIC else kind
    shape = () if item.shape is None else tuple(reversed(item.shape))
    return _Variable(name, shape, kind or stored)


def _is_hdf5(path: Path) -> bool:
    try:
        with open(path, "rb"):
            return bool(h5py.is_hdf5(path))
    except OSError as error:
        raise HsisrError(f"{path} cannot be read: {error.strerror or error}.") from error


def _check_whole_v5(path: Path) -> None:
    """Refuse a v5 file that ends inside a variable: scipy skips such a variable in silence."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        order = {b"IM": "<", b"MI": ">"}.get(file.read(_V5_HEADER)[-2:])
        position = _V5_HEADER
        while order is not None and position < size:
            file.seek(position)
            tag = file.read(8)
            if len(tag) == 8:
                element, length = struct.unpack(f"{order}II", tag)
                if element not in (_V5_MATRIX, _V5_COMPRESSED):
                    return  # not as MATLAB writes it: scipy decides
                position += 8 + length
            if len(tag) < 8 or position > size:
                raise HsisrError(f"{path} is truncated at {size} bytes. Fetch it again.")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what scipy and h5py raise for a damaged file (a dozen types) into one error."""
    try:
        yield
    except HsisrError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())  # HDF5 breaks its lines
        raise HsisrError(
            f"{path} cannot be read as a MATLAB file ({reason}): it is truncated, damaged or something else. "
            "Fetch or save it again."
        ) from error
