"""Open the 3-D array of a MATLAB file, v5 or v7.3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hsisr_core.errors import HsisrError
from hsisr_core.scenes.cube_file import Block, CubeFile, array_blocks, array_window
from hsisr_core.scenes.mat5 import check_whole, v5_bands
from hsisr_core.scenes.scene import MINIMUM_SIDE

__all__ = ["open_mat", "variable_names"]

_INTEGERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
_NUMERIC = {"double", "single", *_INTEGERS}
# Harvard's `lbl` is 0 where something moved between the bands (its README)
_MASKS = {"ref": "lbl"}


@dataclass(frozen=True)
class _Variable:
    name: str
    shape: tuple[int, ...]  # in MATLAB's order
    kind: str

    def __str__(self) -> str:
        return " ".join(filter(None, (self.name, "x".join(map(str, self.shape)), self.kind)))


def open_mat(path: Path, key: str | None = None) -> CubeFile:
    """Open the 3-D numeric array `key`, or the only one; no other variable is read, but Harvard's mask.

    Parameters
    ----------
    path
        A .mat file: v5, or v7.3, which is HDF5 with the axes reversed. Its array is height x width x bands.
    key
        Name of the array. None: the only 3-D numeric one; masks and label images are 2-D.

    Raises
    ------
    HsisrError
        The file is missing, truncated or no MATLAB file; there is no such array, or there are several; it is
        a cell, object or complex array; it is smaller than 4 pixels a side. `blocks` raises it too, for a
        file that is damaged further on.
    """
    version = "7.3" if _is_hdf5(path) else "5"
    with _reading(path):
        variables = _variables_v73(path) if version == "7.3" else _variables_v5(path)
        variable = _choose(path, variables, key)
        mask = _mask(path, version, variables, variable)
    height, width, count = variable.shape
    opened, axes = _dataset_v73(path, variable.name), (0, 2, 1)
    blocks = array_blocks(opened, axes) if version == "7.3" else _blocks_v5(path, variable)
    return CubeFile(
        kind=f"MATLAB {version} file, key {variable.name!r}, {variable.kind}",
        shape=(count, height, width),
        is_integer=variable.kind in _INTEGERS,
        blocks=_guarded(path, blocks),
        window=array_window(opened, axes) if version == "7.3" else None,
        key=variable.name,
        mask=mask,
    )


def variable_names(path: Path) -> list[str]:
    """Return the names of the variables in a .mat file.

    Raises
    ------
    HsisrError
        It is missing, truncated or no MATLAB file.
    """
    hdf5 = _is_hdf5(path)
    with _reading(path):
        return [variable.name for variable in (_variables_v73 if hdf5 else _variables_v5)(path)]


def _variables_v5(path: Path) -> list[_Variable]:
    from scipy import io  # not above: it takes memory that scenes of other kinds need not

    check_whole(path)
    return [_Variable(*entry) for entry in io.whosmat(path)]


def _variables_v73(path: Path) -> list[_Variable]:
    with h5py.File(path, "r", locking=False) as file:
        return [_describe(name, item) for name, item in file.items()]


def _blocks_v5(path: Path, variable: _Variable) -> Callable[[], Iterator[Block]]:
    height, width, _ = variable.shape

    def blocks() -> Iterator[Block]:
        for index, band in enumerate(v5_bands(path, variable.name)):
            yield slice(index, index + 1), slice(0, height), slice(0, width), band[None]

    return blocks


def _dataset_v73(path: Path, name: str) -> Callable[[], AbstractContextManager[h5py.Dataset]]:
    @contextmanager
    def opened() -> Iterator[h5py.Dataset]:
        with _reading(path), h5py.File(path, "r", locking=False) as file:
            yield file[name]

    return opened


def _guarded(path: Path, blocks: Callable[[], Iterator[Block]]) -> Callable[[], Iterator[Block]]:
    def guarded() -> Iterator[Block]:
        with _reading(path):
            yield from blocks()

    return guarded


def _mask(path: Path, version: str, variables: list[_Variable], cube: _Variable) -> NDArray[np.bool_] | None:
    name = _MASKS.get(cube.name)
    labelled = {v.name: v.shape for v in variables if v.kind in (*_NUMERIC, "logical")}
    if name is None or labelled.get(name) != cube.shape[:2]:
        return None
    if version == "5":
        from scipy import io

        labels = io.loadmat(path, variable_names=[name])[name]
    else:
        with h5py.File(path, "r", locking=False) as file:
            labels = file[name][...].T
    return np.ascontiguousarray(labels != 0)


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


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what scipy and h5py raise for a damaged file (a dozen types) into one error."""
    try:
        yield
    except HsisrError:
        raise
    except Exception as error:  # see the docstring: no list of them is complete
        reason = " ".join(str(error).split())  # HDF5 breaks its lines
        raise HsisrError(
            f"{path} cannot be read as a MATLAB file ({reason}): it is truncated, damaged or something else. "
            "Fetch or save it again."
        ) from error
