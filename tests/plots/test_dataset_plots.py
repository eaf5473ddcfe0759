"""What the figures of datasets draw: regions, spectra and facts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from hsisr_core.data import Dataset, Region, Scene, Split, Store, write_store
from hsisr_core.plots import (
    contact_sheets,
    dataset_spectra,
    dataset_table,
    split_map,
    stores_at_hand,
)
from hsisr_core.plots.style import STYLE

NM = np.arange(400.0, 431, 10)


def store_of(path: Path, dataset: str, *cubes: np.ndarray, nm: np.ndarray = NM) -> Store:
    scenes = [Scene(f"s{i}", cube.astype(np.float32), nm, 1.0, "") for i, cube in enumerate(cubes)]
    write_store(path, scenes, sources=[], dataset=dataset)
    return Store(path)


def noise(seed: int, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).random((4, 20, 30)) * scale


def test_what_is_at_hand_and_how_to_get_the_rest(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HSISR_DATASETS", raising=False)
    store = store_of(tmp_path / "own.h5", "own", noise(1), noise(2))
    dataset = Dataset("own", Split("own", "own", (Region("a", "s0"),), (Region("b", "s1"),)), store)
    stores, missing = stores_at_hand(dataset)
    assert list(stores) == ["own"]
    assert list(missing) == ["cave", "harvard", "foster"]
    assert missing["foster"] == (
        "python data_scripts/fetch.py foster",
        "python data_scripts/prepare.py foster data/foster --out data/foster/scenes.h5",
    )
    store_of(project / "data" / "foster" / "scenes.h5", "foster", noise(3))
    stores, missing = stores_at_hand(dataset)
    assert list(stores) == ["own", "foster"]
    assert list(missing) == ["cave", "harvard"]


def test_a_contact_sheet_has_scenes_from_the_whole_list(tmp_path: Path) -> None:
    store = store_of(tmp_path / "a.h5", "a", *(noise(i).repeat(10, 1).repeat(10, 2) for i in range(10)))
    (figure,) = contact_sheets({"a": store}, most=4)
    # in the book's small type: long names of neighbours do not meet
    assert figure.axes[0].title.get_fontsize() == STYLE["axes.titlesize"]
    titles = [axes.get_title().split("\n")[0] for axes in figure.axes if axes.get_title()]
    assert titles == ["s0", "s3", "s6", "s9"]
    assert "4 bands, 200×300" in figure.axes[0].get_title()  # of the scene, not of its thumbnail
    assert figure.axes[0].images[0].get_size() == (100, 150)


def test_spectra_are_means_over_scenes_in_the_range_of_scenes(tmp_path: Path) -> None:
    flat = np.ones((4, 6, 6)) * np.array([0.1, 0.2, 0.3, 0.4])[:, None, None]
    flat[:, ::2] *= 1.5
    known = store_of(tmp_path / "a.h5", "a", flat, flat * 0.5)
    unknown = store_of(tmp_path / "b.h5", "b", noise(1), nm=np.full(4, np.nan))
    figure = dataset_spectra({"known": known, "unknown": unknown})
    left, right = figure.axes
    (line,) = left.lines
    assert line.get_xdata() == pytest.approx(NM)
    assert line.get_ydata() == pytest.approx(np.array([0.1, 0.2, 0.3, 0.4]) * 1.25 * 0.75)
    marks = {mark.get_label(): mark for mark in right.lines}
    assert marks["known"].get_xdata() == pytest.approx([0.3125, 0.15625])
    assert marks["known"].get_ydata() == pytest.approx([0.0625, 0.03125])
    assert np.size(marks["unknown"].get_xdata()) == 1


def test_the_table_says_how_datasets_differ(tmp_path: Path) -> None:
    band = np.tile([0.0, 0.4], (20, 15))  # columns of 0 and 0.4
    stripes = np.stack([band, band, 0.4 - band, np.zeros_like(band)])
    lit = stripes.copy()
    lit[:, :5] = (
        0  # a quarter is dark in all bands; so are no others, for every second column is lit in band 3
    )
    table = dataset_table({"stripes": store_of(tmp_path / "a.h5", "a", stripes, lit)}).iloc[0]
    assert (table["scenes"], table["bands"], table["nm"], table["pixels"]) == (2, 4, "400 to 430", "20×30")
    # of all four bands, the dead one included; the second scene has 3/4 of the first
    assert table["mean"] == pytest.approx((0.15 + 0.1125) / 2)
    assert table["zero"] == pytest.approx((0 + 0.25) / 2)
    first = dataset_table({"stripes": store_of(tmp_path / "b.h5", "a", stripes)}).iloc[0]
    assert first["contrast"] == pytest.approx(1)
    # every step along a row is twice the standard deviation, none down a column is anything
    assert first["detail"] == pytest.approx(np.sqrt(2))
    assert first["link"] == pytest.approx(0)  # median of 1 and -1; the dead band has none


def farm_or_town(name: str) -> Scene:
    cube = np.random.default_rng(17).random((17, 20, 24)).astype(np.float32)
    return Scene(name, cube, np.linspace(400, 700, 17), 1.0, "random")


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Two scenes; the first is cut into a training and a test region and leaves its last rows unused."""
    path = tmp_path / "scenes.h5"
    write_store(
        path, [farm_or_town("farm"), farm_or_town("town")], sources=[("farm/a", 1, "0")], dataset="small"
    )
    regions = (Region("west", "farm", (0, 16), (0, 12)), Region("town", "town"))
    split = Split("small", "small", train=regions, test=(Region("east", "farm", (0, 16), (12, 24)),), note="")
    return Dataset("small", split, Store(path))


def frames(panel: Axes) -> list[Rectangle]:
    return [patch for patch in panel.patches if isinstance(patch, Rectangle)]


def test_split_map_frames_each_region_in_its_scene(dataset: Dataset) -> None:
    farm, town = split_map(dataset).axes
    assert [text.get_text() for text in farm.texts] == ["train: west", "test: east"]
    assert [text.get_text() for text in town.texts] == ["train"]
    west, east = frames(farm)
    centres = [(f.get_x() + f.get_width() / 2, f.get_y() + f.get_height() / 2) for f in (west, east)]
    np.testing.assert_allclose(centres, [(5.5, 7.5), (17.5, 7.5)])
    assert west.get_edgecolor() != east.get_edgecolor()
    assert west.get_linestyle() != east.get_linestyle()


def test_split_map_pales_what_no_region_uses(dataset: Dataset) -> None:
    farm, town = (np.asarray(axes.images[0].get_array()) for axes in split_map(dataset).axes)
    assert farm[16:].min() >= 0.65
    assert farm[:16].min() < 0.1
    assert town.min() < 0.1


def test_split_map_shows_test_scenes_first_when_there_are_too_many(dataset: Dataset) -> None:
    figure = split_map(dataset, limit=1)
    assert [axes.get_title() for axes in figure.axes] == ["farm\n20×24"]
    assert figure.get_suptitle() == "1 of 2 scenes"
