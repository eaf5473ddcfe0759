"""Every fast path against the plain implementations of benchmarks/plain.py: values, and gradients in training."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.plain import PlainSSRNet, plain_imresize, plain_of, plain_score
from hsisr_core.degrade import imresize
from hsisr_core.metrics import score
from hsisr_core.models import SSRNet, build_model
from hsisr_core.predict import super_resolve

SIZES = [(2, 4, 5, 7), (1, 1, 3, 2)]  # (batch, bands, height, width): odd sides, one band, all border
SWITCHES: list[dict[str, Any]] = [
    {"block": block, "order": order, "local_fusion": fusion, "global_residual": skip, "weight_norm": norm}
    for block, order, fusion, skip, norm in itertools.product(
        ["separable", "standard"],
        ["spatial-first", "spectral-first"],
        [True, False],
        [True, False],
        [True, False],
    )
    if block == "separable" or order == "spatial-first"  # a standard block has no order
]
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-10}
# every combination in double precision; in single precision every set of switches at one scale
CASES = [(scale, torch.float64, switches) for scale in (2, 3, 4) for switches in SWITCHES]
CASES += [((2, 3, 4)[index % 3], torch.float32, switches) for index, switches in enumerate(SWITCHES)]


def make_pair_of_models(
    scale: int, bands: int, dtype: torch.dtype, switches: dict[str, Any]
) -> tuple[SSRNet, PlainSSRNet]:
    """The same random network twice. Biases are large, so that a border rule which is wrong shows."""
    torch.manual_seed(0)
    options = {"features": 5, "modules": 2, "units": 2, **switches}
    model = build_model("ssrnet", scale, bands, **options)
    assert isinstance(model, SSRNet)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5 + torch.rand_like(parameter))
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.set_mean(torch.linspace(0.1, 0.4, bands))
    model.to(dtype)
    return model, plain_of(model, **options)


def cube(size: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.rand(size, dtype=dtype, generator=torch.Generator().manual_seed(1))


def assert_near(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Equal up to `tolerance` times the largest expected value."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize(("scale", "dtype", "switches"), CASES)
def test_network(scale: int, dtype: torch.dtype, switches: dict[str, Any]) -> None:
    for size in SIZES:
        model, plain = make_pair_of_models(scale, size[1], dtype, switches)
        lr = cube(size, dtype)
        wanted = lr.clone().requires_grad_()
        given = lr.clone().requires_grad_()
        expected, found = plain(wanted), model(given)
        assert_near(found, expected, TOLERANCES[dtype])
        weight = cube(tuple(expected.shape), dtype) - 0.5
        (expected * weight).sum().backward()
        (found * weight).sum().backward()
        assert_near(given.grad, wanted.grad, 10 * TOLERANCES[dtype])  # type: ignore[arg-type]
        gradients = dict(plain.named_parameters())
        for name, parameter in model.named_parameters():
            assert_near(parameter.grad, gradients[name].grad, 10 * TOLERANCES[dtype])  # type: ignore[arg-type]
        model.eval()
        with torch.inference_mode():
            assert_near(model(lr), expected, TOLERANCES[dtype])
            assert_near(model.folded()(lr), expected, TOLERANCES[dtype])


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_folding_of_the_plain_network(scale: int) -> None:
    model, plain = make_pair_of_models(scale, 3, torch.float64, {})
    lr = cube((1, 3, 4, 5), torch.float64)
    expected = model(lr)
    assert_near(plain.fold()(lr), expected, 1e-10)


@pytest.mark.parametrize("tile", [None, 9])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_whole_scenes(scale: int, tile: int | None) -> None:
    """With tiles, whose inner borders are no borders of the scene."""
    model, plain = make_pair_of_models(scale, 2, torch.float32, {"modules": 1, "units": 1})
    lr = cube((2, 23, 14), torch.float32)
    sr = super_resolve(model.eval(), lr.numpy(), tile=tile)
    with torch.inference_mode():
        assert_near(torch.from_numpy(sr), plain(lr[None])[0], 1e-5)


def test_score() -> None:
    rng = np.random.default_rng(2)
    hr = rng.random((3, 40, 71)).astype(np.float32)
    sr = hr + 0.1 * rng.standard_normal(hr.shape).astype(np.float32)
    found = score(sr, hr)
    for name, value in plain_score(sr, hr).items():
        assert found[name] == pytest.approx(value, abs=1e-5), name


@pytest.mark.parametrize("scale", [0.25, 0.5, 2, 4])
def test_imresize(scale: float) -> None:
    values = np.random.default_rng(3).random((3, 16, 20))
    np.testing.assert_allclose(imresize(values, scale), plain_imresize(values, scale), rtol=0, atol=1e-13)
