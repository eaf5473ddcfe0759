"""The networks. `build_model` is the one way to make one by name."""

from __future__ import annotations

import inspect
from typing import Any

from hsisr_core.errors import HsisrError
from hsisr_core.models.base import SuperResolver
from hsisr_core.models.bicubic import Bicubic
from hsisr_core.models.edsr import EDSR
from hsisr_core.models.fcnn3d import FCNN3D
from hsisr_core.models.gdrrn import GDRRN
from hsisr_core.models.ssrnet import SSRNet

__all__ = [
    "EDSR",
    "FCNN3D",
    "GDRRN",
    "MODELS",
    "Bicubic",
    "SSRNet",
    "SuperResolver",
    "build_model",
    "count_parameters",
    "option_names",
]

MODELS: dict[str, type[SuperResolver]] = {  # in the order of Table V
    "bicubic": Bicubic,
    "gdrrn": GDRRN,
    "3d-fcnn": FCNN3D,
    "edsr": EDSR,
    "ssrnet": SSRNet,
}


def option_names(name: str) -> tuple[str, ...]:
    """The keywords of a network but for `scale` and `bands`; HsisrError for an unknown name."""
    if name not in MODELS:
        raise HsisrError(f"method {name!r} is unknown: choose one of {', '.join(sorted(MODELS))}.")
    return tuple(key for key in inspect.signature(MODELS[name]).parameters if key not in ("scale", "bands"))


def build_model(name: str, scale: int, bands: int, **options: Any) -> SuperResolver:
    """Make a network by name.

    Parameters
    ----------
    name : str
        A key of `MODELS`.
    scale : {2, 3, 4}
        Factor r.
    bands : int
        Bands of the cubes it will see. GDRRN and EDSR treat bands as channels and need it; the others
        take any number.
    **options
        The network's own keywords, for example ``features=16``.

    Raises
    ------
    HsisrError
        Unknown name or option, or a value the network refuses.
    """
    valid = option_names(name)
    if isinstance(bands, bool) or not isinstance(bands, int) or bands < 1:
        raise HsisrError(f"bands={bands!r} is not possible: a cube has at least 1 band.")
    unknown = sorted(set(options) - set(valid))
    if unknown:
        raise HsisrError(f"{name} has no option {unknown[0]!r}. Its options: {', '.join(valid) or 'none'}.")
    if "bands" in inspect.signature(MODELS[name]).parameters:
        options["bands"] = bands
    return MODELS[name](scale=scale, **options)


def count_parameters(model: SuperResolver) -> int:
    """Number of trainable values of `model` (the stored mean is not one)."""
    return sum(parameter.numel() for parameter in model.parameters())
