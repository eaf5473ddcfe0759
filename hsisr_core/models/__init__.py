"""The networks. `build_model` is the one way to make one by name."""

from __future__ import annotations

import inspect
from typing import Any

from hsisr_core.errors import HsisrError
from hsisr_core.models.base import SuperResolver
from hsisr_core.models.bicubic import Bicubic
from hsisr_core.models.edsr import EDSR
from hsisr_core.models.ercsr import ERCSR
from hsisr_core.models.fcnn3d import FCNN3D
from hsisr_core.models.gdrrn import GDRRN
from hsisr_core.models.mcnet import MCNet
from hsisr_core.models.operations import (
    count_parameters,
    multiply_adds,
    multiply_adds_by_part,
)
from hsisr_core.models.sfcsr import SFCSR
from hsisr_core.models.ssrnet import SSRNet

# in the order of Table V, then of their papers
MODELS: dict[str, type[SuperResolver]] = {
    "bicubic": Bicubic,
    "gdrrn": GDRRN,
    "3d-fcnn": FCNN3D,
    "edsr": EDSR,
    "ssrnet": SSRNet,
    "mcnet": MCNet,
    "sfcsr": SFCSR,
    "ercsr": ERCSR,
}


def option_names(name: str) -> tuple[str, ...]:
    """The keywords of a network but for `scale` and `bands`."""
    if name not in MODELS:
        raise HsisrError(
            f"method {name!r} is unknown: choose one of "
            f"{', '.join(sorted(MODELS))}."
        )
    keywords = inspect.signature(MODELS[name]).parameters
    return tuple(key for key in keywords if key not in ("scale", "bands"))


def build_model(
    name: str, scale: int, bands: int, **options: Any
) -> SuperResolver:
    """Make a network by name.

    Parameters
    ----------
    name : str
        A key of `MODELS`.
    scale : {2, 3, 4}
        Factor r.
    bands : int
        Bands of the cubes it will see. GDRRN and EDSR treat bands as channels
        and need it; the others take any number (SFCSR: at least 3).
    **options
        The network's own keywords, for example ``features=16``.

    Raises
    ------
    HsisrError
        Unknown name or option, or a value the network refuses.
    """
    valid = option_names(name)
    if isinstance(bands, bool) or not isinstance(bands, int) or bands < 1:
        raise HsisrError(
            f"bands={bands!r} is not possible: a cube has at least 1 band."
        )
    for option in sorted(set(options) - set(valid)):
        raise HsisrError(
            f"{name} has no option {option!r}. Its options: "
            f"{', '.join(valid) or 'none'}."
        )
    if "bands" in inspect.signature(MODELS[name]).parameters:
        options["bands"] = bands
    return MODELS[name](scale=scale, **options)
