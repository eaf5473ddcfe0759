"""What the map of a split draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from hsisr_core.data import Dataset, Region, Scene, Split, Store, write_store
from hsisr_core.plots import split_map


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
