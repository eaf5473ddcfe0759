"""Super-resolve whole scenes, in tiles where memory asks for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from hsisr_core.errors import HsisrError
from hsisr_core.fast.memory import reuse_memory
from hsisr_core.models import SuperResolver

__all__ = ["enlarged_tiles", "super_resolve"]


@torch.inference_mode()
def super_resolve(
    model: SuperResolver, lr: np.ndarray, tile: int | None = None, self_ensemble: bool = False
) -> np.ndarray:
    """Enlarge one LR cube.

    Parameters
    ----------
    model : SuperResolver
        Stays on its device and in its mode.
    lr : ndarray
        (bands, height, width), values in [0, 1]; a slight overshoot is normal in a bicubic LR cube.
    tile : int, optional
        Work in tiles of ``tile`` x ``tile`` LR pixels, each with the model's `halo` around it. The result
        equals the untiled one to rounding, since the halo covers the receptive field.
    self_ensemble : bool
        Average over the eight symmetries of the square (Lim et al. 2017, "EDSR+"): eight times the work.

    Returns
    -------
    ndarray
        SR cube (bands, r*height, r*width), float32, not clipped. NaN in the bands and pixels that the model
        lacks (`SuperResolver.margin`); ``model.kept(sr)`` is the cube without them.

    Raises
    ------
    HsisrError
        `lr` has not three dimensions or holds NaN or infinity; `tile` is smaller than 1; the model was
        trained on another number of bands.
    """
    if lr.ndim != 3:
        raise HsisrError(f"An LR cube has the shape (bands, height, width); this one has {lr.shape}.")
    if not np.isfinite(lr).all():
        raise HsisrError("The LR cube holds NaN or infinity: replace or crop those pixels first.")
    if tile is not None and (isinstance(tile, bool) or tile < 1):
        raise HsisrError(f"tile={tile!r}: expected at least 1 LR pixel, or None for the whole cube at once.")
    cube = torch.as_tensor(np.ascontiguousarray(lr, dtype=np.float32), device=device_of(model))
    network = model.folded()
    if not self_ensemble:
        return enlarge(network, cube, tile).numpy()
    total = torch.zeros(lr.shape[0], *(side * model.scale for side in lr.shape[1:]))
    for flip in (False, True):
        for turns in range(4):
            turned = torch.rot90(cube.flip(-1) if flip else cube, turns, (-2, -1))
            back = torch.rot90(enlarge(network, turned, tile), -turns, (-2, -1))
            total += back.flip(-1) if flip else back
    return (total / 8).numpy()


def device_of(model: SuperResolver) -> torch.device:
    """Where the values of `model` are."""
    return next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))


def enlarge(network: SuperResolver, cube: Tensor, tile: int | None) -> Tensor:
    """SR (bands, r*h, r*w) on the CPU of the LR `cube` (bands, h, w), tile by tile."""
    bands, height, width = cube.shape
    if tile is None or (tile >= height and tile >= width):
        return whole(network, cube)
    result = torch.empty(bands, height * network.scale, width * network.scale)
    for rows, columns, sr in enlarged_tiles(network, lambda r, c: cube[:, r, c], (height, width), tile):
        result[:, rows, columns] = sr
    return result


def enlarged_tiles(
    network: SuperResolver, read: Callable[[slice, slice], Tensor], size: tuple[int, int], tile: int
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Enlarge a scene that need not be in memory, tile by tile.

    Parameters
    ----------
    network : SuperResolver
        Folded already, see `SuperResolver.folded`.
    read : callable
        Given rows and columns, the LR pixels there: (bands, height, width), on the network's device.
    size : (int, int)
        Height and width of the LR scene.
    tile : int
        LR pixels a side. The last tile of a row or column may be smaller.

    Yields
    ------
    rows, columns : slice
        Where the part belongs in SR.
    sr : Tensor
        (bands, height, width), float32, on the CPU.
    """
    height, width = size
    scale, halo = network.scale, network.halo

    def enlarged(top: int, bottom: int, left: int, right: int) -> Tensor:
        # no halo beyond the scene: its border is zero padding
        up, before = min(halo, top), min(halo, left)
        rows = slice(top - up, min(bottom + halo, height))
        columns = slice(left - before, min(right + halo, width))
        with torch.inference_mode():
            sr = whole(network, read(rows, columns))
        inner_rows = slice(up * scale, (up + bottom - top) * scale)
        inner_columns = slice(before * scale, (before + right - left) * scale)
        return sr[:, inner_rows, inner_columns]

    for top, bottom in spans(height, tile):
        for left, right in spans(width, tile):
            # no name for the tile here: it would live until the next one is there
            yield (
                slice(top * scale, bottom * scale),
                slice(left * scale, right * scale),
                enlarged(top, bottom, left, right),
            )


def whole(network: SuperResolver, cube: Tensor) -> Tensor:
    """SR of `cube` at once, with NaN in the margin."""
    bands, pixels = network.margin
    reuse_memory()
    sr = network(cube[None])[0].float().cpu()
    if (bands, pixels) == (0, 0):
        return sr
    return pad(sr, (pixels, pixels, pixels, pixels, bands, bands), value=math.nan)


def spans(length: int, tile: int) -> Iterator[tuple[int, int]]:
    """Half-open intervals of at most `tile` that cover `length`."""
    for start in range(0, length, tile):
        yield start, min(start + tile, length)
