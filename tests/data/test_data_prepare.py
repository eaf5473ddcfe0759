"""The datasets in their true layouts become stores whose values are the protocol's."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from loopback import cave_zip, counts, foster_array, foster_zip, harvard_arrays, harvard_tgz

from hsisr_core.data import Scene, Store, load_dataset, load_split, prepare, read_scene
from hsisr_core.data.prepare import find_scenes, prepare_scenes, reduce_scene
from hsisr_core.data.splits import Region
from hsisr_core.degrade import imresize
from hsisr_core.errors import HsisrError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cave(tmp_path: Path) -> Path:
    folder = tmp_path / "cave"
    with zipfile.ZipFile(io.BytesIO(cave_zip())) as archive:
        archive.extractall(folder / "complete_ms_data")
    return folder


@pytest.fixture
def harvard(tmp_path: Path) -> Path:
    folder = tmp_path / "harvard"
    for data in (harvard_tgz(), harvard_tgz("CZ_hsdbi", ("imgh7",))):
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            archive.extractall(folder, filter="data")
    return folder


def hwc_to_cube(array: np.ndarray, divisor: float) -> np.ndarray:
    return np.moveaxis(array / divisor, 2, 0).astype(np.float32)


def test_cave_is_divided_by_its_full_range_and_watercolors_left_out(cave: Path, tmp_path: Path) -> None:
    store, left_out = prepare("cave", cave, tmp_path / "out" / "scenes.h5")
    assert store.names == ["balloons", "cloth"]
    assert store.dataset == "cave"
    ((place, why),) = left_out.items()
    assert place == "complete_ms_data/watercolors_ms/watercolors_ms"
    assert "8 bits" in why
    scene = store.read("cloth")
    assert np.array_equal(scene.cube, (counts(1) / 65535).astype(np.float32))
    assert np.array_equal(scene.wavelengths, np.arange(400, 701, 10))
    assert scene.divisor == 65535
    assert len(store.sources) == 62
    assert store.sources[0][0] == "balloons/balloons_ms_01.png"


def test_harvard_is_divided_by_the_maximum_of_the_whole_image_and_keeps_its_mask(
    harvard: Path, tmp_path: Path
) -> None:
    store, left_out = prepare("harvard", harvard, tmp_path / "scenes.h5")
    assert store.names == ["imga1", "imgb2", "imgh7"]
    assert left_out == {}
    for name in store.names:
        arrays = harvard_arrays(name)
        scene = store.read(name)
        assert scene.divisor == arrays["ref"].max()
        assert np.array_equal(scene.cube, hwc_to_cube(arrays["ref"], arrays["ref"].max()))
        assert np.array_equal(scene.wavelengths, np.arange(420, 721, 10))
        assert scene.mask is not None
        assert np.array_equal(scene.mask, arrays["lbl"] != 0)
        part = store.read(name, (1, 6), (4, 9)).mask
        assert part is not None
        assert np.argwhere(~part).tolist() == [[1, 1], [2, 1]]


def test_the_mask_is_part_of_the_fingerprint(harvard: Path, tmp_path: Path) -> None:
    with_mask = prepare("harvard", harvard, tmp_path / "a.h5")[0]
    for file in harvard.rglob("*.mat"):
        scipy.io.savemat(file, {"ref": harvard_arrays(file.stem)["ref"]})
    without = prepare("harvard", harvard, tmp_path / "b.h5")[0]
    assert without.read("imga1").mask is None
    assert without.fingerprint != with_mask.fingerprint


def test_foster_is_read_from_v73_and_named_by_its_archive(tmp_path: Path) -> None:
    for name in ("Nogueiro", "Ruivaes"):
        with zipfile.ZipFile(io.BytesIO(foster_zip(name, tmp_path))) as archive:
            archive.extractall(tmp_path / "foster" / name)
    scipy.io.savemat(tmp_path / "foster" / "Ruivaes" / "reference.mat", {"illuminant": np.ones((33, 1))})
    store, left_out = prepare("foster", tmp_path / "foster", tmp_path / "scenes.h5")
    assert store.names == ["Nogueiro", "Ruivaes"]
    assert left_out == {"Ruivaes/reference.mat": "it holds no array named hsi or reflectances"}
    array = foster_array("Ruivaes")
    assert np.array_equal(store.read("Ruivaes").cube, hwc_to_cube(array, array.max()))
    assert np.array_equal(store.wavelengths("Ruivaes"), np.arange(400, 721, 10))


@pytest.mark.parametrize(("bands", "first", "last"), [(31, 410, 710), (33, 400, 720)])
def test_the_older_sets_of_foster_are_read_too(tmp_path: Path, bands: int, first: int, last: int) -> None:
    array = np.random.default_rng(bands).random((9, 8, bands)) * 0.5
    (tmp_path / "old").mkdir()
    scipy.io.savemat(tmp_path / "old" / "ref_crown3bb_reg1.mat", {"reflectances": array})
    scene = prepare("foster", tmp_path / "old", tmp_path / "s.h5")[0].read("ref_crown3bb_reg1")
    assert np.array_equal(scene.cube, hwc_to_cube(array, array.max()))
    assert (scene.wavelengths[0], scene.wavelengths[-1]) == (first, last)


@pytest.mark.slow
def test_the_sample_is_rebuilt_from_full_scenes(tmp_path: Path) -> None:
    """Full scenes of 512 pixels give the three training scenes of the sample, with whole numbers as MATLAB."""
    names = ("balloons", "cloth", "real_and_fake_apples", "stuffed_toys")
    folder = tmp_path / "cave"
    folder.mkdir()
    rng = np.random.default_rng(5)
    full = {name: np.kron(rng.integers(0, 65536, (31, 64, 64)), np.ones((8, 8))) for name in names}
    for name, cube in full.items():
        array = np.moveaxis(cube, 0, 2).astype(np.uint16)
        scipy.io.savemat(folder / f"{name}_ms.mat", {"Omsi": array})
    store = prepare("cave", folder, tmp_path / "scenes.h5", "cave-sample")[0]
    assert store.dataset == "cave-sample"
    assert store.shape("stuffed_toys") == (31, 512, 512)
    assert store.shape("cloth") == (31, 256, 256)
    exact = imresize(full["cloth"], scale=0.5)
    assert exact.max() > 65535  # the filter overshoots
    assert np.array_equal(
        store.read("cloth").cube, (np.floor(exact + 0.5).clip(0, 65535) / 65535).astype(np.float32)
    )
    whole = prepare("cave", folder, tmp_path / "whole.h5")[0]
    with pytest.raises(
        HsisrError, match=r"balloons reduced to 256 pixels.* holds it with 512.* --split cave-sample"
    ):
        load_dataset(whole.path, "cave-sample")
    assert load_dataset(store.path).split.name == "cave-sample"
    # and the same from the folder of scenes itself, through the cache
    assert load_dataset(folder, "cave-sample").store.fingerprint == store.fingerprint


def test_a_split_whose_scenes_are_missing_is_refused(cave: Path, tmp_path: Path) -> None:
    with pytest.raises(
        HsisrError, match="cave-sample needs the scenes real_and_fake_apples, stuffed_toys, which"
    ):
        prepare("cave", cave, tmp_path / "s.h5", "cave-sample")


def test_other_scenes_of_any_format(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    np.save(folder / "a.npy", np.random.default_rng(0).random((3, 5, 6)))
    (folder / ".b.npy").touch()
    store = prepare("other", folder, folder / "scenes.h5")[0]
    assert store.names == ["a"]
    assert prepare("other", folder, folder / "scenes.h5")[0].names == ["a"]  # the store is no scene


def test_an_unreadable_scene_leaves_the_old_store(cave: Path, tmp_path: Path) -> None:
    out = tmp_path / "scenes.h5"
    before = prepare("cave", cave, out)[0].fingerprint
    file = next(cave.rglob("cloth_ms_20.png"))
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(HsisrError, match="truncated"):
        prepare("cave", cave, out)
    assert prepare("other", cave.parent / "cave" / "complete_ms_data" / "balloons_ms", tmp_path / "b.h5")
    assert read_scene(cave / "complete_ms_data" / "balloons_ms").name == "balloons"
    assert Store(out).fingerprint == before


def test_mistakes_are_refused(cave: Path, tmp_path: Path) -> None:
    with pytest.raises(HsisrError, match=r"Unknown dataset 'icvl'\. Known: cave, harvard, foster\."):
        prepare("icvl", cave, tmp_path / "s.h5")
    with pytest.raises(HsisrError, match=r"nowhere is not a folder"):
        prepare("cave", tmp_path / "nowhere", tmp_path / "s.h5")
    with pytest.raises(HsisrError, match=r"holds no scene of harvard \(3 left out\)"):
        prepare("harvard", cave, tmp_path / "s.h5")
    scenes = cave / "complete_ms_data"
    shutil.copytree(scenes / "cloth_ms" / "cloth_ms", cave / "copy" / "cloth_ms")
    with pytest.raises(
        HsisrError, match=r"Scene cloth is there several times: .*complete_ms_data.* and .*copy"
    ):
        prepare("cave", cave, tmp_path / "s.h5")
    assert not (tmp_path / "s.h5").exists()


def test_reducing_follows_matlab_on_integers_and_clips_nothing_else() -> None:
    rng = np.random.default_rng(1)
    cube = rng.integers(0, 2, (2, 8, 12)).astype(np.float32)
    nm = np.array([500.0, 600])
    mask = np.ones((8, 12), np.bool_)
    mask[3, 5] = False
    small = reduce_scene(Scene("a", cube, nm, 255.0, "read.", mask), 6)
    assert small.cube.shape == (2, 4, 6)
    exact = imresize(cube.astype(np.float64), scale=0.5)
    assert np.array_equal(small.cube, (np.floor(exact * 255 + 0.5).clip(0, 255) / 255).astype(np.float32))
    assert small.mask is not None
    # the kernel is 8 pixels wide
    assert np.array_equal(~small.mask, np.tile([False, True, True, True, True, False], (4, 1)))
    assert small.source == "read. Reduced by 2."
    floats = reduce_scene(Scene("a", cube, nm, 1.0, ""), 6)
    assert np.allclose(floats.cube, exact, atol=1e-6)
    assert floats.cube.max() > 1
    scene = Scene("a", cube, nm, 1.0, "")
    assert reduce_scene(scene, 12) is scene
    assert reduce_scene(scene, None) is scene
    with pytest.raises(HsisrError, match="of 8x12 pixels cannot be reduced to 5 by a whole factor"):
        reduce_scene(scene, 5)


@pytest.mark.slow
def test_the_real_sample_is_prepared(hsisr_data: Path, tmp_path: Path) -> None:
    store, _ = prepare(
        "cave", hsisr_data / "cave_sample", tmp_path / "s.h5", ROOT / "book/splits/cave-sample.yaml"
    )
    assert store.names == load_split(ROOT / "book/splits/cave-sample.yaml").scenes
    for name, place in find_scenes(hsisr_data / "cave_sample", "cave")[0].items():
        assert np.array_equal(store.read(name).cube, read_scene(place[0]).cube)
    assert prepare("other", hsisr_data / "other", tmp_path / "o.h5")[0].names == ["UPavia_Subset"]


def test_preparing_loads_no_training_library() -> None:
    """PyTorch alone is six scenes of CAVE in memory."""
    code = "import sys, hsisr_core.data; sys.exit(bool({'torch', 'requests', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_only_the_bands_at_the_named_wavelengths(cave: Path, tmp_path: Path) -> None:
    whole = prepare("cave", cave, tmp_path / "whole.h5")[0].read("cloth")
    store = prepare("cave", cave, tmp_path / "some.h5", wavelengths=range(560, 701, 20))[0]
    some = store.read("cloth")
    assert list(some.wavelengths) == [560, 580, 600, 620, 640, 660, 680, 700]
    assert np.array_equal(some.cube, whole.cube[16::2])
    with pytest.raises(
        HsisrError, match="balloons has no band at some of 705 nm; its bands lie at 400 to 700 nm"
    ):
        prepare("cave", cave, tmp_path / "none.h5", wavelengths=[705])


@pytest.mark.slow
def test_scenes_of_cave_are_rebuilt_as_the_splits_say(hsisr_data: Path, tmp_path: Path) -> None:
    """The 8 bands of a scene are those of its 31; four scenes keep their high byte; three were reduced by others."""
    nine, eight = hsisr_data / "cave_nine", hsisr_data / "cave_25"
    if not (nine.is_dir() and eight.is_dir()):
        pytest.skip("HSISR_DATA has no cave_nine/ and cave_25/")
    known = json.loads((ROOT / "book/results/fingerprints.json").read_text())
    assert load_dataset(nine).fingerprint == known["cave-nine"]["cave-nine"]
    (tmp_path / "cave").mkdir()
    for name in ("stuffed_toys_ms", "superballs_ms"):
        shutil.copytree(nine / name, tmp_path / "cave" / name)
    store = prepare("cave", tmp_path / "cave", tmp_path / "a.h5", wavelengths=range(560, 701, 20))[0]
    for name in store.names:
        assert np.array_equal(store.read(name).cube, read_scene(eight / f"{name}.h5").cube)
    whole = {name: read_scene(eight / f"{name}.h5") for name in ("feathers", "balloons")}
    split = load_split("cave-nine")
    few = replace(
        split, train=tuple(r for r in split.train if r.scene in whole), test=(Region("t", "stuffed_toys"),)
    )
    part = prepare_scenes(tmp_path / "b.h5", {n: eight / f"{n}.h5" for n in (*whole, "stuffed_toys")}, few)
    held = load_dataset(nine).store
    assert np.array_equal(part.read("feathers").cube, held.read("feathers").cube[16::2])
    difference = part.read("balloons").cube - held.read("balloons").cube[16::2]
    assert -10 * np.log10(np.mean(difference**2)) > 50
