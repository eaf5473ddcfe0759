from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import weakref
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from hsisr_core.data import Scene, Store, write_store
from hsisr_core.errors import HsisrError

RNG = np.random.default_rng(11)
SOURCES = [("a/x.png", 12, "0" * 64), ("b/y.mat", 5, "1" * 64)]


def counted(name: str = "a", bands: int = 3, divisor: float = 65535.0, side: int = 70) -> Scene:
    """A scene of integers divided by `divisor`, as the readers make it."""
    counts = RNG.integers(0, min(65535, int(divisor)) + 1, (bands, side, side + 5))
    cube = (counts / divisor).astype(np.float32)
    return Scene(name, cube, np.arange(400.0, 400 + 10 * bands, 10), divisor, f"made as {name}")


def kept(tmp_path: Path, *scenes: Scene) -> Store:
    write_store(tmp_path / "scenes.h5", scenes, sources=SOURCES, dataset="toys")
    return Store(tmp_path / "scenes.h5")


def stored_type(store: Store, name: str) -> np.dtype:
    with h5py.File(store.path, "r") as file:
        return file["scenes"][name].dtype


@pytest.mark.parametrize("divisor", [65535.0, 10000.0, 8000.0, 4095.0, 63382.0, 255.0])
def test_integers_come_back_to_the_last_bit_from_half_the_space(tmp_path: Path, divisor: float) -> None:
    scene = counted(divisor=divisor)
    store = kept(tmp_path, scene)
    assert stored_type(store, "a") == np.uint16
    back = store.read("a")
    assert back.cube.tobytes() == scene.cube.tobytes()
    assert back.cube.dtype == np.float32
    assert (back.name, back.divisor, back.source) == ("a", divisor, "made as a")
    assert np.array_equal(back.wavelengths, scene.wavelengths)


@pytest.mark.parametrize(
    ("value", "divisor"),
    [(0.3, 65535.0), (-1.0, 65535.0), (70000 / 65535, 65535.0), (-0.0, 65535.0), (0.5, 1.0), (0.3, 1e6)],
)
def test_other_values_are_kept_as_floats(tmp_path: Path, value: float, divisor: float) -> None:
    whole = counted(divisor=1.0 if divisor == 1 else 65535.0)
    cube = whole.cube.copy()
    cube[-1, -1, -1] = value
    scene = Scene("a", cube, whole.wavelengths, divisor, "")
    store = kept(tmp_path, scene)
    assert stored_type(store, "a") == np.float32
    assert store.read("a").cube.tobytes() == cube.tobytes()


def test_a_part_is_read_as_it_would_be_cropped(tmp_path: Path) -> None:
    scene = counted()
    part = kept(tmp_path, scene).read("a", (60, 70), (3, 66))
    assert np.array_equal(part.cube, scene.cube[:, 60:70, 3:66])
    with pytest.raises(HsisrError, match="rows of scene a: 60 to 71"):
        Store(tmp_path / "scenes.h5").read("a", (60, 71))


def test_chunks_hold_all_bands_of_a_place(tmp_path: Path) -> None:
    store = kept(tmp_path, counted("a"), counted("b", side=9))
    with h5py.File(store.path, "r") as file:
        assert file["scenes"]["a"].chunks == (3, 64, 64)
        assert file["scenes"]["b"].chunks == (3, 9, 14)
        assert file["scenes"]["a"].compression == "gzip"


def test_unknown_wavelengths_stay_unknown(tmp_path: Path) -> None:
    scene = Scene("a", np.ones((2, 4, 4), np.float32), np.full(2, np.nan), 1.0, "")
    store = kept(tmp_path, scene)
    assert not store.read("a").wavelengths_known
    assert np.isnan(store.wavelengths("a")).all()


def test_a_store_tells_what_it_holds(tmp_path: Path) -> None:
    store = kept(tmp_path, counted("b"), counted("a", bands=4))
    assert store.names == ["a", "b"]
    assert store.shape("a") == (4, 70, 75)
    assert (store.dataset, store.sources) == ("toys", SOURCES)
    with pytest.raises(HsisrError, match=r"no scene 'c'\. It holds: a, b"):
        store.read("c")


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    a, b = counted("a"), counted("b")
    first = kept(tmp_path, a, b).fingerprint
    assert kept(tmp_path, b, a).fingerprint == first
    # the same values kept as floats, read in another way
    assert kept(tmp_path, Scene("a", a.cube, a.wavelengths, 1.0, "other"), b).fingerprint == first
    changed = a.cube.copy()
    changed[1, 2, 3] = np.nextafter(changed[1, 2, 3], np.float32(1))
    others = [
        Scene("a", changed, a.wavelengths, a.divisor, a.source),
        Scene("a", a.cube, a.wavelengths + 1e-9, a.divisor, a.source),
        Scene("c", a.cube, a.wavelengths, a.divisor, a.source),
        Scene("a", a.cube.reshape(3, 75, 70), a.wavelengths, a.divisor, a.source),
    ]
    assert len({first, *(kept(tmp_path, other, b).fingerprint for other in others)}) == 5


def test_scenes_are_taken_one_at_a_time(tmp_path: Path) -> None:
    alive: list[weakref.ref[np.ndarray]] = []

    def make(name: str) -> Scene:
        scene = counted(name)
        alive.append(weakref.ref(scene.cube))
        return scene

    def scenes() -> Iterator[Scene]:
        for name in "abc":
            assert all(ref() is None for ref in alive)
            yield make(name)

    write_store(tmp_path / "s.h5", scenes(), sources=[], dataset="toys")
    assert len(alive) == 3


def test_a_store_can_be_sent_to_another_process(tmp_path: Path) -> None:
    scene = counted()
    store = kept(tmp_path, scene)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert np.array_equal(pool.submit(store.read, "a").result().cube, scene.cube)


def test_two_scenes_of_one_name_leave_the_old_file(tmp_path: Path) -> None:
    store = kept(tmp_path, counted())
    before = store.path.read_bytes()
    with pytest.raises(ValueError, match="name already exists"):
        write_store(store.path, [counted(), counted()], sources=[], dataset="toys")
    assert store.path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["scenes.h5"]


def test_many_sources_fit(tmp_path: Path) -> None:
    sources = [(f"scene{i}/scene{i}_ms_{i % 31}.png", i, f"{i:064x}") for i in range(1000)]
    write_store(tmp_path / "s.h5", [counted()], sources=sources, dataset="toys")
    assert Store(tmp_path / "s.h5").sources == sources


def test_a_store_truncated_anywhere_is_refused(tmp_path: Path) -> None:
    data = kept(tmp_path, counted(side=20)).path.read_bytes()
    path = tmp_path / "cut.h5"
    for length in [*range(0, len(data), 501), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(HsisrError, match=r"cut\.h5 cannot be read .* Delete it and prepare"):
            Store(path)


def test_damaged_pixels_are_noticed(tmp_path: Path) -> None:
    store = kept(tmp_path, counted(side=64))
    with h5py.File(store.path, "r") as file:
        chunk = file["scenes"]["a"].id.get_chunk_info(0)
    data = bytearray(store.path.read_bytes())
    data[chunk.byte_offset + chunk.size // 2] ^= 1
    store.path.write_bytes(data)
    with pytest.raises(HsisrError, match="damaged"):
        store.read("a")


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["scenes"] = np.zeros((3, 4, 4))
    with pytest.raises(HsisrError, match="cannot be read as a store of prepared scenes"):
        Store(path)
    with pytest.raises(HsisrError, match="does not exist"):
        Store(tmp_path / "no.h5")
    store = kept(tmp_path, counted())
    with h5py.File(store.path, "r+") as file:
        file.move("sources", "other")
    with pytest.raises(HsisrError, match=r"lacks its sources .* Delete it"):
        Store(store.path)
    with h5py.File(store.path, "r+") as file:
        file.attrs["hsisr_format"] = 99
    with pytest.raises(HsisrError, match=r"version 99; expected version 2\. Delete it"):
        Store(store.path)


def test_a_store_of_the_first_version_opens(tmp_path: Path) -> None:
    """Its texts have a variable length, and it has no masks."""
    store = kept(tmp_path, counted())
    with h5py.File(store.path, "r+") as file:
        for item in (file, *file["scenes"].values()):
            for name in ("dataset", "fingerprint", "source"):
                if name in item.attrs:
                    item.attrs[name] = item.attrs[name].decode()
        file.attrs["hsisr_format"] = 1
        del file["masks"], file["sources"]
        file["sources"] = "[]"
    old = Store(store.path)
    assert (old.dataset, old.fingerprint, old.names) == (store.dataset, store.fingerprint, store.names)
    scene, same = old.read(old.names[0]), store.read(store.names[0])
    assert scene.source == same.source
    assert np.array_equal(scene.cube, same.cube)


_ON_A_SMALL_DISK = """
import os, numpy as np
from hsisr_core.data import Scene, write_store
from hsisr_core.errors import HsisrError
rng = np.random.default_rng(0)
def scenes():
    for i in range(4):
        yield Scene(f"s{i}", rng.random((8, 128, 128), dtype=np.float32), 400.0 + np.arange(8), 1.0, "")
write_store("scenes.h5", [next(scenes())], sources=[], dataset="toys")
old = open("scenes.h5", "rb").read()
try:
    write_store("scenes.h5", scenes(), sources=[], dataset="toys")
except HsisrError as error:
    assert open("scenes.h5", "rb").read() == old
    assert os.listdir() == ["scenes.h5"], os.listdir()
    print(error)
"""


def test_a_full_disk_is_one_clear_error_and_changes_nothing(tmp_path: Path) -> None:
    """On a real disk of 2.6 MB, in a name space of its own: nothing outside the test sees it."""
    unshare = shutil.which("unshare")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["sh", "-c", 'mount -t tmpfs -o size=2600k none "$0" && cd "$0" && exec "$@"', str(disk)]
    if (
        unshare is None
        or subprocess.run([unshare, "-rm", *mount, "true"], capture_output=True).returncode != 0
    ):
        pytest.skip("this machine does not let a test mount a small disk of its own (Linux, unshare -rm)")
    done = subprocess.run(
        [unshare, "-rm", *mount, sys.executable, "-c", _ON_A_SMALL_DISK],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "No space left on the disk: scenes.h5 is as it was" in done.stdout


@pytest.mark.parametrize("way", ["external", "virtual", "link", "number"])
def test_a_store_that_needs_another_file_or_type_is_refused(tmp_path: Path, way: str) -> None:
    path = kept(tmp_path, counted()).path
    shape = (3, 70, 75)
    shutil.copy(path, tmp_path / "other.h5")
    with h5py.File(path, "r+") as file:
        scenes = file["scenes"]
        wavelengths = scenes["a"].attrs["wavelengths"]
        if way == "number":
            file.attrs["dataset"] = 7
        else:
            del scenes["a"]
        if way == "external":
            scenes.create_dataset("a", shape, "<u2", external=[(str(tmp_path / "other.h5"), 0, 10**6)])
        elif way == "virtual":
            layout = h5py.VirtualLayout(shape, "<u2")
            layout[...] = h5py.VirtualSource(str(tmp_path / "other.h5"), "scenes/a", shape)
            scenes.create_virtual_dataset("a", layout)
        elif way == "link":
            scenes["a"] = h5py.ExternalLink("other.h5", "scenes/a")
        if way in ("external", "virtual"):
            scenes["a"].attrs["wavelengths"] = wavelengths
    with pytest.raises(HsisrError, match="another type" if way == "number" else "has no scene 'a'"):
        Store(path).read("a")
