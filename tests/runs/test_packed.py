"""Stored weights are a network only where they fit their options, and are finite and in range."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from hsisr_core.errors import HsisrError
from hsisr_core.models import MODELS, build_model
from hsisr_core.runs import build_packed

OPTIONS: dict[str, Any] = {"features": 4, "modules": 1, "units": 1}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_what_was_stored_comes_back(name: str, dtype: torch.dtype) -> None:
    model = build_model(name, 2, 5)
    model.set_mean(torch.rand(5))
    stored = {key: value.to(dtype) for key, value in model.state_dict().items()}
    made = build_packed(stored, {"method": name, "scale": 2, "options": {}, "mirror": 3})
    assert made.mirror == 3
    assert not made.training
    for key, value in made.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, stored[key].float())


def spoil(value: float) -> Callable[[dict[str, Any], dict[str, Tensor]], object]:
    def change(options: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        tensors["head.bias"][0] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (spoil(torch.nan), "head.bias is not finite"),
        (spoil(torch.inf), "head.bias is not finite"),
        (spoil(-1e7), r"head.bias is not finite, or above 1e\+06"),
        (lambda options, tensors: options.update(modules=10**7), "more layers than it has"),
        (lambda options, tensors: options.update(modules=100, units=900), "more layers than it has"),
        (lambda options, tensors: options.update(features=1000), "of other options"),
        (lambda options, tensors: options.update(features=10**9), r"features=1000000000: .* 1 to 1024"),
        (lambda options, tensors: options.update(modules=None), "modules=None: expected a whole number"),
        (lambda options, tensors: options.update(mirror=-5), "mirror=-5: expected 0 to 1024"),
        (lambda options, tensors: options.update(mirror=10**9), "mirror=1000000000: expected 0 to 1024"),
        (lambda options, tensors: options.update(colour=1), "has no option 'colour'"),
    ],
)
def test_damaged_weights_and_options_are_refused(change: Callable[..., object], message: str) -> None:
    tensors = dict(build_model("ssrnet", 2, 5, **OPTIONS).state_dict())
    options = {**OPTIONS, "mirror": 0}
    change(options, tensors)
    info = {"method": "ssrnet", "scale": 2, "mirror": options.pop("mirror"), "options": options}
    with pytest.raises(HsisrError, match=message):
        build_packed(tensors, info)
