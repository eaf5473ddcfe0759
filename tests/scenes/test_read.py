from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hsisr_core.data import read_scene
from hsisr_core.errors import HsisrError
from hsisr_core.scenes import scene_files, scene_name


def test_indian_pines_has_31_bands_spread_over_the_spectrum() -> None:
    scene = read_scene("indian-pines")
    assert scene.cube.shape == (31, 145, 145)
    assert scene.name == "indian-pines"
    assert (scene.wavelengths[0], scene.wavelengths[-1]) == (400.02, 2498.96)
    assert (np.diff(scene.wavelengths) > 0).all()
    assert np.array_equal(read_scene("Indian_Pines").cube, scene.cube)


def test_indian_pines_is_divided_by_its_declared_range_not_by_its_maximum() -> None:
    scene = read_scene("indian-pines", bands="all")
    assert scene.divisor == 10000
    assert scene.cube.max() == np.float32(0.9604)
    assert scene.cube.min() == np.float32(0.0955)


def test_indian_pines_bands_follow_their_wavelengths_where_the_detectors_overlap() -> None:
    from tensorly.datasets import load_indian_pines

    data = load_indian_pines()
    ticks = np.array(data.ticks[1])
    assert (np.diff(ticks) < 0).sum() == 3
    scene = read_scene("indian-pines", bands=200)
    assert (np.diff(scene.wavelengths) > 0).all()
    for nm in (686.53, 686.91, 696.5, 1273.0, 1282.55, 2270.15):
        mine = scene.cube[np.flatnonzero(scene.wavelengths == nm)[0]]
        theirs = np.asarray(data.tensor)[:, :, np.flatnonzero(ticks == nm)[0]]
        assert np.array_equal(mine, (theirs / 10000).astype(np.float32))


def test_bands_by_number_and_by_list_come_from_the_sorted_cube() -> None:
    whole = read_scene("indian-pines", bands="all")
    two = read_scene("indian-pines", bands=2)
    assert np.array_equal(two.wavelengths, [400.02, 2498.96])
    spread = np.linspace(0, 199, 31).round().astype(int)
    assert np.array_equal(read_scene("indian-pines").cube, whole.cube[spread])
    some = read_scene("indian-pines", bands=[5, 30, 31])
    assert np.array_equal(some.cube, whole.cube[[5, 30, 31]])
    assert np.array_equal(some.wavelengths, whole.wavelengths[[5, 30, 31]])


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        (0, r"bands=0: indian-pines has 200; expected .* from 1 to 200"),
        (201, r"bands=201: indian-pines has 200"),
        (True, "a number from 1 to 200"),
        ("many", "a number from 1 to 200"),
        ([], "a number from 1 to 200"),
        ([0.5], "a number from 1 to 200"),
        ([3, 200], "from 0 to 199"),
        ([-1, 3], "from 0 to 199"),
        ([3, 3], "increasing"),
        ([5, 3], "increasing"),
    ],
)
def test_bad_bands_are_refused(bands: object, message: str) -> None:
    with pytest.raises(HsisrError, match=message):
        read_scene("indian-pines", bands=bands)  # type: ignore[arg-type]


@pytest.mark.parametrize("divisor", [0, -1, float("nan"), float("inf")])
def test_bad_divisors_are_refused(divisor: object) -> None:
    with pytest.raises(HsisrError, match="expected a positive number"):
        read_scene("indian-pines", divisor=divisor)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wavelengths", "message"),
    [
        ([400, 500], r"expected 200 finite wavelengths .* found \[400, 500\]"),
        (["a"] * 200, "200 finite wavelengths in nm"),
        ([np.inf] * 200, "200 finite wavelengths in nm"),
    ],
)
def test_bad_wavelengths_are_refused(wavelengths: list[float], message: str) -> None:
    with pytest.raises(HsisrError, match=message):
        read_scene("indian-pines", wavelengths=wavelengths)


def test_unknown_names_list_the_known_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("indian-pine", "CAVE", ""):
        with pytest.raises(HsisrError, match=f"Unknown dataset '{name}'.* Known: indian-pines"):
            read_scene(name)


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "no.mat", str(tmp_path / "nothing")):
        with pytest.raises(HsisrError, match=r"(no\.mat|nothing) does not exist"):
            read_scene(path)


def test_a_folder_beside_the_embedded_cube_is_read_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "indian-pines").mkdir()
    monkeypatch.chdir(tmp_path)
    assert read_scene("indian-pines").width == 145
    with pytest.raises(HsisrError, match="no band PNGs"):
        read_scene(Path("indian-pines"))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(HsisrError, match="pip install 'tensorly"):
        read_scene("indian-pines")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("x/balloons_ms", "balloons"),
        ("x/balloons_ms.mat", "balloons"),
        ("x/cloth_ms_256.mat", "cloth"),
        ("x/cloth_256.MAT", "cloth"),
        ("x/scene4.mat", "scene4"),
        ("x/toy.v2_ms", "toy.v2"),
        ("x/_ms", "_ms"),
        ("x/cms", "cms"),
    ],
)
def test_scene_names(path: str, name: str) -> None:
    assert scene_name(path) == name


def test_the_files_of_a_scene_are_those_it_is_read_from(cave_folder: object, tmp_path: Path) -> None:
    folder = cave_folder()  # type: ignore[operator]
    (folder / "Thumbs.db").touch()
    assert [file.name for file in scene_files(folder)] == [f"toy_ms_{band:02d}.png" for band in range(1, 32)]
    (tmp_path / "a.mat").touch()
    assert scene_files(tmp_path / "a.mat") == [tmp_path / "a.mat"]
    assert [file.name for file in scene_files("indian-pines")] == ["Indian_pines_corrected.npy"]
