"""A cube that is written part by part is read as a whole; no half file."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hsisr_core.data import read_scene
from hsisr_core.errors import HsisrError
from hsisr_core.scenes import Georeference, OpenScene, Product, cube_writer, output_files
from hsisr_core.scenes.scene import CubeFile

PLACE = Georeference((500000.0, 5.0, 0.0, 4600000.0, 0.0, -4.0), "EPSG:32633")
SUFFIXES = [".h5", ".hdf5", ".mat", ".npy", ".tif", ".tiff", ".hdr", ".img"]


def product(dtype: str = "float32", divisor: float = 1.0, **said: Any) -> Product:
    file = CubeFile("", np.zeros((3, 12, 10)), (0, 1, 2), **said)
    centres, means = np.array([450.0, 550, 650]), np.zeros(3, np.float32)
    scene = OpenScene(file, np.arange(3), "a", centres, divisor, "", 0.0, means)
    return Product(scene, 1, np.dtype(dtype), {"model": "x", "scale": 2})


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int16", "uint16"])
def test_parts_in_any_order_make_the_cube(tmp_path: Path, suffix: str, dtype: str) -> None:
    values = np.random.default_rng(1).random((3, 12, 10)) * (1 if dtype.startswith("float") else 100)
    values = values.astype(dtype)
    path = tmp_path / f"a{suffix}"
    with cube_writer(path, product(dtype, divisor=200.0, nodata=250.0, georeference=PLACE)) as write:
        for rows, columns in (
            (slice(7, 12), slice(0, 10)),
            (slice(0, 7), slice(6, 10)),
            (slice(0, 7), slice(0, 6)),
        ):
            write(rows, columns, values[:, rows, columns])
        assert not path.exists()
    scene = read_scene(path, divisor=200)
    assert np.array_equal(scene.cube, (values / 200.0).astype(np.float32))
    if suffix not in (".mat", ".npy"):
        assert scene.wavelengths.tolist() == [450, 550, 650]
    if suffix in (".tif", ".tiff", ".hdr", ".img"):
        assert scene.georeference is not None
        assert scene.georeference.transform == PLACE.transform
        assert scene.georeference.crs in (PLACE.crs, "UTM, 33, North, WGS-84, units=Meters")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_error_leaves_the_old_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"old")
    with suppress(KeyboardInterrupt), cube_writer(path, product()) as write:
        write(slice(0, 1), slice(0, 10), np.ones((3, 1, 10)))
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_full_disk_is_reported_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HsisrError, match="No space left"), cube_writer(tmp_path / "a.tif", product()):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with (
        pytest.raises(HsisrError, match="Free some space, or name"),
        cube_writer(tmp_path / "a.npy", product()),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_types_names_and_sizes_that_a_format_does_not_have_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hsisr_core.scenes.write._MATLAB_5_BYTES", 1439)
    for name, dtype, message in (
        ("a.mat", "float32", r"1\.44e-06 GB do not fit in a \.mat file"),
        ("a.hdr", "int8", "ENVI has no type int8"),
        ("a.tif", "float16", "GTiff has no type float16"),
        ("a.mat", "float16", "MATLAB has no values of type float16"),
        ("a.jpg", "float32", r"expected one of \.h5"),
    ):
        with pytest.raises(HsisrError, match=message), cube_writer(tmp_path / name, product(dtype)):
            pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".hdr", ".npy"])
def test_a_disk_too_full_for_the_second_file_leaves_the_old_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    files = output_files(tmp_path / f"a{suffix}")
    for file in files:
        file.write_bytes(b"old")

    def fill(path: Path, *_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fill)
    with pytest.raises(HsisrError, match="No space left"), cube_writer(files[0], product()):
        pass
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {
        file.name: b"old" for file in files
    }
