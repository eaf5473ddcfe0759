from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from hsisr_core.data import Scene, read_scene, write_store
from hsisr_core.errors import HsisrError
from hsisr_core.scenes import is_store

CUBE = np.random.default_rng(8).random((3, 6, 5), dtype=np.float32)  # bands x height x width


def save_npy(path: Path, array: np.ndarray) -> Path:
    np.save(path.with_suffix(".npy"), array)
    return path.with_suffix(".npy")


def save_hdf5(path: Path, array: np.ndarray, key: str = "cube", **attributes: Any) -> Path:
    path = path.with_suffix(".h5")
    with h5py.File(path, "w") as file:
        file[key] = array
        file[key].attrs.update(attributes)
    return path


@pytest.mark.parametrize("save", [save_npy, save_hdf5])
@pytest.mark.parametrize(
    ("axes", "order"), [((0, 1, 2), "bands x height x width"), ((1, 2, 0), "height x width x bands")]
)
def test_the_shortest_axis_is_the_bands(tmp_path: Path, save: Any, axes: Any, order: str) -> None:
    scene = read_scene(save(tmp_path / "scene", CUBE.transpose(axes)))
    assert np.array_equal(scene.cube, CUBE)
    assert f"float32, {order}, divided by 1 (already in [0, 1])." in scene.source
    assert scene.name == "scene"


@pytest.mark.parametrize("save", [save_npy, save_hdf5])
@pytest.mark.parametrize("shape", [(6, 5, 7), (5, 5, 9), (9, 5, 5), (5, 5, 5)])
def test_an_unclear_order_is_asked_for(tmp_path: Path, save: Any, shape: tuple[int, int, int]) -> None:
    array = np.random.default_rng(8).random(shape)
    path = save(tmp_path / "scene", array)
    with pytest.raises(
        HsisrError, match=f"{'x'.join(map(str, shape))} does not say which axis .*--band-axis"
    ):
        read_scene(path)
    for axis in range(3):
        found = read_scene(path, band_axis=axis).cube
        assert np.array_equal(found, np.moveaxis(array, axis, 0).astype(np.float32))
    with pytest.raises(HsisrError, match="band_axis=3: expected 0, 1 or 2"):
        read_scene(path, band_axis=3)


def test_a_band_axis_means_nothing_where_the_file_says_it(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.tif")
    for options in ({"band_axis": 0}, {"key": "x"}):
        with pytest.raises(
            HsisrError, match=r"--key and --band-axis are for \.mat, \.npy.* not for .*a\.tif"
        ):
            read_scene(tmp_path / "a.tif", **options)


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path(tmp_path / "executed").touch, ())

    np.save(tmp_path / "a.npy", np.array([Evil()] * 8, object).reshape(2, 2, 2), allow_pickle=True)
    with pytest.raises(HsisrError, match="Python objects"):
        read_scene(tmp_path / "a.npy")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 5)), "no 3-D numeric array; it holds 4x5 float64"),
        (np.zeros((2, 3, 9)), "is 3x9 pixels; expected at least 4"),
        (np.zeros((2, 9, 9), complex), "it holds 2x9x9 complex128"),
        (np.zeros((2, 9, 9), "U3"), "it holds 2x9x9 str"),
        (np.zeros((0, 9, 9)), "it is empty"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, array: np.ndarray, message: str) -> None:
    with pytest.raises(HsisrError, match=message):
        read_scene(save_npy(tmp_path / "a", array))


@pytest.mark.parametrize("save", [save_npy, save_hdf5])
def test_a_truncated_file_is_refused(tmp_path: Path, save: Any) -> None:
    path = save(tmp_path / "a", CUBE)
    data = path.read_bytes()
    for length in [*range(0, len(data), 97), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(HsisrError, match=r"cannot be read as an? .*(truncated|damaged)"):
            read_scene(path)


def test_the_array_in_hdf5_is_found_in_its_groups(tmp_path: Path) -> None:
    path = save_hdf5(tmp_path / "a", CUBE, "data/cube")
    with h5py.File(path, "r+") as file:
        file["data/label"] = np.zeros((6, 5))
        file["text"] = "nothing"
    assert "key 'data/cube'" in read_scene(path).source
    with h5py.File(path, "r+") as file:
        file["more"] = CUBE
    with pytest.raises(
        HsisrError, match=r"several 3-D arrays \(data/cube 3x6x5 float32, more 3x6x5 float32\)"
    ):
        read_scene(path)
    assert read_scene(path, key="/more").bands == 3
    with pytest.raises(HsisrError, match="no 3-D numeric array 'label'; it holds data/cube"):
        read_scene(path, key="label")
    with pytest.raises(HsisrError, match="holds no 3-D numeric array"):
        read_scene(save_hdf5(tmp_path / "b", CUBE[0]))


def test_wavelengths_in_hdf5_are_an_attribute_or_beside_the_cube(tmp_path: Path) -> None:
    nm = np.array([450.0, 550, 650])
    assert np.array_equal(read_scene(save_hdf5(tmp_path / "a", CUBE, wavelengths=nm)).wavelengths, nm)
    path = save_hdf5(tmp_path / "b", CUBE, "group/cube")
    with h5py.File(path, "r+") as file:
        file["group/Wavelength"] = nm
    assert np.array_equal(read_scene(path).wavelengths, nm)
    assert not read_scene(save_hdf5(tmp_path / "c", CUBE, wavelengths=nm[:2])).wavelengths_known


def test_keys_of_published_datasets_have_a_meaning_in_mat_files_and_hdf5_alike(tmp_path: Path) -> None:
    array = np.random.default_rng(0).random((31, 40, 50)) * 0.2
    scene = read_scene(save_hdf5(tmp_path / "a", array, "ref"))
    assert scene.divisor == array.max()
    assert (scene.wavelengths[0], scene.wavelengths[-1]) == (420, 720)


def test_a_store_is_not_a_scene(tmp_path: Path) -> None:
    path = tmp_path / "scenes.h5"
    write_store(path, [Scene("a", CUBE, np.full(3, np.nan), 1.0, "")], sources=[], dataset="toys")
    assert is_store(path)
    with pytest.raises(HsisrError, match=r"store of prepared scenes\. Give it"):
        read_scene(path)
    assert not is_store(save_hdf5(tmp_path / "a", CUBE))
    assert not is_store(save_npy(tmp_path / "b", CUBE))


def test_a_file_of_no_known_kind_lists_what_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8")
    with pytest.raises(
        HsisrError, match=r"a\.jpg is not a scene that can be read; expected a CAVE folder, \.mat, ENVI"
    ):
        read_scene(tmp_path / "a.jpg")
