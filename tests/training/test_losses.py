"""Losses against values by hand, and gradients that stay finite where an angle has none."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
import torch

import hsisr_core.training.losses as losses
from hsisr_core.metrics import sam
from hsisr_core.runs import RunConfig
from hsisr_core.training.losses import LOSSES, spectral_angle


def pixels(*spectra: list[float]) -> torch.Tensor:
    """(1, bands, 1, pixels)."""
    return torch.tensor(spectra).T[None, :, None, :].clone()


def test_values_by_hand() -> None:
    """Two pixels of two bands: 45 degrees and 90 degrees apart, squared errors 1, 0, 1, 1."""
    sr, hr = pixels([1.0, 0.0], [0.0, 1.0]), pixels([1.0, 1.0], [1.0, 0.0])
    mse, angle = 3 / 4, (math.pi / 4 + math.pi / 2) / 2
    by_hand = {
        "l1": 3 / 4,
        "l1+0.1*sam": 3 / 4 + 0.1 * angle,
        "mse": mse,
        "0.5*mse+0.5*sam": 0.5 * mse + 0.5 * angle,
        "mse+0.1*sam": mse + 0.1 * angle,
    }
    assert {name: pytest.approx(float(loss(sr, hr)), rel=1e-6) for name, loss in LOSSES.items()} == by_hand


def test_the_angle_is_the_metric_in_radians() -> None:
    rng = np.random.default_rng(0)
    hr = rng.random((7, 6, 5)).astype(np.float32)
    sr = (hr + 0.1 * rng.standard_normal(hr.shape)).astype(np.float32)
    hr[:, 2, 3] = 0  # no angle there
    sr[:, 4, 1] = 0  # a right angle there
    angle = spectral_angle(torch.from_numpy(sr)[None], torch.from_numpy(hr)[None])
    assert math.degrees(float(angle)) == pytest.approx(sam(sr, hr), rel=1e-5)


def test_small_angles_are_exact() -> None:
    """The arccosine in single precision would give 0 or 3e-4."""
    angle = 1e-5
    sr = pixels([math.cos(angle), math.sin(angle)])
    assert float(spectral_angle(sr, pixels([1.0, 0.0]))) == pytest.approx(angle, rel=1e-4)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("sr", "hr"),
    [
        ([0.0, 0.0], [0.0, 0.0]),
        ([0.0, 0.0], [0.5, 0.2]),
        ([0.5, 0.2], [0.0, 0.0]),
        ([0.5, 0.2], [0.5, 0.2]),
        ([0.25, 0.5], [0.5, 1.0]),
        ([-0.5, -0.2], [0.5, 0.2]),
        ([1e-30, 0.0], [0.5, 0.2]),
        ([1e-4, 0.0], [1e-30, 0.2]),
    ],
    ids=["both zero", "SR zero", "HR zero", "equal", "parallel", "opposite", "SR tiny", "dim"],
)
def test_gradients_are_finite(name: str, sr: list[float], hr: list[float]) -> None:
    start = pixels(sr, [0.3, 0.4]).requires_grad_()
    loss = LOSSES[name](start, pixels(hr, [0.4, 0.3]))
    loss.backward()
    assert math.isfinite(loss.item())
    assert start.grad is not None
    assert torch.isfinite(start.grad).all()
    assert start.grad[..., 1].abs().max() > 0


def test_the_gradient_of_the_angle_is_right() -> None:
    torch.manual_seed(0)
    sr, hr = torch.rand(2, 5, 3, 2, dtype=torch.float64), torch.rand(2, 5, 3, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(spectral_angle, (sr.requires_grad_(), hr))


def test_angles_without_any_light_are_no_loss() -> None:
    assert float(spectral_angle(torch.rand(1, 3, 2, 2), torch.zeros(1, 3, 2, 2))) == 0


@pytest.mark.parametrize("name", LOSSES)
def test_settings_take_every_loss(name: str) -> None:
    assert RunConfig(loss=name).loss == name


def test_the_book_shows_them_in_79_columns() -> None:
    assert max(map(len, inspect.getsource(losses).splitlines())) <= 79
