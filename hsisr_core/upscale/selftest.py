"""What can be said of a super-resolved cube without its ground truth.

Wald's protocol: the cube is reduced by the scale, super-resolved, and compared with itself. It measures how
well the network restores what the reduction took away, one scale further down; that the same holds at the
cube's own scale is assumed (Wald, Ranchin, Mangolini 1997).
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hsisr_core.degrade import make_pair
from hsisr_core.errors import HsisrError
from hsisr_core.models import SuperResolver
from hsisr_core.training.evaluate import evaluate
from hsisr_core.upscale.statistics import Statistics, differences
from hsisr_core.upscale.weights import Pretrained

__all__ = ["SELF_TEST_SIDE", "central", "far_from", "for_scene", "self_test"]

SELF_TEST_SIDE = 256  # pixels of the cube: of a larger one, the middle
_LEAST_SIDE = 16  # LR pixels a side


def central(height: int, width: int, side: int = SELF_TEST_SIDE) -> tuple[slice, slice]:
    """The rows and columns of the middle of a scene, at most `side` a side."""
    tops = [max(0, (length - side) // 2) for length in (height, width)]
    return slice(tops[0], min(tops[0] + side, height)), slice(tops[1], min(tops[1] + side, width))


def for_scene(
    weights: Pretrained, mean: NDArray[np.float32], wavelengths: NDArray[np.float64]
) -> tuple[SuperResolver, str]:
    """The network for a cube with these bands, and which mean it subtracts: "training" or "cube".

    The mean of the training images is kept with the weights, one value a band. A cube of other bands (another
    number, or another first or last wavelength) has its own `mean` subtracted instead.

    Raises
    ------
    HsisrError
        The network takes another number of bands.
    """
    if weights.bands not in (None, len(mean)):
        raise HsisrError(
            f"{weights.name} takes {weights.bands} bands and the cube has {len(mean)}. Choose {weights.bands} of "
            "them (--bands), or other weights."
        )
    model = copy.deepcopy(weights.model)
    trained = np.asarray(weights.statistics.wavelengths if weights.statistics else [])
    same = len(model.mean) == len(mean)
    if same and len(trained) == len(mean) and np.isfinite(wavelengths).all():
        reach = float(np.median(np.diff(trained))) / 2 if len(trained) > 1 else 1.0
        same = bool(np.abs(trained - wavelengths).max() <= reach)
    if len(model.mean) == 1 and not model.mean.any():
        return model, "none"  # interpolation subtracts nothing
    if not same:
        model.set_mean(torch.from_numpy(np.asarray(mean)))
    return model, "training" if same else "cube"


def far_from(weights: Pretrained, cube: NDArray[np.float32], wavelengths: NDArray[np.float64]) -> list[str]:
    """Say in which ways a cube differs from what the weights were trained on; empty: in none."""
    if weights.statistics is None:
        return ["what they were trained on is not known here"] if weights.sha256 else []
    return differences(weights.statistics, Statistics.of([cube], wavelengths))


def self_test(
    model: SuperResolver, cube: NDArray[np.float32], name: str = "network"
) -> dict[str, dict[str, Any]]:
    """Reduce a cube by the model's scale, super-resolve it, compare it with the cube (Wald's protocol).

    Parameters
    ----------
    model : SuperResolver
    cube : ndarray
        (bands, height, width), in [0, 1].
    name : str
        Of the model in the result.

    Returns
    -------
    dict
        "bicubic" and `name`: each with psnr, mpsnr (dB), ssim, sam (degrees), rmse, ergas.

    Raises
    ------
    HsisrError
        The cube is smaller than 16 times the scale a side.
    """
    if min(cube.shape[1:]) < _LEAST_SIDE * model.scale:
        raise HsisrError(
            f"The cube is {cube.shape[1]}x{cube.shape[2]} pixels; the self-test at scale {model.scale} needs "
            f"{_LEAST_SIDE * model.scale} a side. Leave it out (--no-check)."
        )
    rows = evaluate(model, {"self-test": make_pair(cube, model.scale)}, name)
    return {row["result"]: {key: row[key] for key in row if key not in ("image", "result")} for row in rows}
