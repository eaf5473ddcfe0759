"""The data sheet finds what is wrong with prepared scenes, and only that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hsisr_core.data import Scene, Sheet, Store, data_sheet, prepare, write_store
from hsisr_core.errors import HsisrError
from hsisr_core.plots import contact_sheet

NM = np.arange(400.0, 701, 10)


def scene(name: str, seed: int, height: int = 40, width: int = 50) -> Scene:
    """A picture with values below 0.9, none of them special."""
    rng = np.random.default_rng(seed)
    smooth = rng.random((31, height // 10, width // 10)).repeat(10, 1).repeat(10, 2)
    cube = (smooth * 0.8 + rng.random((31, height, width)) * 0.09 + 0.001).astype(np.float32)
    return Scene(name, cube, NM, 1.0, "made")


def sheet_of(tmp_path: Path, *scenes: Scene, dataset: str = "mine") -> Sheet:
    write_store(tmp_path / "s.h5", scenes, sources=[], dataset=dataset)
    return data_sheet(Store(tmp_path / "s.h5"))


def test_nothing_is_off_with_two_good_scenes(tmp_path: Path) -> None:
    sheet = sheet_of(tmp_path, scene("a", 1), scene("b", 2))
    assert sheet.problems == ()
    text = str(sheet)
    assert text.endswith("No problems found.")
    assert "400 to 700 nm, 31 bands" in text
    cube = scene("a", 1).cube
    mean = pytest.approx(cube.mean(dtype=np.float64), rel=1e-9)
    assert sheet.scenes[0] == ("a", 31, "40x50", cube.min(), cube.max(), mean)
    assert "40x50" in text


def test_values_outside_the_range(tmp_path: Path) -> None:
    low, high = scene("low", 1), scene("high", 2)
    low.cube[0, 0, 0] = -0.01
    high.cube[0, 0, 0] = 1.01
    problems = sheet_of(tmp_path, low, high).problems
    assert [problem.split(" has")[0] for problem in problems] == ["high", "low"]
    assert "from -0.0100 to" in problems[1]


def test_scenes_of_the_same_values_are_found(tmp_path: Path) -> None:
    one = scene("a", 1)
    problems = sheet_of(tmp_path, one, replace(one, name="b"), scene("c", 4)).problems
    assert problems == ("b and a hold the same values.",)


def test_wavelengths_must_be_known_and_the_same(tmp_path: Path) -> None:
    problems = sheet_of(
        tmp_path,
        scene("a", 1),
        replace(scene("b", 2), wavelengths=NM + 20),
        replace(scene("c", 3), wavelengths=np.full(31, np.nan)),
    ).problems
    assert problems == ("b has other wavelengths than a.", "c has no wavelengths.")


def test_a_benchmark_is_compared_with_the_paper(tmp_path: Path) -> None:
    problems = sheet_of(tmp_path, scene("balloons", 1), scene("watercolors", 2), dataset="cave").problems
    assert problems[0] == "2 scenes, the paper has 31."
    assert problems[1] == "balloons is 40x50 pixels, expected 512x512."
    assert problems[2].startswith("watercolors is no part of the benchmark: its bands are colour")
    harvard = sheet_of(tmp_path, scene("imga1", 1), dataset="harvard").problems
    assert harvard == ("1 scenes, the paper has 77.", "imga1 is 40x50 pixels, expected 1040x1392.")
    problems = sheet_of(tmp_path, scene("Nogueiro", 1), dataset="foster").problems
    assert problems[1] == "Nogueiro has 31 bands, expected 33."


def test_a_sample_is_compared_with_its_split(project: Path, tmp_path: Path) -> None:
    (project / "book" / "splits" / "toys.yaml").write_text(
        "name: toys\ndataset: toys\ntrain: [a]\ntest: [b]\n"
    )
    assert sheet_of(tmp_path, scene("a", 1), dataset="toys").problems == (
        "the split toys needs b, which are not here.",
    )
    assert sheet_of(tmp_path, scene("a", 1), scene("b", 2), dataset="toys").problems == ()


@pytest.mark.slow
def test_the_contact_sheet_is_a_picture_of_all_scenes(tmp_path: Path) -> None:
    sheet = sheet_of(tmp_path, *(scene(f"s{i}", i, 400, 500) for i in range(6)))
    assert next(iter(sheet.thumbnails)).cube.shape == (31, 134, 167)
    contact_sheet(sheet, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.width > 600
        assert np.asarray(image.convert("RGB")).std() > 20
    with pytest.raises(HsisrError, match=r"a\.jpg is not a name for the contact sheet"):
        contact_sheet(sheet, tmp_path / "a.jpg")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.png", "s.h5"]


@pytest.mark.slow
def test_the_real_sample_has_nothing_off(hsisr_data: Path, tmp_path: Path) -> None:
    store = prepare("cave", hsisr_data / "cave_sample", tmp_path / "s.h5", "cave-sample").store
    sheet = data_sheet(store)
    assert sheet.problems == ()
    assert {name: pixels for name, _, pixels, *_ in sheet.scenes}["stuffed_toys"] == "512x512"
    assert all(high > 0.85 or name == "cloth" for name, *_, high, _ in sheet.scenes)
