"""The loops behind the metrics: odd memory layouts, and single against double precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hsisr_core.metric_kernels import as_tensor, errors_and_angles, similarity
from hsisr_core.metrics import score


def cubes(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    hr = rng.random(shape)
    return np.clip(hr + 0.1 * rng.standard_normal(shape), 0, 1).astype(np.float32), hr.astype(np.float32)


@pytest.mark.filterwarnings("error")
def test_any_layout_gives_the_same_score() -> None:
    sr, hr = cubes((3, 20, 65))
    expected = score(sr, hr)
    frozen = hr.copy()
    frozen.flags.writeable = False
    assert score(sr, frozen) == expected
    assert score(np.asfortranarray(sr), hr) == expected
    assert score(sr[:, ::-1, ::-1], hr[:, ::-1, ::-1]) == pytest.approx(expected, rel=1e-6)


def test_memory_is_shared_where_it_can_be() -> None:
    cube = np.zeros((2, 3, 4))
    as_tensor(cube)[0, 0, 0] = 1
    as_tensor(cube[:, ::-1])[1, 0, 0] = 1
    assert cube.sum() == 1


@pytest.mark.parametrize("shape", [(2, 11, 60), (1, 59, 11), (2, 112, 13)])
def test_similarity_in_single_precision(shape: tuple[int, int, int]) -> None:
    """One block of the filter, the first value of a second, and several."""
    sr, hr = map(torch.from_numpy, cubes(shape))
    assert similarity(sr, hr) == pytest.approx(similarity(sr.double(), hr.double()), abs=1e-6)
    assert similarity(hr, hr) == 1
    assert similarity(sr, hr.double()) == similarity(sr.double(), hr.double())


def test_errors_and_angles_leave_their_input_alone() -> None:
    sr, hr = (torch.from_numpy(cube).double() for cube in cubes((4, 5, 6)))
    before = sr.clone(), hr.clone()
    errors, angles, lit = errors_and_angles(sr, hr)
    assert torch.equal(sr, before[0])
    assert torch.equal(hr, before[1])
    np.testing.assert_allclose(errors, ((sr - hr) ** 2).mean(dim=(1, 2)).numpy(), rtol=1e-14)
    assert angles.shape == lit.shape == (30,)
