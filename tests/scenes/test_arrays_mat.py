from __future__ import annotations

import warnings
import zlib
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
import pytest
import scipy.io

from hsisr_core.data import read_scene
from hsisr_core.errors import HsisrError
from hsisr_core.scenes import variable_names

RNG = np.random.default_rng(5)
CUBE = RNG.integers(0, 65536, (6, 5, 4), dtype=np.uint16)  # height x width x bands, as MATLAB shows it
HEADER = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan 01 00:00:00 2024 HDF5 schema 1.00 ."


class Save(Protocol):
    """Writes arrays, by name, to a .mat file and returns its path."""

    def __call__(self, path: Path, **arrays: Any) -> Path: ...


def save_v5(path: Path, **arrays: Any) -> Path:
    scipy.io.savemat(path, arrays)
    return path


def save_v5_compressed(path: Path, **arrays: Any) -> Path:
    scipy.io.savemat(path, arrays, do_compression=True)
    return path


def save_v73_without_header(path: Path, **arrays: Any) -> Path:
    return _save_hdf5(path, 0, arrays)


def save_v73(path: Path, **arrays: Any) -> Path:
    _save_hdf5(path, 512, arrays)
    with open(path, "r+b") as raw:
        raw.write(HEADER.ljust(124) + b"\x00\x02IM")
    return path


def _save_hdf5(path: Path, userblock: int, arrays: dict[str, np.ndarray]) -> Path:
    """Write as MATLAB does: axes reversed, its class as an attribute, its header in a user block."""
    classes = {"float64": "double", "float32": "single", "bool": "logical"}
    with h5py.File(path, "w", userblock_size=userblock) as file:
        for name, array in arrays.items():
            stored = array.astype(np.uint8) if array.dtype == bool else array
            item = file.create_dataset(name, data=np.transpose(stored))
            item.attrs["MATLAB_class"] = np.bytes_(classes.get(array.dtype.name, array.dtype.name))
    return path


def refused(path: Path, *parts: str, key: str | None = None) -> None:
    """Check that reading is refused with one sentence that names the file and each of `parts`."""
    with pytest.raises(HsisrError) as caught:
        read_scene(path, key=key)
    for part in (path.name, *parts):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("save", "version"),
    [(save_v5, "5"), (save_v5_compressed, "5"), (save_v73, "7.3"), (save_v73_without_header, "7.3")],
)
def test_every_version_gives_the_same_cube(tmp_path: Path, save: Save, version: str) -> None:
    scene = read_scene(save(tmp_path / "balloons_ms.mat", Omsi=CUBE))
    assert (scene.bands, scene.height, scene.width) == (4, 6, 5)
    assert np.array_equal(scene.cube, np.moveaxis(CUBE, 2, 0).astype(np.float32) / np.float32(65535))
    assert scene.name == "balloons"
    assert f"MATLAB {version} file, key 'Omsi', uint16, divided by 65535" in scene.source


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8", "int16", "uint16", "int64"])
def test_v5_and_v73_agree_for_every_type(tmp_path: Path, dtype: str) -> None:
    counts = RNG.integers(0, 120, (6, 5, 4))
    array = (counts / 119).astype(dtype) if dtype.startswith("float") else counts.astype(dtype)
    old = read_scene(save_v5(tmp_path / "old.mat", some=array))
    new = read_scene(save_v73(tmp_path / "new.mat", some=array))
    assert old.cube.tobytes() == new.cube.tobytes()
    assert old.divisor == new.divisor
    assert old.source.replace("MATLAB 5", "MATLAB 7.3") == new.source


def test_a_double_array_that_v5_stores_as_integers_counts_as_double(tmp_path: Path) -> None:
    """MATLAB writes a double array of whole numbers as uint8; the divisor must not depend on that."""
    array = (RNG.random((6, 5, 4)) > 0.5).astype(np.float64)
    assert read_scene(save_v5(tmp_path / "a.mat", some=array)).divisor == 1
    # two top-level elements: a header and a matrix whose class is double and whose data are uint8
    path = save_v5(tmp_path / "b.mat", some=array.astype(np.uint8))
    raw = bytearray(path.read_bytes())
    position = (
        raw.index(b"\x06\x00\x00\x00\x08\x00\x00\x00") + 8
    )  # array flags, whose first byte is the class
    assert raw[position] == 9  # uint8
    raw[position] = 6  # double
    path.write_bytes(raw)
    assert scipy.io.whosmat(path) == [("some", (6, 5, 4), "double")]
    assert scipy.io.loadmat(path)["some"].dtype == np.uint8
    assert "double" in read_scene(path).source


@pytest.mark.parametrize(
    ("key", "bands", "first", "last"),
    [
        ("ref", 31, 420, 720),
        ("hsi", 33, 400, 720),
        ("reflectances", 31, 410, 710),
        ("reflectances", 33, 400, 720),
    ],
)
def test_published_floats_are_divided_by_the_maximum(
    tmp_path: Path, key: str, bands: int, first: float, last: float
) -> None:
    array = RNG.random((5, 6, bands)) * 0.25
    scene = read_scene(save_v73(tmp_path / "scene5.mat", **{key: array}))
    assert scene.divisor == array.max()
    assert scene.cube.max() == 1
    assert np.allclose(scene.wavelengths, np.linspace(first, last, bands))
    assert np.diff(scene.wavelengths) == pytest.approx(10)


@pytest.mark.parametrize("key", ["Omsi", "NRD"])
def test_cave_conversions_are_divided_by_65535(tmp_path: Path, key: str) -> None:
    array = RNG.integers(0, 2000, (5, 6, 31), dtype=np.uint16)
    scene = read_scene(save_v5(tmp_path / "cloth_ms_256.mat", **{key: array}))
    assert (scene.name, scene.divisor) == ("cloth", 65535)
    assert np.array_equal(scene.wavelengths, np.arange(400, 701, 10))


def test_a_cave_conversion_already_in_range_is_left_as_it_is(tmp_path: Path) -> None:
    array = RNG.random((5, 6, 31))
    assert read_scene(save_v5(tmp_path / "a.mat", Omsi=array)).divisor == 1
    assert read_scene(save_v5(tmp_path / "b.mat", Omsi=array * 65535)).divisor == 65535


def test_unknown_keys_follow_type_and_range(tmp_path: Path) -> None:
    integers = RNG.integers(0, 5000, (5, 6, 7), dtype=np.uint16)
    scene = read_scene(save_v5(tmp_path / "pavia.mat", paviaU=integers, paviaU_gt=integers[..., 0]))
    assert scene.divisor == integers.max()
    assert not scene.wavelengths_known
    assert scene.wavelengths.shape == (7,)
    floats = RNG.random((5, 6, 7)) * 1.15 - 0.08  # an LR cube overshoots
    scene = read_scene(save_v5(tmp_path / "lr.mat", lr=floats))
    assert scene.divisor == 1
    assert np.array_equal(scene.cube, np.moveaxis(floats, 2, 0).astype(np.float32))
    assert read_scene(save_v5(tmp_path / "raw.mat", raw=floats * 40 + 4)).divisor == (floats * 40 + 4).max()


def test_the_divisor_is_of_the_whole_image_not_of_the_chosen_bands(tmp_path: Path) -> None:
    array = np.ones((5, 6, 3))
    array[0, 0, 2] = 4
    scene = read_scene(save_v5(tmp_path / "a.mat", ref=array), bands=[0, 1])
    assert scene.divisor == 4
    assert scene.cube.max() == 0.25


def test_given_divisor_wavelengths_and_name_win(tmp_path: Path) -> None:
    path = save_v5(tmp_path / "a.mat", Omsi=CUBE // 16)
    scene = read_scene(path, divisor=4095, wavelengths=[450, 550, 650, 750], bands=[1, 3], name="mine")
    assert scene.cube[0, 2, 3] == np.float32(CUBE[2, 3, 1] // 16 / 4095)
    assert np.array_equal(scene.wavelengths, [550, 750])
    assert scene.name == "mine"


@pytest.mark.parametrize("save", [save_v5, save_v73])
def test_two_dimensional_and_logical_arrays_are_ignored(tmp_path: Path, save: Save) -> None:
    path = save(tmp_path / "a.mat", ref=np.ones((5, 6, 3)), lbl=np.ones((5, 6)), mask=CUBE > 9)
    assert "key 'ref'" in read_scene(path).source


@pytest.mark.parametrize("save", [save_v5, save_v73])
def test_several_arrays_ask_for_a_key(tmp_path: Path, save: Save) -> None:
    path = save(tmp_path / "a.mat", rad=np.ones((5, 6, 3)), ref=CUBE)
    refused(path, "several 3-D arrays", "rad 5x6x3 double", "ref 6x5x4 uint16", "--key 'rad'")
    assert read_scene(path, key="ref").bands == 4
    refused(path, "no 3-D numeric array 'REF'", "rad 5x6x3 double", key="REF")


@pytest.mark.parametrize("save", [save_v5, save_v73])
def test_one_cube_beside_arrays_of_few_bands_is_taken_and_said(tmp_path: Path, save: Save) -> None:
    cube = np.random.default_rng(0).random((8, 9, 6))
    path = save(tmp_path / "a.mat", rad=cube, rgb=cube[..., :3], few=cube[..., :4])
    with pytest.warns(UserWarning, match="rad 8x9x6 double is taken of several 3-D arrays.*--key"):
        assert read_scene(path).bands == 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_scene(path, key="rgb").bands == 3


@pytest.mark.parametrize("save", [save_v5, save_v73])
def test_no_array_is_refused(tmp_path: Path, save: Save) -> None:
    path = save(tmp_path / "a.mat", lbl=np.ones((5, 6)))
    refused(path, "no 3-D numeric array", "lbl 5x6 double", "height x width x bands")
    refused(path, "no 3-D numeric array 'lbl'", "lbl 5x6 double", key="lbl")


def test_cells_structures_and_complex_numbers_are_refused(tmp_path: Path) -> None:
    cells = np.empty((5, 6, 3), object)
    cells[:] = 1.0
    path = save_v5(tmp_path / "a.mat", c=cells, s={"x": 1}, z=CUBE * 1j)
    refused(path, "c 5x6x3 cell", key="c")
    refused(path, "s 1x1 struct", key="s")
    refused(path, "z is complex; expected real numbers", key="z")


def test_cells_structures_and_complex_numbers_are_refused_in_v73(tmp_path: Path) -> None:
    path = save_v73(tmp_path / "a.mat")
    with h5py.File(path, "r+") as file:
        group = file.create_group("s")
        file.create_dataset("c", (3, 6, 5), h5py.ref_dtype).attrs["MATLAB_class"] = np.bytes_("cell")
        parts = np.zeros((3, 6, 5), [("real", "<f8"), ("imag", "<f8")])
        file.create_dataset("z", data=parts).attrs["MATLAB_class"] = np.bytes_("double")
        group.attrs["MATLAB_class"] = np.bytes_("struct")
    refused(path, "no 3-D numeric array", "c 5x6x3 cell", "z 5x6x3 complex double")
    refused(path, "c 5x6x3 cell", key="c")
    refused(path, "z 5x6x3 complex double", key="z")


@pytest.mark.parametrize("save", [save_v5, save_v73])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_counted_and_refused(tmp_path: Path, save: Save, bad: float) -> None:
    array = RNG.random((5, 6, 3))
    array[1, 2, 0] = array[3, 3, 2] = bad
    path = save(tmp_path / "a.mat", ref=array)
    refused(path, "2 of 90 values are NaN or infinite")


def test_all_zero_values_are_refused(tmp_path: Path) -> None:
    refused(save_v5(tmp_path / "a.mat", ref=np.zeros((5, 6, 3))), "all values of the chosen bands are zero")
    array = np.zeros((5, 6, 3))
    array[..., 2] = 1
    path = save_v5(tmp_path / "b.mat", ref=array)
    with pytest.raises(HsisrError, match="all values of the chosen bands are zero"):
        read_scene(path, bands=[0, 1])


def test_values_far_outside_the_range_are_refused_with_a_remedy(tmp_path: Path) -> None:
    array = RNG.random((5, 6, 3))
    array[0, 0, 0] = -0.5
    refused(save_v5(tmp_path / "a.mat", ref=array), "-0.5 to 0.9", "within 0.1", "--divisor")
    refused(save_v5(tmp_path / "b.mat", any=np.full((5, 6, 3), -3, np.int16)), "from -3 to -3", "--divisor")
    given = read_scene(save_v5(tmp_path / "c.mat", Omsi=np.arange(60.0).reshape(4, 5, 3)), divisor=29.5)
    assert given.cube.max() == np.float32(1.1)
    assert "27 values (45 %) beyond [-0.1, 1.1], from 0 to 59, are clipped" in given.source


@pytest.mark.parametrize("shape", [(3, 9, 5), (9, 3, 5)])
def test_a_scene_below_four_pixels_a_side_is_refused(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    size = "x".join(map(str, shape[:2]))
    refused(save_v5(tmp_path / "a.mat", ref=np.ones(shape)), f"is {size} pixels", "at least 4")


@pytest.mark.parametrize("save", [save_v5, save_v5_compressed])
def test_a_v5_file_truncated_anywhere_is_refused(tmp_path: Path, save: Save) -> None:
    whole = save(tmp_path / "a.mat", lbl=np.ones((5, 6)), ref=RNG.random((6, 5, 4)))
    data = whole.read_bytes()
    path = tmp_path / "cut.mat"
    for length in [*range(0, len(data), 37), *range(len(data) - 9, len(data))]:
        path.write_bytes(data[:length])
        if length == 128:  # a header and nothing else is a valid, empty file
            continue
        with pytest.raises(HsisrError, match=r"cut\.mat .*(truncated|cannot be read)"):
            read_scene(path)


def test_a_damaged_stream_is_noticed_at_its_end(tmp_path: Path) -> None:
    path = save_v5_compressed(tmp_path / "a.mat", x=RNG.random((20, 20, 3)))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # the checksum of zlib
    path.write_bytes(data)
    refused(path, "cannot be read as a MATLAB file")


def test_big_endian_files_are_read(tmp_path: Path) -> None:
    """As MATLAB on a SPARC wrote them: made by hand, for scipy writes none."""

    def element(kind: int, data: bytes) -> bytes:
        padding = b"" if kind == 15 else bytes(-len(data) % 8)
        return kind.to_bytes(4, "big") + len(data).to_bytes(4, "big") + data + padding

    matrix = element(6, bytes([0, 0, 0, 11]) + bytes(4))
    matrix += element(5, b"".join(side.to_bytes(4, "big") for side in CUBE.shape))
    matrix += (1).to_bytes(2, "big") + (1).to_bytes(2, "big") + b"x\0\0\0"  # the small format, length first
    matrix += element(4, CUBE.astype(">u2").tobytes(order="F"))
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI"
    path = tmp_path / "a.mat"
    for data in (element(14, matrix), element(15, zlib.compress(element(14, matrix)))):
        path.write_bytes(header + data)
        assert np.array_equal(
            read_scene(path, divisor=65535).cube, (np.moveaxis(CUBE, 2, 0) / 65535).astype(np.float32)
        )
        path.write_bytes((header + data)[:-9])
        refused(path, "truncated")


@pytest.mark.parametrize("save", [save_v73, save_v73_without_header])
def test_a_v73_file_truncated_anywhere_is_refused(tmp_path: Path, save: Save) -> None:
    whole = save(tmp_path / "a.mat", ref=RNG.random((6, 5, 4)))
    data = whole.read_bytes()
    path = tmp_path / "cut.mat"
    for length in [*range(0, len(data), 211), len(data) - 1]:
        path.write_bytes(data[:length])
        refused(path, "cannot be read as a MATLAB file")


@pytest.mark.parametrize("save", [save_v5, save_v5_compressed, save_v73])
def test_harvards_mask_is_read_with_the_image(tmp_path: Path, save: Save) -> None:
    label = np.ones((6, 5), np.uint8)
    label[1, 3] = 0
    scene = read_scene(save(tmp_path / "a.mat", ref=RNG.random((6, 5, 31)), lbl=label))
    assert scene.mask is not None
    assert np.argwhere(~scene.mask).tolist() == [[1, 3]]
    assert read_scene(save(tmp_path / "b.mat", ref=RNG.random((6, 5, 31)), lbl=label.T)).mask is None
    assert read_scene(save(tmp_path / "c.mat", hsi=RNG.random((6, 5, 33)), lbl=label)).mask is None


def test_the_names_of_the_variables(tmp_path: Path) -> None:
    arrays = {"ref": CUBE, "lbl": np.ones((6, 5))}
    assert variable_names(save_v5(tmp_path / "a.mat", **arrays)) == ["ref", "lbl"]
    assert sorted(variable_names(save_v73(tmp_path / "b.mat", **arrays))) == ["lbl", "ref"]
    (tmp_path / "c.mat").write_text("not a MATLAB file")
    with pytest.raises(HsisrError, match="cannot be read as a MATLAB file"):
        variable_names(tmp_path / "c.mat")


def test_other_files_are_refused(tmp_path: Path) -> None:
    for content in (
        b"",
        b"not a MATLAB file\n",
        b"wavelength,value\n" * 40,
        b"\x89PNG\r\n\x1a\n" + bytes(200),
    ):
        path = tmp_path / "scene.mat"
        path.write_bytes(content)
        refused(path, "cannot be read as a MATLAB file")


def test_a_damaged_variable_beside_the_cube_is_noticed(tmp_path: Path) -> None:
    """It may have damaged more than itself, and scipy crashes on some."""
    path = save_v5(tmp_path / "a.mat", ref=CUBE, lbl=RNG.random((50, 60)))
    data = bytearray(path.read_bytes())
    length = data.index(b"\x09\x00\x00\x00" + (8 * 50 * 60).to_bytes(4, "little")) + 4
    data[length : length + 4] = (10 * 50 * 60).to_bytes(4, "little")  # more numbers than there are
    path.write_bytes(data)
    refused(path, "cannot be read as a MATLAB file", "does not fit")


def test_the_real_files_are_read(hsisr_data: Path) -> None:
    for stem, key in (
        ("balloons_ms", "Omsi"),
        ("cloth_ms_256", "NRD"),
        ("real_and_fake_apples_ms_256", "NRD"),
    ):
        path = hsisr_data / "cave_sample" / f"{stem}.mat"
        scene = read_scene(path)
        assert scene.name == stem.removesuffix("_256").removesuffix("_ms")
        expected = np.moveaxis(scipy.io.loadmat(path)[key], 2, 0).astype(np.float32) / np.float32(65535)
        assert np.array_equal(scene.cube, expected)
        assert (scene.wavelengths[0], scene.wavelengths[-1]) == (400, 700)
    scene = read_scene(hsisr_data / "other" / "UPavia_Subset.mat")
    assert scene.cube.shape == (103, 140, 80)
    assert scene.divisor == 8000
    assert not scene.wavelengths_known
