"""Open a cube in a NumPy file (.npy), an HDF5 file, or a MATLAB file (v5, or v7.3, which is HDF5)."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hsisr_core.errors import HsisrError
from hsisr_core.scenes.bands import NAMES, Spectrum, to_nanometres
from hsisr_core.scenes.cube import CubeFile, Dataset, reading
from hsisr_core.scenes.raster import as_list, scale_of
from hsisr_core.scenes.scene import Georeference

# what `cube_writer` says of a cube, and names that others give to it
_OWN = ("divisor", "nodata", "geotransform", "crs", "entries")
_NODATA = ("nodata", "_FillValue", "Data_Ignore_Value", "missing_value")
_SCALES = ("divisor", "Scale_Factor", "scale_factor")
# PRISMA: the bands are the middle axis; attributes of the file with their centres, and the ends of their range
_LAYOUTS = {
    "VNIR_Cube": (1, "List_Cw_Vnir", "L2ScaleVnir"),
    "SWIR_Cube": (1, "List_Cw_Swir", "L2ScaleSwir"),
}
_NEON_PLACE = "Metadata/Coordinate_System"
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
    # whether it is in a file of version 7.3 that MATLAB did not write
    foreign: bool = False

    def __str__(self) -> str:
        return " ".join(filter(None, (self.name, "x".join(map(str, self.shape)), self.kind)))


def open_npy(path: Path, band_axis: int | None = None) -> CubeFile:
    """Open a .npy file with one 3-D array of numbers, as a memory map; pickled objects are refused."""
    with reading(path, "a .npy file of numbers"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.dtype.kind not in "iuf":
        raise HsisrError(f"{path} holds values of type {array.dtype}; expected real numbers. Save it so.")
    axes, order = _order_axes(array.shape, band_axis, str(path))
    beside, found = path.with_name(path.name + ".json"), {}
    if beside.is_file():
        with reading(beside, "a description of a cube"):
            found = {
                name: value
                for name, value in json.loads(beside.read_text("utf-8")).items()
                if value is not None
            }
    centres, note = _listed_wavelengths(found, array.shape[axes[0]])
    kind = f"NumPy file, {array.dtype.name}, {order}"
    return CubeFile(kind, array, axes, wavelengths=centres, notes=note, **_described(found))


def open_hdf5(path: Path, key: str | None = None, band_axis: int | None = None) -> CubeFile:
    """Open the 3-D dataset `key` of an HDF5 file, or the only one.

    Wavelengths, no-data value, scale and place are attributes of the dataset, or of the groups above it; wavelengths
    are also a dataset anywhere in the file with a number per band, the nearest one.
    """
    with reading(path, _HDF5), h5py.File(path, "r", locking=False) as file:
        if "hsisr_format" in file.attrs:
            raise HsisrError(
                f"{path} is a store of prepared scenes, not one scene. Give it as the data of a run, or see "
                "what it holds with data_scripts/check.py."
            )
        found: list[_Variable] = []

        def list_array(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset) and len(item.shape or ()) == 3 and item.dtype.kind in "iuf":
                found.append(_Variable(name, item.shape, item.dtype.name))

        file.visititems(list_array)
        name = _choose(path, found, None if key is None else key.strip("/")).name
        item, layout = file[name], _LAYOUTS.get(name.rsplit("/", 1)[-1])
        known = layout[0] if layout and band_axis is None else band_axis
        axes, order = _order_axes(item.shape, known, f"{path}: {name}")
        count = item.shape[axes[0]]
        if layout and layout[1] in file.attrs:
            centres, note = to_nanometres(file.attrs[layout[1]], "nm", count)
        else:
            centres, note = _find_wavelengths(file, item, count)
        fields = _described(item.attrs) | _neon_place(item)
        if layout and f"{layout[2]}Max" in file.attrs and not file.attrs.get(f"{layout[2]}Min"):
            fields["divisor"] = 65535 / float(file.attrs[f"{layout[2]}Max"])
        if np.any(item.attrs.get("add_offset", 0)):
            note += "; an offset is declared, and not applied"
        return CubeFile(
            kind=f"HDF5 file, key {name!r}, {item.dtype.name}, {order}",
            array=Dataset(path, name, _HDF5, item.shape, item.dtype),
            axes=axes,
            key=name,
            wavelengths=centres,
            notes=note,
            **fields,
        )


def open_mat(path: Path, key: str | None = None, band_axis: int | None = None) -> CubeFile:
    """Open the 3-D numeric array `key` of a .mat file, or the only one; its last axis is the bands.

    Of v5, it is read as a whole. Other variables are read only for wavelengths, Harvard's mask, and what an output of
    this project says of itself. `band_axis` counts as MATLAB shows the array.
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
        band = 2 if band_axis is None else _check_axis(band_axis, str(path))
        count, names = variable.shape[band], [other.name for other in variables]
        own = _OWN if "provenance" in names else ()
        small = {
            name: _small_variable(path, name)
            for name in names
            if name in own or name.lower() in NAMES | {"bands"}
        }
        small.pop(variable.name, None)
    centres, note = _listed_wavelengths(small, count)
    rows, cols = (axis for axis in range(3) if axis != band)
    doubt = ""
    if band_axis is None and centres is None:
        first, _, last = variable.shape
        if variable.foreign:
            doubt = "was not written by MATLAB, so the order of its axes is not certain"
        elif first == min(variable.shape) and first < last:
            doubt = "has a first axis that is the shortest, but the last one is taken as the bands"
        sizes = "x".join(map(str, variable.shape))
        doubt = (
            doubt and f"{path}: {variable.name} {sizes} {doubt}. If it is not, give --band-axis 0, 1 or 2."
        )
    return CubeFile(
        kind=f"MATLAB {'7.3' if is_hdf5 else '5'} file, key {variable.name!r}, {variable.kind}",
        array=array,
        axes=(2 - band, 2 - rows, 2 - cols),
        key=variable.name,
        is_double=variable.kind == "double",
        mask=mask,
        wavelengths=centres,
        notes=note,
        doubt=doubt,
        **_described({name: small[name] for name in own if name in small}),
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
    axis = int(np.argmin(shape)) if given is None else _check_axis(given, where)
    if given is None and (axis == 1 or sorted(shape)[0] == sorted(shape)[1]):
        raise HsisrError(
            f"{where} has the shape {sizes}, which does not say which axis is the bands; expected the first or "
            "the last to be the shortest. Say which with --band-axis 0, 1 or 2 (in Python: band_axis=)."
        )
    rows, cols = (other for other in range(3) if other != axis)
    names = ["height", "width"]
    names.insert(axis, "bands")
    return (axis, rows, cols), " x ".join(names)


def _check_axis(given: int, where: str) -> int:
    if isinstance(given, bool) or given not in (0, 1, 2):
        raise HsisrError(f"band_axis={given!r}: expected 0, 1 or 2, the axis of {where} that is the bands.")
    return given


def _described(found: Mapping[str, Any]) -> dict[str, Any]:
    """Turn what attributes or variables say of a cube into fields of a `CubeFile`."""
    fields: dict[str, Any] = {}
    nodata = next((found[name] for name in _NODATA if name in found), None)
    scale = next((found[name] for name in _SCALES if name in found), None)
    if nodata is not None:
        fields["nodata"] = float(np.ravel(nodata)[0])
    if scale is not None:
        fields["divisor"] = scale_of(float(np.ravel(scale)[0]))
    if np.size(found.get("geotransform", ())) == 6:
        a, b, c, d, e, f = (float(value) for value in np.ravel(found["geotransform"]))
        fields["georeference"] = Georeference((a, b, c, d, e, f), str(found.get("crs", "")))
    if found.get("entries"):
        entries = found["entries"]
        fields["entries"] = json.loads(entries) if isinstance(entries, str) else entries
    return fields


def _neon_place(item: h5py.Dataset) -> dict[str, Any]:
    """The place of a NEON product: ENVI's map info, and an EPSG code beside it."""
    names = [f"{_NEON_PLACE}/{name}" for name in ("Map_Info", "EPSG Code")]
    if any(name not in item.parent for name in names):
        return {}
    info, code = (np.ravel(item.parent[name][()])[0] for name in names)
    words = as_list(info.decode() if isinstance(info, bytes) else str(info))
    column, row, x, y, dx, dy = map(float, words[1:7])
    place = (x - (column - 1) * dx, dx, 0.0, y + (row - 1) * dy, 0.0, -dy)
    return {"georeference": Georeference(place, f"EPSG:{code.decode() if isinstance(code, bytes) else code}")}


def _choose(path: Path, variables: list[_Variable], key: str | None) -> _Variable:
    """Return the 3-D numeric variable `key`, or the only one."""
    listed = ", ".join(map(str, variables)) or "nothing"
    cubes = [variable for variable in variables if variable.is_numeric and len(variable.shape) == 3]
    if key is not None:
        named = [variable for variable in variables if variable.name == key]
        named = named or [variable for variable in variables if variable.name.endswith(f"/{key}")]
        if not named:
            raise HsisrError(
                f"{path} has no variable {key!r}; it holds {listed}. Give one of these with --key."
            )
        if named[0] not in cubes:
            raise HsisrError(
                f"{path}: {named[0]} is not a numeric height x width x bands array; the file holds {listed}. "
                "Give another with --key, or save the cube as numbers."
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
            f"Say which one with --key (in Python: key=), for example --key {cubes[0].name!r}."
        )
    return cubes[0]


def _listed_wavelengths(found: Mapping[str, Any], count: int) -> Spectrum:
    """Wavelengths among attributes or variables, with their units if they are there."""
    note = ""
    for name, values in found.items():
        lower = name.rsplit("/", 1)[-1].lower()
        if (
            lower in NAMES | {"bands"}
            and not isinstance(values, str)
            and np.asarray(values).dtype.kind in "iuf"
        ):
            units = next(
                (str(found[key]) for key in ("wavelength_units", "Wavelength_Units") if key in found), ""
            )
            centres, more = to_nanometres(values, "nm" if lower.endswith("_nm") else units, count)
            if centres is not None:
                return centres, more
            note = more
    return None, note


def _find_wavelengths(file: h5py.File, item: h5py.Dataset, count: int) -> Spectrum:
    """Wavelengths in attributes of a dataset or the groups above it, else in the nearest dataset of such a name."""
    above, note = item, ""
    while above is not None:
        centres, more = _listed_wavelengths(above.attrs, count)
        if centres is not None:
            return centres, more
        note = note or more
        above = None if above.name == "/" else above.parent
    found: list[h5py.Dataset] = []

    def look(name: str, other: object) -> None:
        last = name.rsplit("/", 1)[-1].lower()
        if (
            isinstance(other, h5py.Dataset)
            and last in NAMES
            and other.dtype.kind in "iuf"
            and other.size == count
        ):
            found.append(other)

    file.visititems(look)

    def shared(other: h5py.Dataset) -> int:
        """Number of the groups above both."""
        pairs = zip(other.name.split("/"), item.name.split("/"), strict=False)
        return next((depth for depth, (one, two) in enumerate(pairs) if one != two), 0)

    for other in sorted(found, key=shared, reverse=True):
        units = next((other.attrs[name] for name in ("units", "Units", "unit") if name in other.attrs), "")
        units = units.decode() if isinstance(units, bytes) else str(units)
        centres, more = to_nanometres(other[...], units, count)
        if centres is not None:
            return centres, more
        note = note or more
    return None, note


def _small_variable(path: Path, name: str) -> Any:
    """Read a variable: a text, or an array."""
    if not h5py.is_hdf5(path):
        from scipy import io

        value = io.loadmat(path, variable_names=[name])[name]
        return str(value[0]) if value.dtype.kind == "U" and value.size else value
    with h5py.File(path, "r", locking=False) as file:
        item = file[name]
        if not isinstance(item, h5py.Dataset):
            return ""
        is_text = item.attrs.get("MATLAB_class") == b"char"
        return np.asarray(item, "<u2").tobytes().decode("utf-16-le") if is_text else np.asarray(item)


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
    foreign = not kind
    kind = kind or {"float64": "double", "float32": "single"}.get(item.dtype.name, item.dtype.name)
    if item.dtype.names is not None or item.dtype.kind == "c":
        kind = f"complex {kind}"
    shape = tuple(reversed(item.shape or ()))
    return _Variable(name, shape, kind, kind in _TYPES and item.dtype.kind in "iuf", foreign)
