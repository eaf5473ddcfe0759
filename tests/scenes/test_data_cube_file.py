from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hsisr_core.errors import HsisrError
from hsisr_core.scenes import cube_file
from hsisr_core.scenes.cube_file import CubeFile, array_blocks, divide, find_band_axis, read_values

RNG = np.random.default_rng(9)
AXES = [(0, 1, 2), (1, 0, 2), (2, 0, 1), (0, 2, 1)]


def cube_of(array: np.ndarray, axes: tuple[int, int, int] = (0, 1, 2), **more: Any) -> CubeFile:
    shape = (array.shape[axes[0]], array.shape[axes[1]], array.shape[axes[2]])
    return CubeFile("", shape, array.dtype.kind in "iu", array_blocks(array, axes), **more)


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("budget", [1, 300, 1000, 1 << 24])
def test_blocks_cover_every_value_once(
    axes: tuple[int, int, int], budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cube_file, "_BLOCK_BYTES", budget)
    array = RNG.random((7, 5, 6))
    cube = array.transpose(axes)
    back, times = np.zeros_like(cube), np.zeros(cube.shape, int)
    for bands, rows, cols, block in array_blocks(array, axes)():
        back[bands, rows, cols] = block
        times[bands, rows, cols] += 1
        assert block.nbytes <= max(budget, array[0, 0].nbytes)
    assert np.array_equal(back, cube)
    assert (times == 1).all()


def test_chunks_are_never_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cube_file, "_BLOCK_BYTES", 1)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=RNG.random((7, 10, 6)), chunks=(3, 4, 2))

    @contextmanager
    def opened() -> Iterator[h5py.Dataset]:
        with h5py.File(tmp_path / "a.h5") as file:
            yield file["x"]

    starts = [(bands.start, rows.start) for bands, rows, _, _ in array_blocks(opened, (0, 1, 2))()]
    assert starts == [(band, row) for band in (0, 3, 6) for row in (0, 4, 8)]


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "uint64", "float32", "float64", ">f8", ">u2"])
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [1, 2], [3, 0, 2], [2]])
def test_chosen_bands_are_divided_as_in_double_precision(
    axes: tuple[int, int, int], dtype: str, order: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cube_file, "_BLOCK_BYTES", 200)
    high = 255 if dtype == "uint8" else 60_000
    shape = tuple((4, 6, 5)[axes.index(axis)] for axis in range(3))
    array = (RNG.random(shape) * high).astype(dtype)
    file = cube_of(array, axes)
    chosen = np.array(order)
    values = read_values(file, chosen, "x")
    assert (values.low, values.high) == (array.min(), array.max())  # of all bands
    expected = (array.transpose(axes)[chosen] / np.float64(1.7)).astype(np.float32)
    assert np.array_equal(divide(file, values, chosen, 1.7), expected)


def test_doubles_that_float32_holds_are_read_once() -> None:
    reads = 0
    array = RNG.integers(0, 65536, (3, 6, 5)).astype(np.float64)

    def blocks() -> Iterator[cube_file.Block]:
        nonlocal reads
        reads += 1
        return array_blocks(array, (0, 1, 2))()

    order = np.arange(3)
    for values, times in ((array, 1), (array + 1e-9, 2)):
        array, reads = values, 0
        file = CubeFile("", (3, 6, 5), False, blocks)
        assert np.array_equal(
            divide(file, read_values(file, order, "x"), order, 3.0), (array / 3).astype(np.float32)
        )
        assert reads == times


def test_bad_values_are_counted_over_all_bands() -> None:
    array = RNG.random((3, 6, 5))
    array[0, 1, 1] = array[2, 3, 4] = np.nan
    array[1, 0, 0] = -np.inf
    with pytest.raises(HsisrError, match="x: 3 of 90 values are NaN or infinite"):
        read_values(cube_of(array), np.array([1]), "x")
    with pytest.raises(HsisrError, match="x: all 90 values are zero"):
        read_values(cube_of(np.zeros((3, 6, 5))), np.arange(3), "x")


@pytest.mark.parametrize("nodata", [-999.0, np.nan])
def test_nodata_makes_zeros_and_a_mask_joined_with_the_files_own(nodata: float) -> None:
    array = RNG.random((3, 6, 5)) + 0.1
    array[1, 2, 3] = nodata
    own = np.ones((6, 5), np.bool_)
    own[0, 0] = False
    values = read_values(cube_of(array, nodata=nodata, mask=own), np.arange(3), "x")
    assert values.mask is not None
    assert np.argwhere(~values.mask).tolist() == [[0, 0], [2, 3]]
    assert np.argwhere(~own).tolist() == [[0, 0]]  # the file's stays
    assert values.low == 0
    values = read_values(cube_of(array, nodata=nodata), np.arange(3), "x")
    assert values.mask is not None
    assert values.mask.sum() == 29
    assert values.cube[1, 2, 3] == 0
    assert values.cube[0, 2, 3] == np.float32(array[0, 2, 3])


@pytest.mark.parametrize(
    ("shape", "axis"), [((4, 6, 5), 0), ((6, 5, 4), 2), ((103, 140, 80), 2), ((200, 145, 145), None)]
)
def test_the_band_axis(shape: tuple[int, int, int], axis: int | None) -> None:
    if axis is None:
        with pytest.raises(HsisrError, match="does not tell"):
            find_band_axis(shape, None, "x")
    else:
        assert find_band_axis(shape, None, "x") == axis
    assert find_band_axis(shape, 0, "x") == 0
