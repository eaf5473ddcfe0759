from __future__ import annotations

import numpy as np
import pytest

from hsisr_core.data import Scene
from hsisr_core.errors import HsisrError


def make(name: str = "toy", wavelengths: object = None) -> Scene:
    cube = np.arange(3 * 5 * 7, dtype=np.float32).reshape(3, 5, 7) / 200
    centres = np.array([400.0, 410.0, 420.0]) if wavelengths is None else wavelengths
    return Scene(name, cube, centres, 200.0, "made here")  # type: ignore[arg-type]


def test_axes_are_bands_height_width() -> None:
    scene = make()
    assert (scene.bands, scene.height, scene.width) == (3, 5, 7)


def test_crop_takes_rows_then_columns_and_copies() -> None:
    scene = make()
    part = scene.crop((1, 3), (2, 6))
    assert part.cube.shape == (3, 2, 4)
    assert part.cube[1, 0, 0] == scene.cube[1, 1, 2]
    assert part.wavelengths is scene.wavelengths
    part.cube[:] = 0
    assert scene.cube[1, 1, 2] > 0
    assert scene.crop(None, (2, 6)).cube.shape == (3, 5, 4)


@pytest.mark.parametrize("rows", [(0, 6), (-1, 3), (3, 3), (4, 2)])
def test_crop_outside_the_scene_is_refused(rows: tuple[int, int]) -> None:
    with pytest.raises(HsisrError, match=rf"rows of scene toy: {rows[0]} to {rows[1]} .* 0 to 5"):
        make().crop(rows)


def test_unknown_wavelengths_are_nan_and_say_so() -> None:
    assert make().wavelengths_known
    assert not make(wavelengths=np.full(3, np.nan)).wavelengths_known


@pytest.mark.parametrize(
    ("wavelengths", "message"),
    [
        (np.array([400.0, 410.0]), "2 wavelengths of float64; expected"),
        (np.array([400.0, -400.0, 410.0]), "must be positive"),
        (np.array([400.0, np.nan, 410.0]), "must be positive"),
        (np.array([400, 410, 420]), "expected float64"),
    ],
)
def test_bad_wavelengths_are_refused(wavelengths: np.ndarray, message: str) -> None:
    with pytest.raises(HsisrError, match=message):
        make(wavelengths=wavelengths)


@pytest.mark.parametrize("name", ["", "a/b", ".hidden"])
def test_names_that_a_store_cannot_hold_are_refused(name: str) -> None:
    with pytest.raises(HsisrError, match="not usable"):
        make(name=name)


def test_a_cube_must_be_float32_with_three_axes() -> None:
    with pytest.raises(HsisrError, match="float64 of "):
        Scene("toy", np.zeros((3, 4, 4)), np.arange(3.0), 1.0, "")  # type: ignore[arg-type]
    with pytest.raises(HsisrError, match=r"\(4, 4\)"):
        Scene("toy", np.zeros((4, 4), np.float32), np.arange(4.0), 1.0, "")
