"""Open a cube in an HDF5 file, a MATLAB file (v5, or v7.3, which is HDF5), or a NumPy file (.npy, .npz)."""

import json
import math
import os
import posixpath
import resource
import struct
import warnings
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import h5py
import numpy as np

from hsisr_core.base import read_json
from hsisr_core.errors import HsisrError
from hsisr_core.scenes.bands import NAMES, choose_wavelengths, find_numbers, list_wavelengths, scale_of
from hsisr_core.scenes.raster import place_envi
from hsisr_core.scenes.scene import CubeFile, Georeference, Stored, check_memory, check_size, reading

# types of real numbers, as NumPy and MATLAB call them
_NUMERIC = {np.dtype(code).name for code in np.typecodes["AllInteger"] + "efd"} | {"double", "single"}
# of the elements of a .mat file of version 5
_MATLAB_5_KINDS = {*range(1, 8), 9, *range(12, 19)}
# what `cube_writer` says of a cube, and names that others give to it
_OWN = ("divisor", "nodata", "geotransform", "crs", "entries")
_NODATA = ("nodata", "_FillValue", "Data_Ignore_Value", "missing_value")
_SCALES = ("divisor", "Scale_Factor", "scale_factor")
_UNITS = ("units", "Units", "unit", "wavelength_units", "Wavelength_Units")
_ATTRIBUTES = {*_OWN, *_NODATA, *_SCALES, *_UNITS, "add_offset", "MATLAB_class"}
# PRISMA: its sensors, and the beginnings of the file's attributes with the centres (nm), and the ends of the range
_PRISMA, _PRISMA_ATTRIBUTES = {"VNIR_Cube": "Vnir", "SWIR_Cube": "Swir"}, ("List_Cw_", "L2Scale")
# of a text of variable length: bytes, and seconds of computing that reading it may take
_LONGEST_TEXT, _PATIENCE = 1 << 16, 1


@dataclass(frozen=True)
class _Array:
    """An array among others in a file; its axes are those that a reader of such files sees."""

    name: str
    shape: tuple[int, ...]
    # type of the values, of a .mat file as MATLAB calls it
    kind: str
    # reads its values, or a text
    load: Callable[[], Any]
    # in HDF5
    item: h5py.Dataset | None = None

    def __str__(self) -> str:
        return " ".join(filter(None, (self.name, "x".join(map(str, self.shape)), self.kind)))


def open_arrays(path: Path, key: str | None = None, band_axis: int | None = None) -> CubeFile:
    """Open the 3-D numeric array `key` of a file, or the only one; `band_axis` counts as MATLAB shows an array."""
    with _open_file(path) as (kind, arrays):
        array = _choose(path, arrays, key)
        where, is_mat = f"{path}: {array.name}".removesuffix(": "), path.suffix.lower() == ".mat"
        # what an output of this project says beside a .npy file, or in other variables of a .mat file
        own, beside = {}, path.with_name(f"{path.name}.json")
        if path.suffix.lower() == ".npy" and beside.is_file():
            own = read_json(beside)
        elif "provenance" in arrays:
            own = {name: arrays[name].load() for name in _OWN if name in arrays}
        attributes: list[dict[str, Any]] = [{}]
        if array.item is not None:
            # of the array, the groups above it, and the file
            name = PurePosixPath(array.item.name)
            attributes = [_read_attributes(array.item.file[str(one)]) for one in (name, *name.parents)]
        # PRISMA, NEON and Harvard
        if sensor := _PRISMA.get(posixpath.basename(array.name)):
            band_axis, of_file = 1 if band_axis is None else band_axis, attributes[-1]
            own["wavelengths_nm"] = of_file.get(f"List_Cw_{sensor}", "")
            if of_file.get(f"L2Scale{sensor}Min") == 0:
                own["divisor"] = 65535 / of_file[f"L2Scale{sensor}Max"]
        info = arrays.get(f"{posixpath.dirname(array.name)}/Metadata/Coordinate_System/Map_Info".lstrip("/"))
        place = place_envi({"map info": f"{{{info.load()}}}"}, path) if info else None
        # Harvard's `lbl` is 0 where something moved between the bands (its README)
        mask, labels = None, arrays.get("lbl") if array.name == "ref" else None
        if labels and labels.shape == array.shape[:2] and labels.kind in {*_NUMERIC, "logical"}:
            mask = np.ascontiguousarray(labels.load() != 0)

        values = array.load()
        if values.dtype.kind == "c":
            raise HsisrError(f"{where} is complex; expected real numbers. Save its real part.")
        lists = [listed for said in (own, *attributes) for listed in list_wavelengths(said)]
        lists += _find_lists(array, arrays)
        axis = _find_bands(array, is_mat, band_axis, {np.size(listed) for listed, _ in lists}, where)
        axes, order = [axis, *(other for other in range(3) if other != axis)], ["height", "width"]
        order.insert(axis, "bands")
        spectrum, notes = choose_wavelengths(lists, array.shape[axis])

        said = ChainMap(own, attributes[0])
        if np.any(said.get("add_offset", 0)):
            notes += "; an offset is declared, and not applied"
        nodata, scale = find_numbers(said, _NODATA, where), find_numbers(said, _SCALES, where)
        corner = find_numbers(said, ["geotransform"], where)
        if len(corner) == 6:
            place = Georeference(tuple(corner), str(said.get("crs", "")))
        entries = said.get("entries", {})
        entries = json.loads(entries) if isinstance(entries, str) else entries
        words = (kind, array.name and f"key {array.name!r}", array.kind, "" if is_mat else " x ".join(order))
        return CubeFile(
            kind=", ".join(filter(None, words)),
            array=values,
            # MATLAB's HDF5 has the axes in reverse
            axes=tuple(2 - other if is_mat and array.item else other for other in axes),
            key=array.name,
            is_double=array.kind == "double",
            wavelengths=spectrum,
            divisor=scale_of(scale),
            nodata=next(iter(nodata), None),
            mask=mask,
            georeference=place,
            notes=notes,
            entries={name: str(text) for name, text in entries.items()},
        )


def variable_names(path: Path) -> list[str]:
    """Return the names of the variables in a .mat file."""
    with _open_file(path) as (_, arrays):
        return [name for name in arrays if "/" not in name]


def is_store(path: Path) -> bool:
    """Whether `path` is a store that this project wrote."""
    with suppress(HsisrError), open_hdf5(path) as file:
        return "hsisr_format" in file.attrs
    return False


@contextmanager
def _open_file(path: Path) -> Iterator[tuple[str, dict[str, _Array]]]:
    """Open a file that holds arrays; give what it is, and the arrays by their names."""
    suffix = path.suffix.lower()
    if suffix == ".npy":
        with reading(path, "a .npy file of numbers"):
            mapped = np.lib.format.open_memmap(path, mode="r")
            # mapped anew for each part, so that what was read leaves memory
            stored = Stored(mapped.shape, mapped.dtype, lambda part: np.load(path, mmap_mode="r")[part])
            yield "NumPy file", {"": _Array("", mapped.shape, mapped.dtype.name, lambda: stored)}
    elif suffix == ".npz":
        with reading(path, "a .npz file of numbers"), np.load(path, allow_pickle=False) as file:
            check_memory(path, sum(item.file_size for item in file.zip.infolist()))
            yield "NumPy file", {one.name: one for item in file.items() for one in _list_fields(*item)}
    elif suffix == ".mat" and not h5py.is_hdf5(path):
        with reading(path, "a MATLAB file"):
            yield "MATLAB 5 file", _list_mat5(path)
    else:
        is_mat = suffix == ".mat"
        with open_hdf5(path, "a MATLAB file" if is_mat else "an HDF5 file") as file:
            if "hsisr_format" in file.attrs:
                raise HsisrError(f"{path} is a store of prepared scenes. Give it as the data of a run.")
            yield "MATLAB 7.3 file" if is_mat else "HDF5 file", _list_hdf5(path, file, is_mat)


@contextmanager
def open_hdf5(path: Path, kind: str = "an HDF5 file", advice: str = "") -> Iterator[h5py.File]:
    """Open an HDF5 file without a lock, which some network disks do not have; turn any error into one."""
    with reading(path, kind, advice), h5py.File(path, "r", locking=False) as file:
        yield file


def _list_hdf5(path: Path, file: h5py.File, is_mat: bool) -> dict[str, _Array]:
    arrays: dict[str, _Array] = {}

    def load(item: h5py.Dataset, kind: str) -> Any:
        check_size(path, item.shape or (), item.dtype)
        if len(item.shape) == 3:
            return Stored(item.shape, item.dtype, partial(read, item.name), item.chunks or (1, 1, 1))
        values = _read_apart(lambda: item[()], item.dtype)
        if kind == "char":
            return values.astype("<u2").tobytes().decode("utf-16-le")
        return values.T if is_mat and not isinstance(values, str) else values

    def read(name: str, part: tuple[slice, ...]) -> np.ndarray:
        with open_hdf5(path) as file:
            return np.asarray(file[name][part])

    for name, item in walk(file):
        shape, kind = item.shape or (), item.dtype.name
        if is_mat:
            shape, kind = shape[::-1], _read_attributes(item).get("MATLAB_class", kind)
            if item.dtype.kind not in "iuf" and kind in _NUMERIC:
                kind = f"complex {kind}"
        arrays[name] = _Array(name, shape, kind, partial(load, item, kind), item)
    return dict(sorted(arrays.items()))


def walk(file: h5py.File) -> Iterator[tuple[str, h5py.Dataset]]:
    """Give each dataset of the file itself once, with its name; h5py's own walk takes hours in deep groups."""
    rest: list[tuple[str, h5py.Group]] = [("", file)]
    seen = set()
    while rest:
        prefix, group = rest.pop()
        for name in group:
            # MATLAB's own begin with #; a link may lead to another file
            if name[0] == "#" or not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address not in seen:
                seen.add(address)
                if isinstance(item, h5py.Group):
                    rest.append((f"{prefix}{name}/", item))
                elif isinstance(item, h5py.Dataset) and not (item.is_virtual or item.external):
                    yield prefix + name, item


def _read_attributes(item: h5py.Dataset | h5py.Group) -> dict[str, Any]:
    """Read the attributes of a name and type that are looked for: numbers and texts."""
    found = {}
    # a name that is not UTF-8 comes as bytes
    for name in (one for one in item.attrs if isinstance(one, str)):
        if name.lower() in NAMES or name in _ATTRIBUTES or name.startswith(_PRISMA_ATTRIBUTES):
            found[name] = read_attribute(item, name)
    return {name: value for name, value in found.items() if value is not None}


def read_attribute(item: h5py.Dataset | h5py.Group, name: str, kinds: str = "iufS") -> Any:
    """Read an attribute if it is of one of the `kinds` of NumPy's types: libhdf5 may crash on others. Else None."""
    own = item.attrs.get_id(name)
    kind = own.dtype.kind if h5py.check_string_dtype(own.dtype) is None else "S"
    if own.shape is None or kind not in kinds:
        return None
    return _read_apart(lambda: item.attrs[name], own.dtype)


def _read_apart(read: Callable[[], Any], dtype: np.dtype) -> Any:
    """Read a value; a text of variable length in a child process, because libhdf5 may loop or crash on one."""
    text = h5py.check_string_dtype(dtype)
    if text is None or text.length is not None:
        return _as_text(read())
    receiver, sender = os.pipe()
    with warnings.catch_warnings(action="ignore"):
        child = os.fork()
    if child == 0:
        with suppress(BaseException):
            resource.setrlimit(resource.RLIMIT_CPU, (_PATIENCE, _PATIENCE))
            os.write(sender, f"={_as_text(np.ravel(read())[0])}".encode("utf-8", "replace")[:_LONGEST_TEXT])
        os._exit(0)
    os.close(sender)
    with open(receiver, "rb") as pipe:
        found = pipe.read()
    os.waitpid(child, 0)
    if not found:
        raise OSError("a text in it cannot be read")
    return found[1:].decode("utf-8", "replace")


def _list_mat5(path: Path) -> dict[str, _Array]:
    """List the variables of a .mat file of version 5; structures are read, for their fields."""
    from scipy import io  # not above: it takes memory that scenes of other kinds need not

    def load(name: str, shape: tuple[int, ...]) -> Any:
        # an element takes a byte at least, and a structure is a list of elements
        check_size(path, shape, np.dtype("u1"))
        check_memory(path, 8 * math.prod(shape))
        return _as_text(io.loadmat(path, variable_names=[name])[name])

    _check_whole(path)
    arrays = {}
    for name, shape, kind in io.whosmat(path):
        arrays[name] = _Array(name, shape, kind, partial(load, name, shape))
        if kind == "struct" and math.prod(shape) == 1:
            arrays |= {one.name: one for one in _list_fields(name, arrays[name].load())}
    return arrays


def _check_whole(path: Path) -> None:
    """Refuse a v5 file whose elements do not fit in it: scipy leaves such a variable out, takes memory or crashes."""
    position, size = 128, path.stat().st_size
    with open(path, "rb") as file:
        order = {b"IM": "<", b"MI": ">"}.get(file.read(128)[-2:])
        # scipy says what is wrong without an order
        while order and position + 8 <= size:
            file.seek(position)
            kind, length = struct.unpack(f"{order}II", file.read(8))
            # the content of a small one stands in place of the length
            end = position + 8 + (0 if kind >> 16 else length)
            if end > size or kind % 2**16 not in _MATLAB_5_KINDS:
                raise ValueError(f"its element at byte {position} of {size} does not fit")
            # in a matrix, elements follow; all but compressed ones are padded
            end = position + 8 if kind == 14 else end
            position = end if kind == 15 else end + -end % 8


def _list_fields(name: str, value: Any) -> Iterator[_Array]:
    """Give an array, or the arrays in a structure, hsi/Data; a list of structures is one array."""
    if isinstance(value, np.ndarray) and value.dtype.names and value.size == 1:
        for field in value.dtype.names:
            yield from _list_fields(f"{name}/{field}", value.flat[0][field])
    elif isinstance(value, np.ndarray):
        yield _Array(name, value.shape, value.dtype.name, partial(_as_text, value))


def _choose(path: Path, arrays: Mapping[str, _Array], key: str | None) -> _Array:
    """Return the 3-D numeric array `key`, or the only one, or the only one of more than four bands."""
    cubes = [array for array in arrays.values() if array.kind in _NUMERIC and len(array.shape) == 3]
    if key is None:
        many = [array for array in cubes if min(array.shape) > 4]
        found = many if len(many) == 1 else cubes
        if len(found) < len(cubes):
            taken = f"{path}: {found[0]} is taken of several 3-D arrays"
            warnings.warn(f"{taken}. If that is wrong, name one with --key.", stacklevel=6)
    else:
        # a field of a structure is named with a point or as in HDF5, and by its last part, too
        ends = "." + key.strip("/").replace("/", ".")
        found = [array for array in cubes if f".{array.name.replace('/', '.')}".endswith(ends)]
        found = sorted(found, key=lambda array: len(array.name))[:1]
    if not found:
        # HDF5 files may hold a thousand
        first = sorted(arrays.values(), key=lambda array: -len(array.shape))[:20]
        listed = ", ".join(map(str, first)) or "none"
        lack = f"{path} holds no 3-D numeric array{'' if key is None else f' {key!r}'}; it holds {listed}"
        raise HsisrError(f"{lack}. Give another with --key, or save one of height x width x bands.")
    if len(found) > 1:
        several = f"{path} holds several 3-D arrays ({', '.join(map(str, cubes))})"
        raise HsisrError(f"{several}. Name one with --key (in Python: key=), as in --key {found[0].name!r}.")
    return found[0]


def _find_lists(array: _Array, arrays: Mapping[str, _Array]) -> Iterator[tuple[Any, str]]:
    """Give the wavelengths in other arrays, the nearest first."""
    units = arrays["wavelength_units"].load() if "wavelength_units" in arrays else ""
    for name in sorted(arrays, key=lambda name: -len(posixpath.commonpath([f"/{array.name}", f"/{name}"]))):
        other = arrays[name]
        if other.kind in _NUMERIC and len(other.shape) < 3 and posixpath.basename(name).lower() in NAMES:
            own = {} if other.item is None else _read_attributes(other.item)
            yield other.load(), str(_as_text(next((own[unit] for unit in _UNITS if unit in own), units)))


def _find_bands(array: _Array, is_mat: bool, given: int | None, sizes: set[int], where: str) -> int:
    """The axis of the bands: `given`, the only one that wavelengths fit (`sizes`), or by rule, with a warning."""
    shape, size = array.shape, "x".join(map(str, array.shape))
    option = "--band-axis 0, 1 or 2 (in Python: band_axis=)"
    if 0 in shape:
        raise HsisrError(f"{where} has the shape {size}: it is empty. Save it again.")
    if given not in (None, 0, 1, 2):
        raise HsisrError(f"band_axis={given!r}: expected 0, 1 or 2, which axis of {where} is the bands.")
    if given is not None:
        return given
    fitting = [axis for axis in range(3) if shape[axis] in sizes]
    if len(fitting) == 1:
        return fitting[0]
    shortest, axis, doubt = int(np.argmin(shape)), 2, ""
    if is_mat:
        if array.item is not None and "MATLAB_class" not in array.item.attrs:
            doubt = "was not written by MATLAB, so the order of its axes is not certain"
        elif shortest == 0 and shape[0] < shape[2]:
            doubt = "has a first axis that is the shortest, but the last one is taken as the bands"
    elif shortest != 1 and shape.count(31) == 1 and shape[2 - shortest] == 31:
        axis, doubt = 2 - shortest, "is taken to have 31 bands, as most scenes of this field have"
    elif shortest == 1 or shape.count(shape[shortest]) > 1:
        raise HsisrError(f"{where}: the shape {size} does not say which axis is bands. Use {option}.")
    else:
        axis = shortest
    if doubt:
        warnings.warn(f"{where} {size} {doubt}. If that is wrong, give {option}.", stacklevel=5)
    return axis


def _as_text(value: Any) -> Any:
    """A text as HDF5 and MATLAB store it as one; all else as it is."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "US" and value.size:
        value = np.ravel(value)[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
