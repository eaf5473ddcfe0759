from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io

from hsisr_core.data import (
    Dataset,
    Region,
    Scene,
    Split,
    Store,
    load_dataset,
    load_split,
    read_scene,
    write_store,
)
from hsisr_core.errors import HsisrError

prepare_module = importlib.import_module("hsisr_core.data.prepare")
ROOT = Path(__file__).parents[2]
SPLITS = ROOT / "book" / "splits"
RNG = np.random.default_rng(2)
CaveFolder = Callable[..., Path]


def save_mat(path: Path, shape: tuple[int, int, int] = (12, 9, 31), key: str = "Omsi") -> Path:
    scipy.io.savemat(path, {key: RNG.integers(1, 65536, shape, dtype=np.uint16)})
    return path


def write_split(project: Path, train: str, test: str, name: str = "toys") -> Path:
    path = project / "book" / "splits" / f"{name}.yaml"
    path.write_text(f"name: {name}\ndataset: toys\ntrain: {train}\ntest: {test}\n")
    return path


@pytest.fixture
def toys(project: Path, cave_folder: CaveFolder, tmp_path: Path) -> Path:
    """A folder of scenes a (PNG), b (.mat), c (PNG), stray files, and a split: a and b train, c tests."""
    folder = tmp_path / "toys"
    cave_folder("a_ms", parent=folder, seed=1)
    cave_folder("c_ms", parent=folder / "c_ms", seed=3)
    save_mat(folder / "b_ms_256.mat")
    (folder / "README.md").write_text("Not a scene.\n")
    (folder / "notes.txt").write_text("Not a scene.\n")
    (folder / "._b_ms_256.mat").write_bytes(b"not a scene")
    (folder / "empty").mkdir()
    write_split(project, "[a, {name: b-top, scene: b, rows: [0, 8], cols: [1, 9]}]", "[c]")
    return folder


def stores(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").glob("*/scenes.h5"))


def test_a_folder_is_prepared_and_split(toys: Path, tmp_path: Path) -> None:
    dataset = load_dataset(toys)
    assert (dataset.name, dataset.split.name, dataset.bands) == ("toys", "toys", 31)
    assert (dataset.train, dataset.test) == (["a", "b-top"], ["c"])
    assert np.array_equal(dataset.wavelengths, np.arange(400, 701, 10))
    assert np.array_equal(dataset.scene("c").cube, read_scene(toys / "c_ms").cube)
    part = dataset.scene("b-top")
    assert part.name == "b-top"
    assert np.array_equal(part.cube, read_scene(toys / "b_ms_256.mat").cube[:, 0:8, 1:9])
    with pytest.raises(HsisrError, match=r"no region 'b'\. It has: a, b-top, c"):
        dataset.scene("b")
    (store,) = stores(tmp_path)
    assert store.parent.name.startswith("toys-")
    assert len(store.parent.name) == len("toys-") + 12
    assert [name for name, _, _ in dataset.store.sources][-1] == "c/c_ms_31.png"
    assert len(dataset.store.sources) == 31 + 1 + 31


def test_the_mean_is_over_training_pixels_only(toys: Path) -> None:
    dataset = load_dataset(toys)
    pixels = [dataset.scene(name).cube.reshape(31, -1).astype(np.float64) for name in ("a", "b-top")]
    mean = dataset.train_mean()
    assert mean.dtype == np.float32
    assert mean.shape == (31,)
    assert np.allclose(mean, np.concatenate(pixels, axis=1).mean(axis=1), rtol=1e-7, atol=0)
    assert not np.allclose(mean, np.mean([p.mean(axis=1) for p in pixels], axis=0), rtol=1e-4)


@pytest.mark.parametrize(("name", "used"), [("toys", True), ("harvard", False)])
def test_the_mean_is_over_measured_pixels_and_harvards_mask_is_not_used(
    name: str, used: bool, tmp_path: Path
) -> None:
    cube, mask = RNG.random((2, 8, 9)).astype(np.float32), RNG.random((8, 9)) > 0.3
    scenes = [Scene(scene, cube, np.full(2, np.nan), 1.0, "", mask) for scene in "ab"]
    write_store(tmp_path / "s.h5", scenes, sources=[], dataset=name)
    split = Split(name, name, (Region("a", "a", rows=(2, 8)),), (Region("b", "b"),))
    dataset = Dataset(name, split, Store(tmp_path / "s.h5"))
    inside = mask[2:] if used else np.ones((6, 9), np.bool_)
    np.testing.assert_allclose(dataset.train_mean(), cube[:, 2:][:, inside].mean(axis=1), rtol=1e-6)
    assert (dataset.scene("a").mask is not None) == used


def test_indian_pines_needs_no_file(project: Path, tmp_path: Path) -> None:
    dataset = load_dataset(split=SPLITS / "indian-pines.yaml")
    assert dataset.bands == 31
    whole = read_scene("indian-pines").cube
    assert np.array_equal(dataset.scene("north-east").cube, whole[:, 0:72, 72:144])
    assert np.array_equal(dataset.scene("south").cube, whole[:, 72:144, 0:144])
    (source,) = dataset.store.sources
    assert source[0] == "indian-pines/Indian_pines_corrected.npy"
    assert stores(tmp_path)[0].parent.name.startswith("indian-pines-")


def test_the_mean_is_summed_in_double_precision(project: Path) -> None:
    dataset = load_dataset("indian-pines", SPLITS / "indian-pines.yaml")
    pixels = [dataset.scene(name).cube.reshape(31, -1).astype(np.float64) for name in dataset.train]
    expected = np.concatenate(pixels, axis=1).mean(axis=1).astype(np.float32)
    assert np.array_equal(dataset.train_mean(), expected)


def test_no_pixel_of_the_test_region_reaches_the_training_data(project: Path) -> None:
    """Change every test pixel: nothing that training sees may change."""
    split = load_split(SPLITS / "indian-pines.yaml")
    dataset = load_dataset("indian-pines", SPLITS / "indian-pines.yaml")
    scene = dataset.store.read("indian-pines")
    for region in split.test:
        (top, bottom), (left, right) = region.bounds(scene.height, scene.width)
        scene.cube[:, top:bottom, left:right] = 0.5
    write_store("changed.h5", [scene], sources=[], dataset="indian-pines")
    changed = load_dataset("changed.h5", SPLITS / "indian-pines.yaml")
    assert not np.array_equal(changed.scene("north-east").cube, dataset.scene("north-east").cube)
    for name in dataset.train:
        assert np.array_equal(changed.scene(name).cube, dataset.scene(name).cube)
    assert np.array_equal(changed.train_mean(), dataset.train_mean())
    assert changed.fingerprint != dataset.fingerprint


def test_a_store_is_a_dataset_too(toys: Path) -> None:
    dataset = load_dataset(toys)
    again = load_dataset(dataset.store.path)
    assert again.fingerprint == dataset.fingerprint
    assert np.array_equal(again.scene("b-top").cube, dataset.scene("b-top").cube)


def test_files_of_other_formats_are_scenes_of_a_dataset(toys: Path, project: Path) -> None:
    rng = np.random.default_rng(0)
    np.save(toys / "n.npy", rng.random((31, 32, 33)))
    with h5py.File(toys / "h.h5", "w") as file:
        file["cube"] = rng.random((31, 32, 33))
    write_store(toys / "store.h5", [read_scene(toys / "n.npy")], sources=[], dataset="x")  # is none of them
    write_split(project, "[a, n]", "[h]")
    dataset = load_dataset(toys)
    assert np.array_equal(dataset.scene("h").cube, read_scene(toys / "h.h5").cube)
    regions = "[{name: up, scene: h, rows: [0, 16]}]", "[{name: down, scene: h, rows: [16, 32]}]"
    write_split(project, *regions, name="halves")
    assert load_dataset(toys / "h.h5", "halves").scene("up").height == 16


def test_how_files_are_read_is_said_for_all_of_them(toys: Path, project: Path, tmp_path: Path) -> None:
    write_split(project, "[a]", "[b]", "mine")
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in "ab":
        cube, picture = RNG.integers(1, 4000, (7, 12, 9)), RNG.random((12, 9, 8))
        scipy.io.savemat(folder / f"{name}.mat", {"rad": cube, "other": picture})
    with pytest.raises(HsisrError, match=r"several 3-D arrays.*--key"):
        load_dataset(folder, "mine")
    options: dict[str, Any] = {"key": "rad", "band_axis": 0, "divisor": 4000.0, "bands": (0, 2, 6)}
    dataset = load_dataset(folder, "mine", **options)
    scene = dataset.scene("a")
    assert scene.cube.shape == (3, 12, 9)
    assert np.array_equal(scene.cube, read_scene(folder / "a.mat", **options).cube)
    assert load_dataset(folder, "mine", **options | {"divisor": 5000.0}).fingerprint != dataset.fingerprint
    assert load_dataset(folder, "mine", key="other").bands == 8
    assert load_dataset("indian-pines", SPLITS / "indian-pines.yaml", bands=5).bands == 5
    with pytest.raises(HsisrError, match=r"prepared scenes: bands would change"):
        load_dataset(dataset.store.path, "mine", bands=3)


def test_a_prepared_dataset_of_the_paper_goes_by_its_name(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HSISR_DATASETS", str(tmp_path / "data"))
    with pytest.raises(
        HsisrError, match=r"The dataset foster is not prepared here\. .*fetch\.py foster` and .*prepare\.py"
    ):
        load_dataset("foster")
    nm = np.linspace(400, 720, 33)
    scenes = [Scene(f"s{i}", np.full((33, 520, 513), i / 9 + 0.1, np.float32), nm, 1.0, "") for i in range(5)]
    write_store(tmp_path / "data" / "foster" / "scenes.h5", scenes, sources=[], dataset="foster")
    (project / "book" / "splits" / "foster.yaml").write_text((SPLITS / "foster.yaml").read_text())
    dataset = load_dataset("foster")
    assert (dataset.name, len(dataset.train), len(dataset.test)) == ("foster", 4, 1)
    assert dataset.scene(dataset.test[0]).cube.shape == (33, 512, 512)
    assert dataset.scene(dataset.train[0]).cube.shape == (33, 520, 513)


def test_one_scene_with_a_split_into_regions_is_a_dataset(
    project: Path, cave_folder: CaveFolder, tmp_path: Path
) -> None:
    regions = "[{name: left, scene: x, cols: [0, 4]}]", "[{name: right, scene: x, cols: [4, 9]}]"
    write_split(project, *regions)
    assert load_dataset(save_mat(tmp_path / "x_ms.mat")).scene("right").width == 5
    assert load_dataset(cave_folder("x_ms")).scene("left").width == 4


def test_prepared_data_are_used_again(toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_dataset(toys)
    written = first.store.path.stat().st_mtime_ns

    def fail(*args: object, **options: object) -> None:
        raise AssertionError("read or hashed again")

    with monkeypatch.context() as patch:
        patch.setattr(prepare_module, "read_scene", fail)
        patch.setattr(prepare_module, "sha256_file", fail)
        assert load_dataset(toys).fingerprint == first.fingerprint
    assert first.store.path.stat().st_mtime_ns == written
    # touched, but not changed: prepared again, and found the same
    os.utime(toys / "b_ms_256.mat", ns=(1, 1))
    assert load_dataset(toys).fingerprint == first.fingerprint


def test_a_changed_source_is_noticed(toys: Path, tmp_path: Path) -> None:
    first = load_dataset(toys)
    file = toys / "b_ms_256.mat"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    before = file.stat().st_mtime_ns
    file.write_bytes(data)
    os.utime(file, ns=(before + 1, before + 1))
    second = load_dataset(toys)
    assert second.fingerprint != first.fingerprint
    assert len(stores(tmp_path)) == 2
    assert np.array_equal(second.scene("b-top").cube, read_scene(file).cube[:, 0:8, 1:9])


def test_the_fingerprint_follows_the_split(toys: Path, project: Path) -> None:
    first = load_dataset(toys)
    file = write_split(project, "[a, {name: b-top, scene: b, rows: [0, 7], cols: [1, 9]}]", "[c]")
    second = load_dataset(toys)
    assert second.store.fingerprint == first.store.fingerprint
    assert second.fingerprint != first.fingerprint
    file.write_text(file.read_text() + "note: another word about it\n")
    assert load_dataset(toys).fingerprint == second.fingerprint


@pytest.mark.parametrize("damage", [lambda data: data[:3000], lambda data: b"", lambda data: b"other" * 100])
def test_a_damaged_cache_is_written_again(toys: Path, damage: Callable[[bytes], bytes]) -> None:
    dataset = load_dataset(toys)
    dataset.store.path.write_bytes(damage(dataset.store.path.read_bytes()))
    assert load_dataset(toys).fingerprint == dataset.fingerprint


_PREPARE = """
import importlib, sys, time
from pathlib import Path
from typing import Any
from hsisr_core.data import load_dataset
prepare = importlib.import_module("hsisr_core.data.prepare")
folder, me = Path(sys.argv[1]), sys.argv[2]
write = prepare.write_store
def slow(*args, **options):
    with open(folder / "log", "a") as log:
        log.write("written\\n")
    time.sleep(0.5)  # time for the other to come
    write(*args, **options)
prepare.write_store = slow
(folder / f"ready-{me}").touch()
while len(list(folder.glob("ready-*"))) < 2:
    time.sleep(0.01)
print(load_dataset(sys.argv[3]).fingerprint)
"""


@pytest.mark.slow
def test_two_processes_prepare_once(toys: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _PREPARE, str(tmp_path), str(me), str(toys)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for me in range(2)
    ]
    ended = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0], ended
    assert (tmp_path / "log").read_text() == "written\n"
    assert {out.strip() for out, _ in ended} == {load_dataset(toys).fingerprint}


def test_a_scene_the_split_names_must_be_readable_others_need_not(toys: Path, project: Path) -> None:
    (toys / "d_ms.mat").write_text("not a scene")
    assert load_dataset(toys).test == ["c"]
    write_split(project, "[a, d]", "[c]")
    with pytest.raises(HsisrError, match=r"d_ms\.mat cannot be read"):
        load_dataset(toys)
    (toys / "d_ms.mat").unlink()
    (toys / "a_ms" / "a_ms_09.png").unlink()
    write_split(project, "[a]", "[c]")
    with pytest.raises(HsisrError, match="missing: 9"):
        load_dataset(toys)


def test_nothing_is_left_of_a_failed_preparation(toys: Path, tmp_path: Path) -> None:
    file = toys / "c_ms" / "c_ms" / "c_ms_20.png"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(HsisrError, match="truncated"):
        load_dataset(toys)
    assert not list((tmp_path / "cache").glob("*/*.h5"))
    assert not list((tmp_path / "cache").glob("*/.*.h5"))


def test_a_scene_that_is_there_twice_is_refused_if_needed(toys: Path, project: Path) -> None:
    save_mat(toys / "a.mat")
    with pytest.raises(HsisrError, match=r"Scene a is there several times: .*a\.mat and .*a_ms\. Leave one"):
        load_dataset(toys)
    write_split(project, "[b]", "[c]")
    assert load_dataset(toys).train == ["b"]


def test_a_split_that_does_not_fit_is_refused(toys: Path, project: Path) -> None:
    write_split(project, "[b]", "[c]", name="more")
    with pytest.warns(UserWarning, match=r"several splits \(more, toys\): toys is taken"):
        assert load_dataset(toys).train == ["a", "b-top"]
    assert load_dataset(toys, "more").train == ["b"]
    with pytest.raises(HsisrError, match=r"No split .* \(indian-pines\): more needs b, c"):
        load_dataset("indian-pines")
    (toys / "b_ms_256.mat").unlink()
    with pytest.raises(HsisrError, match=r"No split .* \(a, c\): more needs b, c; toys needs a, b, c"):
        load_dataset(toys)
    with pytest.raises(HsisrError, match=r"Split more needs the scenes b, which are not in .* it has a, c"):
        load_dataset(toys, "more")


def test_scenes_of_different_bands_are_refused_and_the_odd_one_named(toys: Path) -> None:
    save_mat(toys / "b_ms_256.mat", (12, 9, 30))
    with pytest.raises(HsisrError, match=r"Scenes of split toys differ in bands: b has 30 from"):
        load_dataset(toys)


def test_scenes_of_different_wavelengths_are_refused_but_unknown_ones_are_not(toys: Path) -> None:
    save_mat(toys / "b_ms_256.mat", key="unknown_key")
    assert np.array_equal(load_dataset(toys).wavelengths, np.arange(400, 701, 10))
    save_mat(toys / "b_ms_256.mat", key="ref")
    with pytest.raises(HsisrError, match="400 to 700 nm"):
        load_dataset(toys)


def test_a_region_outside_its_scene_is_refused(toys: Path, project: Path) -> None:
    write_split(project, "[{scene: a, rows: [0, 13]}]", "[c]")
    with pytest.raises(HsisrError, match="Rows of region a in scene a of 12x9 pixels: 0 to 13"):
        load_dataset(toys)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("no/such/folder", "does not exist"),
        ("chikusei", "Unknown dataset 'chikusei'.* Known: indian-pines"),
        ("notes.txt", "expected a folder of scenes"),
        ("notes.h5", "cannot be read as a store of prepared scenes"),
        (".", r"No split .* \(none\)"),
    ],
)
def test_other_data_are_refused(project: Path, data: str, message: str) -> None:
    for name in ("notes.txt", "notes.h5"):
        (project / name).write_text("Not a scene.\n")
    with pytest.raises(HsisrError, match=message):
        load_dataset(data)


def test_a_cache_that_cannot_be_written_is_one_clear_error(
    toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    monkeypatch.setenv("HSISR_CACHE", str(tmp_path / "taken" / "cache"))
    with pytest.raises(HsisrError, match=r"Cannot write to the cache folder .*HSISR_CACHE"):
        load_dataset(toys)


def test_a_dataset_can_be_made_by_hand(toys: Path) -> None:
    store = load_dataset(toys).store
    split = Split("mine", "toys", (Region("a", "a"),), (Region("c", "c", rows=(0, 4)),))
    assert Dataset("toys", split, Store(store.path)).scene("c").height == 4


# of the versions 0.1.0 and after; run hashes depend on them
FINGERPRINTS = {
    "indian-pines": "2338543153673769880a499f4e259fc534ecd937f329197c207047be73463101",
    "cave-sample": "9d4bf682187d83fb7d782638448c67472e4820994d97bc1faf36bff4ce9c632f",
    "cave-25": "46f08fdcdffac1380ef49e78b2b4792f5d97ecac19af83efd8844c81797189cb",
    "cave-25-tune": "883e73bd4d896724474f59cae26543335d0c249f2851416189cb442dd95ccb55",
    "cave-25-five": "24357a10894d6d7228007a49822a7a2cf2b073aff606808528ed88cd5d3ad5ca",
    "cave-nine": "caa3ccc8b4e6e2d28a5b64678ac7d1c19d81b92f7a3247ec75f09ae41fb5bace",
    "cave-nine-tune": "b6755069f58577669d8d601238172057e261880e31dab0c8874c5b8fb3c7fb79",
}


def test_fingerprints_stay_as_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HSISR_CACHE", str(tmp_path))
    assert load_dataset("indian-pines").fingerprint == FINGERPRINTS["indian-pines"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*several splits")
@pytest.mark.parametrize("name", ["cave-sample", "cave-25", "cave-nine"])
def test_real_scenes_find_their_split_and_keep_their_fingerprint(
    hsisr_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    folder = hsisr_data / name.replace("-", "_")
    if not folder.is_dir():
        pytest.skip(f"there is no {folder}")
    monkeypatch.setenv("HSISR_CACHE", str(tmp_path))
    dataset = load_dataset(folder)
    assert (dataset.name, dataset.split.name) == (name, name)
    assert dataset.fingerprint == FINGERPRINTS[name]
    assert load_dataset(dataset.store.path).fingerprint == FINGERPRINTS[name]
    for other in FINGERPRINTS.keys() & {f"{name}-tune", f"{name}-five"}:
        assert load_dataset(folder, other).fingerprint == FINGERPRINTS[other]


def test_other_real_scenes_have_no_split(project: Path, hsisr_data: Path) -> None:
    with pytest.raises(HsisrError, match="UPavia_Subset"):
        load_dataset(hsisr_data / "other")
