"""Whole scenes, tiles and the self-ensemble give the values they must."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch

from hsisr_core.errors import HsisrError
from hsisr_core.models import Bicubic, SSRNet, build_model
from hsisr_core.predict import super_resolve, super_resolve_tiles


def cube(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape).astype(np.float32)


def network(scale: int = 2, **options) -> SSRNet:
    torch.manual_seed(0)
    model = SSRNet(scale, features=4, modules=1, units=1, init="he", **options)
    model.set_mean(torch.tensor([0.4, 0.5, 0.6]))
    return model


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("tile", [3, 8, 30])
@pytest.mark.parametrize("mirror", [0, 4])
def test_tiles_equal_the_whole(scale: int, tile: int, mirror: int) -> None:
    lr = cube(3, 21, 26)
    model = network(scale).eval()
    model.mirror = mirror
    np.testing.assert_allclose(super_resolve(model, lr, tile=tile), super_resolve(model, lr), atol=1e-5)


@pytest.mark.parametrize("tile", [3, 7])
def test_tiles_equal_the_whole_for_bicubic_away_from_seams(tile: int) -> None:
    lr = cube(2, 16, 19)
    model = build_model("bicubic", 3, 2)
    np.testing.assert_allclose(super_resolve(model, lr, tile=tile), super_resolve(model, lr), atol=1e-6)


def test_a_halo_too_small_would_show() -> None:
    """The test above can fail: one pixel less of halo changes the values."""
    lr = cube(3, 21, 26)
    model = network().eval()
    whole = super_resolve(model, lr)
    model.halo = 1
    assert np.abs(super_resolve(model, lr, tile=8) - whole).max() > 1e-4


def test_a_tile_is_gone_before_the_next_one_is_made() -> None:
    lr = torch.from_numpy(cube(3, 20, 20))
    made: list[weakref.ref[torch.Tensor]] = []

    def read(rows: slice, columns: slice) -> torch.Tensor:
        assert all(tile() is None for tile in made)
        return lr[:, rows, columns]

    for _, _, sr in super_resolve_tiles(network(), read, (20, 20), 10):
        assert sr.shape == (3, 20, 20)
        made.append(weakref.ref(sr._base if sr._base is not None else sr))
        del sr
    assert len(made) == 4


def test_the_model_is_left_as_it_was() -> None:
    model = network().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    super_resolve(model, cube(3, 8, 8))
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_self_ensemble_is_the_mean_over_eight_symmetries() -> None:
    lr = cube(3, 9, 12)
    model = network(3)
    expected = []
    for flip in (False, True):
        for turns in range(4):
            seen = np.rot90(lr[:, :, ::-1] if flip else lr, turns, (1, 2))
            back = np.rot90(super_resolve(model, seen), -turns, (1, 2))
            expected.append(back[:, :, ::-1] if flip else back)
    np.testing.assert_allclose(
        super_resolve(model, lr, self_ensemble=True), np.mean(expected, axis=0), atol=1e-5
    )


def test_self_ensemble_does_not_change_bicubic() -> None:
    lr = cube(2, 8, 10)
    np.testing.assert_allclose(
        super_resolve(Bicubic(2), lr, self_ensemble=True), super_resolve(Bicubic(2), lr), atol=1e-6
    )


@pytest.mark.parametrize(
    ("lr", "tile", "words"),
    [
        (np.zeros((8, 8), np.float32), None, r"\(bands, height, width\)"),
        (np.full((3, 8, 8), np.nan, np.float32), None, "NaN"),
        (np.zeros((3, 8, 8), np.float32), 0, "at least 1"),
        (np.zeros((5, 8, 8), np.float32), None, "3 bands and the cube has 5"),
    ],
)
def test_bad_input(lr: np.ndarray, tile: int | None, words: str) -> None:
    with pytest.raises(HsisrError, match=words):
        super_resolve(network(), lr, tile)
