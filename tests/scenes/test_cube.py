"""A file in parts gives what it gives as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hsisr_core.data import read_scene
from hsisr_core.errors import HsisrError
from hsisr_core.scenes import OpenScene, open_scene
from hsisr_core.scenes.read import survey
from hsisr_core.scenes.scene import CubeFile, Stored

RNG = np.random.default_rng(9)
AXES = [(0, 1, 2), (1, 0, 2), (2, 0, 1), (0, 2, 1)]


def open_bands(file: CubeFile, order: list[int], divisor: float = 1.0) -> OpenScene:
    centres = np.full(len(order), np.nan)
    low, _, means, _, _ = survey(file)
    means = (means[order] / divisor).astype(np.float32)
    return OpenScene(file, np.array(order), "x", centres, divisor, "", float(low.min()), means)


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("budget", [1, 300, 1000, 1 << 24])
def test_blocks_cover_every_value_once(
    axes: tuple[int, int, int], budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hsisr_core.scenes.scene._BLOCK_BYTES", budget)
    array = RNG.random((7, 5, 6))
    expected = array.transpose(axes)
    back, times = np.zeros_like(expected), np.zeros(expected.shape, int)
    for bands, rows, cols, block in CubeFile("", array, axes).blocks():
        back[bands, rows, cols] = block
        times[bands, rows, cols] += 1
        assert block.nbytes <= max(budget, array[0, 0].nbytes)
    assert np.array_equal(back, expected)
    assert (times == 1).all()


def test_chunks_are_never_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsisr_core.scenes.scene._BLOCK_BYTES", 1)
    array = RNG.random((7, 10, 6))
    stored = Stored(array.shape, array.dtype, array.__getitem__, chunks=(3, 4, 2))
    starts = [(bands.start, rows.start) for bands, rows, _, _ in CubeFile("", stored, (0, 1, 2)).blocks()]
    assert starts == [(band, row) for band in (0, 3, 6) for row in (0, 4, 8)]


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "uint64", "float32", "float64", ">f8", ">u2"])
def test_chosen_bands_are_divided_in_double_precision_and_rounded_once(
    axes: tuple[int, int, int], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hsisr_core.scenes.scene._BLOCK_BYTES", 200)
    high = 255 if dtype == "uint8" else 60_000
    shape = tuple((4, 6, 5)[axes.index(axis)] for axis in range(3))
    array = (RNG.random(shape) * high).astype(dtype)
    file = CubeFile("", array, axes)
    least, largest, *_ = survey(file)
    assert (least.min(), largest.max()) == (array.min(), array.max())
    for order in ([0, 1, 2, 3], [1, 2], [3, 0, 2], [2]):
        expected = (array.transpose(axes)[order] / np.float64(1.7)).astype(np.float32)
        scene = open_bands(file, order, 1.7)
        assert np.array_equal(scene.load().cube, expected)
        part, missing = scene.read(slice(1, 5), slice(2, 3))
        assert np.array_equal(part, expected[:, 1:5, 2:3])
        assert missing is None
        assert scene.means == pytest.approx(expected.mean(axis=(1, 2)), rel=1e-6)


def test_bad_values_are_counted_over_all_bands(tmp_path: Path) -> None:
    array = RNG.random((3, 6, 5))
    array[0, 1, 1] = array[2, 3, 4] = np.nan
    array[1, 0, 0] = -np.inf
    _, _, _, nan, infinite = survey(CubeFile("", array))
    assert nan.tolist() == [1, 0, 1]
    assert infinite.tolist() == [0, 1, 0]
    assert np.isnan(survey(CubeFile("", np.zeros((3, 6, 5)), nodata=0))[2]).all()
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(HsisrError, match="3 of 90 values are NaN or infinite"):
        read_scene(tmp_path / "a.npy")
    assert read_scene(tmp_path / "a.npy", bands=[1], nodata=-np.inf).bands == 1
    np.save(tmp_path / "a.npy", np.zeros((3, 6, 5)))
    for nodata in (None, 0):
        with pytest.raises(HsisrError, match="all values of the chosen bands are zero or no-data"):
            read_scene(tmp_path / "a.npy", nodata=nodata)


@pytest.mark.parametrize("nodata", [-999.0, np.nan])
def test_no_data_is_zero_and_masked_in_a_whole_and_the_mean_in_a_part(nodata: float) -> None:
    array = RNG.random((3, 6, 5)) + 0.1
    array[1, 2, 3] = nodata
    own = np.ones((6, 5), np.bool_)
    own[0, 0] = False

    def load(**more: Any) -> OpenScene:
        return open_bands(CubeFile("", array, (0, 1, 2), nodata=nodata, **more), [1, 2])

    mask = load(mask=own).load().mask
    assert mask is not None
    assert np.argwhere(~mask).tolist() == [[0, 0], [2, 3]]
    assert np.argwhere(~own).tolist() == [[0, 0]]  # the file's stays
    scene = load()
    whole = scene.load()
    assert whole.mask is not None
    assert whole.mask.sum() == 29
    assert (whole.cube[0, 2, 3], whole.cube[1, 2, 3]) == (0, np.float32(array[2, 2, 3]))
    measured = np.delete(array[1].ravel(), 2 * 5 + 3)
    assert scene.low == min(array[0].min(), measured.min(), array[2].min())
    part, missing = scene.read(slice(2, 4), slice(3, 5))
    assert missing is not None
    assert np.argwhere(missing).tolist() == [[0, 0, 0]]
    assert part[0, 0, 0] == np.float32(measured.mean())


def test_a_band_without_a_measurement_is_zero_and_masks_nothing() -> None:
    array = RNG.random((3, 6, 5)) + 0.1
    array[1] = array[0, 2, 2] = -1
    scene = open_bands(CubeFile("", array, (0, 1, 2), nodata=-1), [0, 1, 2])
    whole = scene.load()
    assert not whole.cube[1].any()
    assert whole.mask is not None
    assert np.argwhere(~whole.mask).tolist() == [[2, 2]]
    part, missing = scene.read(slice(0, 6), slice(0, 5))
    assert missing is not None
    assert missing.sum(axis=(1, 2)).tolist() == [1, 30, 0]
    assert not part[1].any()


@pytest.mark.parametrize("name", ["a.npy", "a.h5"])
def test_opening_follows_the_rules_of_reading(tmp_path: Path, name: str) -> None:
    counts = RNG.integers(0, 5000, (31, 40, 36), dtype=np.uint16)
    np.save(tmp_path / "a.npy", counts)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("ref", data=counts, chunks=(7, 9, 36), compression="gzip")
    for bands in (None, 5, [2, 3, 30]):
        whole = read_scene(tmp_path / name, bands=bands)
        scene = open_scene(tmp_path / name, bands=bands)
        assert (scene.name, scene.source, scene.divisor) == (whole.name, whole.source, whole.divisor)
        assert np.array_equal(scene.wavelengths, whole.wavelengths, equal_nan=True)
        assert isinstance(scene.file.array, Stored)
        assert np.array_equal(scene.read(slice(3, 9), slice(30, 36))[0], whole.cube[:, 3:9, 30:36])
