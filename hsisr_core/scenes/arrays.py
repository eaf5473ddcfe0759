"""Open a cube in a NumPy file (.npy) or an HDF5 file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hsisr_core.errors import HsisrError
from hsisr_core.scenes.cube_file import CubeFile, array_blocks, array_window, find_band_axis

__all__ = ["axis_order", "is_store", "open_hdf5", "open_npy"]

_WAVELENGTHS = {"wavelength", "wavelengths", "centers", "centres", "band_centers", "band_centres"}
_AXES = ("bands", "height", "width")


def open_npy(path: Path, band_axis: int | None = None) -> CubeFile:
    """Open a .npy file with one 3-D array of numbers, as a memory map; pickled objects are refused.

    Raises
    ------
    HsisrError
        It is damaged, holds something else, or does not tell which axis is the bands.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # ValueError, EOFError, OSError and others for a damaged file
        raise HsisrError(
            f"{path} cannot be read as a .npy file ({' '.join(str(error).split())}): it is truncated, damaged, "
            "or holds Python objects. Save the cube as an array of numbers."
        ) from error
    _check_numbers(array.dtype, str(path))
    axis = find_band_axis(array.shape, band_axis, str(path))
    axes = axis_order(axis)
    return CubeFile(
        kind=f"NumPy file, {array.dtype.name}, {_described(axes)}",
        shape=(array.shape[axes[0]], array.shape[axes[1]], array.shape[axes[2]]),
        is_integer=array.dtype.kind in "iu",
        blocks=array_blocks(array, axes),
        window=array_window(array, axes),
    )


def open_hdf5(path: Path, key: str | None = None, band_axis: int | None = None) -> CubeFile:
    """Open the 3-D dataset `key` of an HDF5 file, or the only one.

    Wavelengths are taken from an attribute of the dataset, or a dataset beside it, that is named
    `wavelengths` or alike and has one number per band.

    Raises
    ------
    HsisrError
        It is damaged; there is no such dataset, or there are several; it is a store of prepared scenes; it does
        not tell which axis is the bands.
    """
    with _reading(path), h5py.File(path, "r", locking=False) as file:
        if "hsisr_format" in file.attrs:
            raise HsisrError(
                f"{path} is a store of prepared scenes, not one scene. Give it as the data of a run, or see "
                "what it holds with data_scripts/check.py."
            )
        found: dict[str, h5py.Dataset] = {}
        file.visititems(lambda name, item: found.update({name: item}) if _is_cube(item) else None)
        listed = ", ".join(f"{name} {'x'.join(map(str, item.shape))}" for name, item in found.items())
        if key is None and len(found) != 1:
            raise HsisrError(
                f"{path} holds several 3-D arrays ({listed}). Say which one with key=."
                if found
                else f"{path} holds no 3-D array of numbers. Save the cube as one dataset."
            )
        name = next(iter(found)) if key is None else key.strip("/")
        if name not in found:
            raise HsisrError(
                f"{path} has no 3-D array {key!r}; it holds {listed or 'none'}. Give another key=."
            )
        item = found[name]
        axis = find_band_axis(item.shape, band_axis, f"{path}: {name}")
        axes, opened = axis_order(axis), _dataset(path, name)
        return CubeFile(
            kind=f"HDF5 file, key {name!r}, {item.dtype.name}, {_described(axes)}",
            shape=(item.shape[axes[0]], item.shape[axes[1]], item.shape[axes[2]]),
            is_integer=item.dtype.kind in "iu",
            blocks=array_blocks(opened, axes),
            window=array_window(opened, axes),
            key=name,
            wavelengths=_wavelengths(item, item.shape[axis]),
        )


def is_store(path: Path) -> bool:
    """Whether `path` is a store that this project wrote."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            return "hsisr_format" in file.attrs
    except OSError:
        return False


def axis_order(band_axis: int) -> tuple[int, int, int]:
    """Return the axes of the bands, the rows and the columns: the rows come before the columns."""
    rows, cols = (axis for axis in range(3) if axis != band_axis)
    return band_axis, rows, cols


def _described(axes: tuple[int, int, int]) -> str:
    return " x ".join(_AXES[axes.index(axis)] for axis in range(3))


def _dataset(path: Path, name: str) -> Callable[[], AbstractContextManager[h5py.Dataset]]:
    @contextmanager
    def opened() -> Iterator[h5py.Dataset]:
        with _reading(path), h5py.File(path, "r", locking=False) as file:
            yield file[name]

    return opened


def _is_cube(item: object) -> bool:
    return isinstance(item, h5py.Dataset) and len(item.shape or ()) == 3 and item.dtype.kind in "iuf"


def _wavelengths(item: h5py.Dataset, count: int) -> NDArray[np.float64] | None:
    beside = {name: item.parent[name] for name in item.parent if isinstance(item.parent[name], h5py.Dataset)}
    for name, values in [*item.attrs.items(), *beside.items()]:
        if name.rsplit("/", 1)[-1].lower() in _WAVELENGTHS and np.size(values) == count:
            centres = np.ravel(values[...] if isinstance(values, h5py.Dataset) else values)
            if centres.dtype.kind in "iuf":
                return centres.astype(np.float64)
    return None


def _check_numbers(dtype: np.dtype, where: str) -> None:
    if dtype.kind not in "iuf":
        raise HsisrError(
            f"{where} holds values of type {dtype}; expected real numbers. Save the cube as such."
        )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what h5py raises for a damaged file into one error."""
    try:
        yield
    except HsisrError:
        raise
    except Exception as error:  # h5py raises OSError, KeyError, RuntimeError and others for a damaged file
        raise HsisrError(
            f"{path} cannot be read as an HDF5 file ({' '.join(str(error).split())}): it is truncated, damaged or "
            "something else. Fetch or save it again."
        ) from error
