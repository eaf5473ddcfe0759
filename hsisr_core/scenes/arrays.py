"""Open a cube in an HDF5 file, a MATLAB file (v5, or v7.3, which is HDF5), or a NumPy file (.npy, .npz)."""

from __future__ import annotations

import json
import math
import posixpath
import struct
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hsisr_core.errors import HsisrError
from hsisr_core.scenes.bands import NAMES, Listed, choose_wavelengths, list_wavelengths
from hsisr_core.scenes.cube import CubeFile, check_memory, check_size, reading
from hsisr_core.scenes.raster import as_list, scale_of
from hsisr_core.scenes.scene import Georeference

# MATLAB's class of a type of NumPy, and the numbers of the class and of its values in a file of version 5
MATLAB_TYPES = {
    "float64": ("double", 6, 9),
    "float32": ("single", 7, 7),
    "int8": ("int8", 8, 1),
    "uint8": ("uint8", 9, 2),
    "int16": ("int16", 10, 3),
    "uint16": ("uint16", 11, 4),
    "int32": ("int32", 12, 5),
    "uint32": ("uint32", 13, 6),
    "int64": ("int64", 14, 12),
    "uint64": ("uint64", 15, 13),
}
_CLASSES = {kind for kind, _, _ in MATLAB_TYPES.values()}
# what `cube_writer` says of a cube, and names that others give to it
_OWN = ("divisor", "nodata", "geotransform", "crs", "entries")
_NODATA = ("nodata", "_FillValue", "Data_Ignore_Value", "missing_value")
_SCALES = ("divisor", "Scale_Factor", "scale_factor")
# PRISMA: the axis of the bands; attributes of the file with their centres (nm), and the ends of the range
_LAYOUTS = {
    "VNIR_Cube": (1, "List_Cw_Vnir", "L2ScaleVnirMin", "L2ScaleVnirMax"),
    "SWIR_Cube": (1, "List_Cw_Swir", "L2ScaleSwirMin", "L2ScaleSwirMax"),
}
# NEON: ENVI's map info and an EPSG code, in a group beside the cube
_NEON_PLACE = [f"Metadata/Coordinate_System/{name}" for name in ("Map_Info", "EPSG Code")]
# Harvard's `lbl` is 0 where something moved between the bands (its README)
_MASKS = {"ref": "lbl"}
_MATLAB = "a MATLAB file"


@dataclass(frozen=True)
class Dataset:
    """A dataset of an HDF5 file that is closed."""

    path: Path
    name: str
    # of the file, for a message
    kind: str
    shape: tuple[int, ...]
    dtype: np.dtype

    @contextmanager
    def open(self) -> Iterator[h5py.Dataset]:
        with reading(self.path, self.kind), h5py.File(self.path, "r", locking=False) as file:
            yield file[self.name]


@dataclass(frozen=True)
class _Array:
    """An array among others in a file; its axes are those that a reader of such files sees."""

    name: str
    shape: tuple[int, ...]
    kind: str
    # whether its values are real numbers
    is_numeric: bool
    # gives it as it is stored: in memory, or a `Dataset`
    open: Callable[[], Any]
    # in HDF5
    item: h5py.Dataset | None = None
    # whether it is in a .mat file, which stores the axes in reverse, and in one of v7.3 that MATLAB did not write
    is_mat: bool = False
    foreign: bool = False

    @property
    def size(self) -> str:
        return "x".join(map(str, self.shape))

    def __str__(self) -> str:
        return " ".join(filter(None, (self.name, self.size, self.kind)))

    def attributes(self) -> list[Mapping[str, Any]]:
        """Attributes of an HDF5 dataset, of the groups above it, and of the file."""
        found: list[Mapping[str, Any]] = []
        item = self.item
        while item is not None:
            found.append(item.attrs)
            item = None if item.name == "/" else item.parent
        return found or [{}]

    def read(self) -> Any:
        """Read its values, or a text."""
        if self.item is None:
            return _as_text(self.open())
        is_text, values = self.kind == "char", self.item[()]
        return values.astype("<u2").tobytes().decode("utf-16-le") if is_text else _as_text(values)


def open_npy(path: Path, key: str | None = None, band_axis: int | None = None) -> CubeFile:
    """Open a .npy file with one 3-D array of numbers, as a memory map; pickled objects are refused."""
    with reading(path, "a .npy file of numbers"):
        values = np.lib.format.open_memmap(path, mode="r")
    if values.dtype.kind not in "iuf":
        raise HsisrError(f"{path} holds values of type {values.dtype}; expected real numbers. Save it so.")
    beside, said = path.with_name(path.name + ".json"), {}
    if beside.is_file():
        with reading(beside, "a description of a cube"):
            found = json.loads(beside.read_text("utf-8"))
            said = {name: value for name, value in found.items() if value is not None}
    array = _Array("", values.shape, values.dtype.name, True, lambda: values)
    return _describe(path, "NumPy file", array, said, list_wavelengths(said), band_axis)


def open_arrays(path: Path, key: str | None = None, band_axis: int | None = None) -> CubeFile:
    """Open the 3-D numeric array `key` of an HDF5, .mat or .npz file, or the only one.

    Wavelengths, no-data value, scale and place are attributes of an HDF5 dataset, or what an output of this project
    says of itself; wavelengths are also attributes of the groups above, or an array anywhere in the file, the nearest
    one. Harvard's mask is read. A .mat file of version 5 and a .npz are read as a whole. `band_axis` counts as MATLAB
    shows an array.
    """
    with _open_file(path) as (kind, arrays):
        array = _choose(path, arrays, key)
        attributes, lists = array.attributes(), _find_lists(array, arrays)
        of_file, own = attributes[-1], {}
        if "provenance" in arrays:
            own = {name: arrays[name].read() for name in _OWN if name in arrays}
        layout = _LAYOUTS.get(array.name.rsplit("/", 1)[-1])
        if layout is not None:
            axis, centres, low, high = layout
            band_axis = axis if band_axis is None else band_axis
            lists = [(of_file[centres], "nm")] if centres in of_file else lists
            own |= {"divisor": 65535 / of_file[high]} if high in of_file and not of_file.get(low) else {}
        place = [arrays.get(posixpath.join(posixpath.dirname(array.name), name)) for name in _NEON_PLACE]
        if place[0] and place[1]:
            own |= _place_neon(place[0].read(), place[1].read())
        mask, labels = None, arrays.get(_MASKS.get(array.name, ""))
        if labels and labels.shape == array.shape[:2] and labels.kind in {"logical", *_CLASSES}:
            mask = np.ascontiguousarray(labels.read().T != 0)
        said = ChainMap(own, attributes[0])  # type: ignore[arg-type]
        return _describe(path, kind, array, said, lists, band_axis, mask)


def variable_names(path: Path) -> list[str]:
    """Return the names of the variables in a .mat file."""
    with _open_file(path) as (_, arrays):
        return [name for name in arrays if "/" not in name]


def is_store(path: Path) -> bool:
    """Whether `path` is a store that this project wrote."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            return "hsisr_format" in file.attrs
    except OSError:
        return False


@contextmanager
def _open_file(path: Path) -> Iterator[tuple[str, dict[str, _Array]]]:
    """Open a file that holds several arrays; give what it is, and the arrays by their names."""
    suffix = path.suffix.lower()
    if suffix == ".npz":
        with reading(path, "a .npz file of numbers"), np.load(path, allow_pickle=False) as file:
            check_memory(path, sum(item.file_size for item in file.zip.infolist()))
            yield "NumPy file", {name: _describe_array(name, file[name]) for name in file.files}
    elif suffix == ".mat" and not h5py.is_hdf5(path):
        with reading(path, _MATLAB):
            yield "MATLAB 5 file", _list_mat5(path)
    else:
        kind = _MATLAB if suffix == ".mat" else "an HDF5 file"
        with reading(path, kind), h5py.File(path, "r", locking=False) as file:
            if "hsisr_format" in file.attrs:
                raise HsisrError(
                    f"{path} is a store of prepared scenes, not one scene. Give it as the data of a run, or see "
                    "what it holds with data_scripts/check.py."
                )
            yield "MATLAB 7.3 file" if suffix == ".mat" else "HDF5 file", _list_hdf5(path, file, kind)


def _describe_array(name: str, values: np.ndarray, *, is_mat: bool = False) -> _Array:
    """Describe an array that is in memory."""
    kind = MATLAB_TYPES.get(values.dtype.name, (values.dtype.name,))[0] if is_mat else values.dtype.name
    is_numeric = values.dtype.kind in "iuf"
    return _Array(name, values.shape, kind, is_numeric, lambda: values.T if is_mat else values, is_mat=is_mat)


def _list_hdf5(path: Path, file: h5py.File, kind: str) -> dict[str, _Array]:
    """List the datasets of an HDF5 file; no link is followed, and no values are read that are in other files.

    Of a .mat file, the groups are listed, too, which are structures.
    """
    arrays: dict[str, _Array] = {}
    is_mat = kind == _MATLAB
    for name, item in _walk(file):
        if not isinstance(item, h5py.Dataset):
            if is_mat and "/" not in name:
                arrays[name] = _Array(name, (), "struct or group", False, dict, is_mat=True)
        elif not (item.is_virtual or item.external):
            shape, word, own = item.shape or (), item.dtype.name, ""
            if is_mat:
                own = str(_as_text(item.attrs.get("MATLAB_class", b"")))
                # without MATLAB's own class, the type decides
                shape, word = shape[::-1], own or MATLAB_TYPES.get(word, (word,))[0]
                word = f"complex {word}" if item.dtype.names or item.dtype.kind == "c" else word
            is_numeric = item.dtype.kind in "iuf" and (not is_mat or word in _CLASSES)
            later = partial(Dataset, path, name, kind, item.shape, item.dtype)
            arrays[name] = _Array(name, shape, word, is_numeric, later, item, is_mat, is_mat and not own)
    return dict(sorted(arrays.items()))


def _walk(file: h5py.File) -> Iterator[tuple[str, Any]]:
    """Give each item of a file once, with its name; only hard links are followed."""
    rest: list[tuple[str, h5py.Group]] = [("", file)]
    seen = set()
    while rest:
        prefix, group = rest.pop()
        for name in group:
            # MATLAB's own begin with #
            if name[0] == "#" or not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address not in seen:
                seen.add(address)
                yield prefix + name, item
                if isinstance(item, h5py.Group):
                    rest.append((f"{prefix}{name}/", item))


def _list_mat5(path: Path) -> dict[str, _Array]:
    """List the variables of a .mat file of version 5; structures are read, for their fields."""
    from scipy import io  # not above: it takes memory that scenes of other kinds need not

    _check_whole(path)
    arrays = {}
    for name, shape, kind in io.whosmat(path):

        def load(name: str = name, size: int = 8 * math.prod(shape)) -> Any:
            check_memory(path, size)
            return io.loadmat(path, variable_names=[name])[name].T

        arrays[name] = _Array(name, shape, kind, kind in _CLASSES, load, is_mat=True)
        if kind == "struct":
            arrays |= _list_fields(name, load().T)
    return arrays


def _list_fields(name: str, value: Any) -> dict[str, _Array]:
    """The arrays in a structure, hsi/Data; a list of structures has none."""
    found: dict[str, _Array] = {}
    if isinstance(value, np.ndarray) and value.dtype.names and value.size == 1:
        for field in value.dtype.names:
            found |= _list_fields(f"{name}/{field}", value.flat[0][field])
    elif isinstance(value, np.ndarray) and "/" in name:
        found[name] = _describe_array(name, value, is_mat=True)
    return found


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


def _choose(path: Path, arrays: Mapping[str, _Array], key: str | None) -> _Array:
    """Return the 3-D numeric array `key`, or the only one but for a picture in colour."""
    cubes = [array for array in arrays.values() if array.is_numeric and len(array.shape) == 3]
    # of HDF5 files, which hold much else, the cubes only
    shown = [array for array in arrays.values() if array.is_mat or array in cubes]
    listed = ", ".join(map(str, shown)) or "nothing"
    if key is not None:
        # a field of a structure is named with a point or as in HDF5, and by its last part, too
        ends = "." + key.strip("/").replace("/", ".")
        named = [array for array in shown if f".{array.name.replace('/', '.')}".endswith(ends)]
        if not named:
            raise HsisrError(
                f"{path} has no variable {key!r}; it holds {listed}. Give one of these with --key."
            )
        array = min(named, key=lambda array: len(array.name))
        if array not in cubes:
            raise HsisrError(
                f"{path}: {array} is not a numeric height x width x bands array; the file holds {listed}. "
                "Give another with --key, or save the cube as numbers."
            )
        return array
    if not cubes:
        raise HsisrError(
            f"{path} holds no 3-D numeric array (it holds {listed}); expected height x width x bands. "
            "Save the cube as such an array."
        )
    spectral = [array for array in cubes if (array.kind, array.shape[-1]) != ("uint8", 3)] or cubes
    if len(spectral) > 1:
        raise HsisrError(
            f"{path} holds several 3-D arrays ({', '.join(map(str, cubes))}). "
            f"Say which one with --key (in Python: key=), for example --key {spectral[0].name!r}."
        )
    return spectral[0]


def _find_lists(array: _Array, arrays: Mapping[str, _Array]) -> list[Listed]:
    """Wavelengths in attributes of an array and the groups above it, then in other arrays, the nearest first."""
    found = [listed for attributes in array.attributes() for listed in list_wavelengths(attributes)]
    others = [
        other
        for name, other in arrays.items()
        if name.rsplit("/", 1)[-1].lower() in NAMES and other.is_numeric and len(other.shape) < 3
    ]
    units = arrays["wavelength_units"].read() if "wavelength_units" in arrays else ""
    for other in sorted(
        others, key=lambda other: -len(posixpath.commonpath([f"/{array.name}", f"/{other.name}"]))
    ):
        own = other.attributes()[0]
        unit = next((own[name] for name in ("units", "Units", "unit") if name in own), units)
        found.append((other.read(), str(_as_text(unit))))
    return found


def _describe(
    path: Path, kind: str, array: _Array, said: Mapping[str, Any], lists: list[Listed], band_axis: int | None,
    mask: NDArray[np.bool_] | None = None,
) -> CubeFile:  # fmt: skip
    """Turn what a file says of an array into a `CubeFile`."""
    where, values = f"{path}: {array.name}" if array.name else str(path), array.open()
    if values.dtype.kind == "c":
        raise HsisrError(f"{where} is complex; expected real numbers. Save its real part.")
    check_size(path, values.shape, values.dtype)
    axis, doubt = _find_bands(array, band_axis, {np.size(listed) for listed, _ in lists}, where)
    first, second = (other for other in range(3) if other != axis)
    centres, notes = choose_wavelengths(lists, array.shape[axis])
    if np.any(said.get("add_offset", 0)):
        notes += "; an offset is declared, and not applied"
    order = ["height", "width"]
    order.insert(axis, "bands")
    words = [
        kind,
        f"key {array.name!r}" if array.name else "",
        array.kind,
        "" if array.is_mat else " x ".join(order),
    ]
    nodata = next((said[name] for name in _NODATA if name in said), None)
    scale = next((said[name] for name in _SCALES if name in said), None)
    place = tuple(map(float, np.ravel(said.get("geotransform", ()))))
    entries = said.get("entries", {})
    return CubeFile(
        kind=", ".join(filter(None, words)),
        array=values,
        axes=(2 - axis, 2 - first, 2 - second) if array.is_mat else (axis, first, second),
        key=array.name,
        is_double=array.kind == "double",
        wavelengths=centres,
        divisor=None if scale is None else scale_of(float(np.ravel(scale)[0])),
        nodata=None if nodata is None else float(np.ravel(nodata)[0]),
        mask=mask,
        georeference=Georeference(place, str(said.get("crs", ""))) if len(place) == 6 else None,
        notes=notes,
        doubt=doubt,
        entries=json.loads(entries) if isinstance(entries, str) else entries,
    )


def _find_bands(array: _Array, given: int | None, sizes: set[int], where: str) -> tuple[int, str]:
    """Return which axis is the bands, and what is to be doubted.

    It is the axis `given`, or the only one that a list of wavelengths fits (`sizes`), or the last one of a .mat file,
    or the shortest, which must be the first or the last.
    """
    shape, option = array.shape, "--band-axis 0, 1 or 2 (in Python: band_axis=)"
    if len(shape) != 3 or 0 in shape:
        raise HsisrError(f"{where} has the shape {array.size or '()'}; expected three: bands, height, width.")
    if given is not None:
        if isinstance(given, bool) or given not in (0, 1, 2):
            raise HsisrError(
                f"band_axis={given!r}: expected 0, 1 or 2, the axis of {where} that is the bands."
            )
        return given, ""
    fitting = [axis for axis in range(3) if shape[axis] in sizes]
    if len(fitting) == 1:
        return fitting[0], ""
    axis, doubt = int(np.argmin(shape)), ""
    if array.is_mat:
        if array.foreign:
            doubt = "was not written by MATLAB, so the order of its axes is not certain"
        elif axis == 0 and shape[0] < shape[2]:
            doubt = "has a first axis that is the shortest, but the last one is taken as the bands"
        axis = 2
    elif axis != 1 and shape.count(31) == 1 and shape[2 - axis] == 31:
        axis, doubt = 2 - axis, "is taken to have 31 bands, as most scenes of this field have"
    elif axis == 1 or sorted(shape)[0] == sorted(shape)[1]:
        raise HsisrError(
            f"{where} has the shape {array.size}, which does not say which axis is the bands; expected the first or "
            f"the last to be the shortest. Say which with {option}."
        )
    return axis, doubt and f"{where} {array.size} {doubt}. If that is wrong, give {option}."


def _place_neon(info: Any, code: Any) -> dict[str, Any]:
    """The place of a NEON product, from a list as ENVI's map info has it."""
    column, row, x, y, dx, dy = map(float, as_list(str(info))[1:7])
    place = (x - (column - 1) * dx, dx, 0.0, y + (row - 1) * dy, 0.0, -dy)
    return {"geotransform": place, "crs": f"EPSG:{code}"}


def _as_text(value: Any) -> Any:
    """A text as HDF5 and MATLAB store it as one; all else as it is."""
    value = (
        np.ravel(value)[0]
        if isinstance(value, np.ndarray) and value.dtype.kind in "US" and value.size
        else value
    )
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
