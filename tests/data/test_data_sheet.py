"""The data sheet finds what is wrong with prepared scenes, and only that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hsisr_core.data import Scene, Store, data_sheet, prepare, write_store

NM = np.arange(400.0, 701, 10)


def scene(name: str, seed: int, height: int = 40, width: int = 50) -> Scene:
    """A picture with values below 0.9, none of them special."""
    rng = np.random.default_rng(seed)
    smooth = rng.random((31, height // 10, width // 10)).repeat(10, 1).repeat(10, 2)
    cube = (smooth * 0.8 + rng.random((31, height, width)) * 0.09 + 0.001).astype(np.float32)
    return Scene(name, cube, NM, 1.0, "made")


def sheet_of(tmp_path: Path, *scenes: Scene, dataset: str = "mine") -> tuple[pd.DataFrame, list[str]]:
    write_store(tmp_path / "s.h5", scenes, sources=[], dataset=dataset)
    return data_sheet(Store(tmp_path / "s.h5"))


def test_nothing_is_off_with_two_good_scenes(tmp_path: Path) -> None:
    table, problems = sheet_of(tmp_path, scene("a", 1), scene("b", 2))
    assert problems == []
    cube = scene("a", 1).cube
    mean = pytest.approx(cube.mean(dtype=np.float64), rel=1e-9)
    assert tuple(table.iloc[0]) == ("a", 31, "40x50", cube.min(), cube.max(), mean)


def test_values_outside_the_range(tmp_path: Path) -> None:
    low, high = scene("low", 1), scene("high", 2)
    low.cube[0, 0, 0] = -0.01
    high.cube[0, 0, 0] = 1.01
    problems = sheet_of(tmp_path, low, high)[1]
    assert [problem.split(" has")[0] for problem in problems] == ["high", "low"]
    assert "from -0.0100 to" in problems[1]


def test_wavelengths_must_be_known_and_the_same(tmp_path: Path) -> None:
    problems = sheet_of(
        tmp_path,
        scene("a", 1),
        replace(scene("b", 2), wavelengths=NM + 20),
        replace(scene("c", 3), wavelengths=np.full(31, np.nan)),
    )[1]
    assert problems == ["b has other wavelengths than a.", "c has no wavelengths."]


def test_a_benchmark_is_compared_with_the_paper(tmp_path: Path) -> None:
    problems = sheet_of(tmp_path, scene("balloons", 1), scene("watercolors", 2), dataset="cave")[1]
    assert problems[0] == "2 scenes, the paper has 31."
    assert problems[1] == "balloons is 40x50 pixels, expected 512x512."
    harvard = sheet_of(tmp_path, scene("imga1", 1), dataset="harvard")[1]
    assert harvard == ["1 scenes, the paper has 77.", "imga1 is 40x50 pixels, expected 1040x1392."]
    problems = sheet_of(tmp_path, scene("Nogueiro", 1), dataset="foster")[1]
    assert problems[1] == "Nogueiro has 31 bands, expected 33."


def test_a_sample_is_compared_with_its_split(project: Path, tmp_path: Path) -> None:
    (project / "book" / "splits" / "toys.yaml").write_text(
        "name: toys\ndataset: toys\ntrain: [a]\ntest: [b]\n"
    )
    assert sheet_of(tmp_path, scene("a", 1), dataset="toys")[1] == [
        "the split toys needs b, which are not here."
    ]
    assert sheet_of(tmp_path, scene("a", 1), scene("b", 2), dataset="toys")[1] == []


@pytest.mark.slow
def test_the_real_sample_has_nothing_off(hsisr_data: Path, tmp_path: Path) -> None:
    store = prepare("cave", hsisr_data / "cave_sample", tmp_path / "s.h5", "cave-sample").store
    table, problems = data_sheet(store)
    assert problems == []
    assert table.set_index("scene").loc["stuffed_toys", "pixels"] == "512x512"
    assert (table.loc[table["scene"] != "cloth", "greatest"] > 0.85).all()
