"""Open a cube in a NumPy file (.npy), an HDF5 file, or a MATLAB file (v5, or v7.3, which is HDF5)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hsisr_core.errors import HsisrError
from hsisr_core.scenes.cube import CubeFile, Dataset, reading

_WAVELENGTHS = {"wavelength", "wavelengths", "centers", "centres", "band_centers", "band_centres"}
_INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
# of MATLAB's classes of numbers
_TYPES = {"double": "float64", "single": "float32", **{name: name for name in _INTEGERS}}
# Harvard's `lbl` is 0 where something moved between the bands (its README)
_MASKS = {"ref": "lbl"}
_HDF5, _MATLAB = "an HDF5 file", "a MATLAB file"


@dataclass(frozen=True)
class _Variable:
    name: str
    shape: tuple[int, ...]
    kind: str
    is_numeric: bool = True

    def __str__(self) -> str:
        return " ".join(filter(None, (self.name, "x".join(map(str, self.shape)), self.kind)))


def open_npy(path: Path, band_axis: int | None = None) -> CubeFile:
    """Open a .npy file with one 3-D array of numbers, as a memory map; pickled objects are refused."""
    with reading(path, "a .npy file of numbers"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.dtype.kind not in "iuf":
        raise HsisrError(f"{path} holds values of type {array.dtype}; expected real numbers. Save it so.")
    axes, order = _order_axes(array.shape, band_axis, str(path))
    return CubeFile(f"NumPy file, {array.dtype.name}, {order}", array, axes)


def open_hdf5(path: Path, key: str | None = None, band_axis: int | None = None) -> CubeFile:
    """Open the 3-D dataset `key` of an HDF5 file, or the only one.

    Wavelengths are taken from an attribute of the dataset, or a dataset beside it, that is named
    `wavelengths` or alike and has one number per band.
    """
    with reading(path, _HDF5), h5py.File(path, "r", locking=False) as file:
        if "hsisr_format" in file.attrs:
            raise HsisrError(
                f"{path} is a store of prepared scenes, not one scene. Give it as the data of a run, or see "
                "what it holds with data_scripts/check.py."
            )
        found: list[_Variable] = []

        def note(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset) and len(item.shape or ()) == 3 and item.dtype.kind in "iuf":
                found.append(_Variable(name, item.shape, item.dtype.name))

        file.visititems(note)
        name = _choose(path, found, None if key is None else key.strip("/")).name
        item = file[name]
        axes, order = _order_axes(item.shape, band_axis, f"{path}: {name}")
        return CubeFile(
            kind=f"HDF5 file, key {name!r}, {item.dtype.name}, {order}",
            array=Dataset(path, name, _HDF5, item.shape, item.dtype),
            axes=axes,
            key=name,
            wavelengths=_find_wavelengths(item, item.shape[axes[0]]),
        )


def open_mat(path: Path, key: str | None = None) -> CubeFile:
    """Open the 3-D numeric array `key` (height x width x bands) of a .mat file, or the only one.

    Of v5, it is read as a whole. No other variable is read, but Harvard's mask.
    """
    is_hdf5 = h5py.is_hdf5(path)
    with reading(path, _MATLAB):
        variables = _list_variables(path)
        variable = _choose(path, variables, key)
        array = _open_variable(path, variable.name)
        if array.dtype.kind == "c":
            raise HsisrError(
                f"{path}: {variable.name} is complex; expected real numbers. Save its real part."
            )
        mask = _read_mask(path, variables, variable)
    return CubeFile(
        kind=f"MATLAB {'7.3' if is_hdf5 else '5'} file, key {variable.name!r}, {variable.kind}",
        array=array,
        axes=(0, 2, 1),
        key=variable.name,
        is_double=variable.kind == "double",
        mask=mask,
    )


def variable_names(path: Path) -> list[str]:
    """Return the names of the variables in a .mat file."""
    with reading(path, _MATLAB):
        return [variable.name for variable in _list_variables(path)]


def is_store(path: Path) -> bool:
    """Whether `path` is a store that this project wrote."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            return "hsisr_format" in file.attrs
    except OSError:
        return False


def _order_axes(shape: tuple[int, ...], given: int | None, where: str) -> tuple[tuple[int, int, int], str]:
    """Return the axes of the bands, the rows and the columns, and what their order is called.

    The bands are the axis `given`, else the shortest, which must be the first or the last.
    """
    sizes = "x".join(map(str, shape))
    if len(shape) != 3 or 0 in shape:
        raise HsisrError(f"{where} has the shape {sizes or '()'}; expected three: bands, height, width.")
    if given is not None and (isinstance(given, bool) or given not in (0, 1, 2)):
        raise HsisrError(f"band_axis={given!r}: expected 0, 1 or 2, the axis of {where} that is the bands.")
    axis = int(np.argmin(shape)) if given is None else given
    if given is None and (axis == 1 or sorted(shape)[0] == sorted(shape)[1]):
        raise HsisrError(
            f"{where} has the shape {sizes}, which does not say which axis is the bands; expected the first or "
            "the last to be the shortest. Say which with band_axis=0, 1 or 2."
        )
    rows, cols = (other for other in range(3) if other != axis)
    names = ["height", "width"]
    names.insert(axis, "bands")
    return (axis, rows, cols), " x ".join(names)


def _choose(path: Path, variables: list[_Variable], key: str | None) -> _Variable:
    """Return the 3-D numeric variable `key`, or the only one."""
    listed = ", ".join(map(str, variables)) or "nothing"
    cubes = [variable for variable in variables if variable.is_numeric and len(variable.shape) == 3]
    if key is not None:
        named = [variable for variable in variables if variable.name == key]
        if not named:
            raise HsisrError(f"{path} has no variable {key!r}; it holds {listed}. Give one of these as key=.")
        if named[0] not in cubes:
            raise HsisrError(
                f"{path}: {named[0]} is not a numeric height x width x bands array; the file holds {listed}. "
                "Give another key=, or save the cube as numbers."
            )
        return named[0]
    if not cubes:
        raise HsisrError(
            f"{path} holds no 3-D numeric array (it holds {listed}); expected height x width x bands. "
            "Save the cube as such an array."
        )
    if len(cubes) > 1:
        raise HsisrError(
            f"{path} holds several 3-D arrays ({', '.join(map(str, cubes))}). "
            f"Say which one with key=, for example key={cubes[0].name!r}."
        )
    return cubes[0]


def _find_wavelengths(item: h5py.Dataset, count: int) -> NDArray[np.float64] | None:
    beside = {name: item.parent[name] for name in item.parent if isinstance(item.parent[name], h5py.Dataset)}
    for name, values in [*item.attrs.items(), *beside.items()]:
        if name.rsplit("/", 1)[-1].lower() in _WAVELENGTHS and np.size(values) == count:
            centres = np.ravel(values[...] if isinstance(values, h5py.Dataset) else values)
            if centres.dtype.kind in "iuf":
                return centres.astype(np.float64)
    return None


def _list_variables(path: Path) -> list[_Variable]:
    """List the variables of a .mat file; their shapes are in MATLAB's order."""
    if h5py.is_hdf5(path):
        with h5py.File(path, "r", locking=False) as file:
            return [_describe(name, item) for name, item in file.items()]
    from scipy import io  # not above: it takes memory that scenes of other kinds need not

    _check_whole(path)
    return [_Variable(name, shape, kind, kind in _TYPES) for name, shape, kind in io.whosmat(path)]


def _open_variable(path: Path, name: str) -> np.ndarray | Dataset:
    """Open a variable; of v5, read it. Its axes are reversed, as v7.3 stores it and v5 has it in memory."""
    if h5py.is_hdf5(path):
        with h5py.File(path, "r", locking=False) as file:
            return Dataset(path, name, _MATLAB, file[name].shape, file[name].dtype)
    from scipy import io

    return np.asarray(io.loadmat(path, variable_names=[name])[name]).T


def _read_mask(path: Path, variables: list[_Variable], cube: _Variable) -> NDArray[np.bool_] | None:
    name = _MASKS.get(cube.name)
    shapes = {v.name: v.shape for v in variables if v.is_numeric or v.kind == "logical"}
    if name is None or shapes.get(name) != cube.shape[:2]:
        return None
    labels = _open_variable(path, name)
    if isinstance(labels, Dataset):
        with labels.open() as item:
            labels = np.asarray(item)
    return np.ascontiguousarray(labels.T != 0)


def _check_whole(path: Path) -> None:
    """Refuse a v5 file that ends inside a variable: scipy skips such a variable in silence."""
    size, position = path.stat().st_size, 128
    with open(path, "rb") as file:
        order = {b"IM": "<", b"MI": ">"}.get(file.read(position)[-2:])
        # a file is its header and elements: type, length, content; scipy says what else is wrong
        while order and position < size:
            file.seek(position)
            element, length = struct.unpack(f"{order}II", file.read(8))
            if element not in (14, 15):
                return
            position += 8 + length
    if order and position > size:
        raise HsisrError(f"{path} is truncated at {size} bytes. Fetch it again.")


def _describe(name: str, item: object) -> _Variable:
    """Describe a root entry of an HDF5 file; without MATLAB's own attribute, the HDF5 type decides."""
    if not isinstance(item, h5py.Dataset):
        return _Variable(name, (), "struct or group", False)
    kind = item.attrs.get("MATLAB_class", b"")
    kind = kind.decode("ascii", "replace") if isinstance(kind, bytes) else str(kind)
    kind = kind or {"float64": "double", "float32": "single"}.get(item.dtype.name, item.dtype.name)
    if item.dtype.names is not None or item.dtype.kind == "c":
        kind = f"complex {kind}"
    shape = tuple(reversed(item.shape or ()))
    return _Variable(name, shape, kind, kind in _TYPES and item.dtype.kind in "iuf")
