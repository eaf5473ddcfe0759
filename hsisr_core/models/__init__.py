"""The networks. `build_model` is the one way to make one by name."""

from __future__ import annotations

import inspect
from typing import Any

from hsisr_core.errors import HsisrError
from hsisr_core.models.base import SuperResolver
from hsisr_core.models.bicubic import Bicubic
from hsisr_core.models.ssrnet import SSRNet

__all__ = [
    "MODELS",
    "Bicubic",
    "SSRNet",
    "SuperResolver",
    "build_model",
    "count_parameters",
]

MODELS: dict[str, type[SuperResolver]] = {"bicubic": Bicubic, "ssrnet": SSRNet}


def build_model(name: str, scale: int, bands: int, **options: Any) -> SuperResolver:
    """Make a network by name.

    Parameters
    ----------
    name : str
        A key of `MODELS`.
    scale : {2, 3, 4}
        Factor r.
    bands : int
        Bands of the cubes it will see. A network that treats bands as channels needs it; SSRNet and
        bicubic take any number.
    **options
        The network's own keywords, for example ``features=16``.

    Raises
    ------
    HsisrError
        Unknown name or option, or a value the network refuses.
    """
    if name not in MODELS:
        raise HsisrError(f"method {name!r} is unknown: choose one of {', '.join(sorted(MODELS))}.")
    if isinstance(bands, bool) or not isinstance(bands, int) or bands < 1:
        raise HsisrError(f"bands={bands!r} is not possible: a cube has at least 1 band.")
    valid = inspect.signature(MODELS[name]).parameters
    unknown = sorted(set(options) - set(valid))
    if unknown:
        own = ", ".join(key for key in valid if key not in ("scale", "bands")) or "none"
        raise HsisrError(f"{name} has no option {unknown[0]!r}. Its options: {own}.")
    if "bands" in valid:
        options["bands"] = bands
    return MODELS[name](scale=scale, **options)


def count_parameters(model: SuperResolver) -> int:
    """Number of trainable values of `model` (the stored mean is not one)."""
    return sum(parameter.numel() for parameter in model.parameters())
