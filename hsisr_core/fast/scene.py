"""Super-resolve whole scenes, in tiles where memory asks for it."""

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from hsisr_core.errors import HsisrError
from hsisr_core.fast.doors import runner, tile_of_pass
from hsisr_core.fast.networks import Progress
from hsisr_core.models import Repeated, SuperResolver

LARGEST = 32 * 2**20 - 2**16  # bytes; glibc takes no block of 32 MiB or more as a measure


@torch.inference_mode()
def super_resolve(
    model: SuperResolver,
    lr: np.ndarray,
    tile: int | None = None,
    self_ensemble: bool = False,
    precision: str = "float32",
) -> np.ndarray:
    """Make the SR cube of one LR cube.

    Parameters
    ----------
    model : SuperResolver
        Stays on its device and in its mode.
    lr : ndarray
        (bands, height, width), values in [0, 1] or slightly beyond. HsisrError for NaN, infinity, or bands that the
        model was not trained on.
    tile : int, optional
        Work in tiles of ``tile`` x ``tile`` LR pixels, each with the model's `halo` around it: equal to rounding.
    self_ensemble : bool
        Average over the eight symmetries of the square (Lim et al. 2017, "EDSR+"): eight times the work.
    precision : {"float32", "bf16"}
        Of SSRNet's modules; the rest stays float32. "bf16" needs a GPU, or a processor with AVX512-BF16 or AMX; the
        chapter "What it costs" has its time and errors.

    Returns
    -------
    ndarray
        SR cube (bands, r*height, r*width), float32, not clipped. NaN in the bands and pixels that the model
        lacks (`SuperResolver.margin`); ``model.kept(sr)`` is the cube without them.
    """
    if lr.ndim != 3:
        raise HsisrError(f"An LR cube has the shape (bands, height, width); this one has {lr.shape}.")
    if not np.isfinite(lr).all():
        raise HsisrError("The LR cube holds NaN or infinity: replace or crop those pixels first.")
    if tile is not None and tile < 1:
        raise HsisrError(f"tile={tile!r}: expected at least 1 LR pixel, or None for the whole cube at once.")
    cube = torch.as_tensor(np.ascontiguousarray(lr, dtype=np.float32), device=model.mean.device)
    if not self_ensemble:
        return _super_resolve(model, cube, tile, precision).numpy()
    total = torch.zeros(lr.shape[0], *(side * model.scale for side in lr.shape[1:]))
    for flip, turns in itertools.product((False, True), range(4)):
        turned = torch.rot90(cube.flip(-1) if flip else cube, turns, (-2, -1))
        back = torch.rot90(_super_resolve(model, turned, tile, precision), -turns, (-2, -1))
        total += back.flip(-1) if flip else back
    return (total / 8).numpy()


def _super_resolve(network: SuperResolver, cube: Tensor, tile: int | None, precision: str) -> Tensor:
    """SR (bands, r*h, r*w) on the CPU of the LR `cube` (bands, h, w)."""
    bands, height, width = cube.shape
    if tile is None or (tile >= height and tile >= width):
        return _super_resolve_tile(network, cube, None, precision)
    result = torch.empty(bands, height * network.scale, width * network.scale)
    tiles = super_resolve_tiles(network, lambda y, x: cube[:, y, x], (height, width), tile, None, precision)
    for rows, columns, sr in tiles:
        result[:, rows, columns] = sr
    return result


def super_resolve_tiles(
    network: SuperResolver,
    read: Callable[[slice, slice], Tensor],
    size: tuple[int, int],
    tile: int,
    progress: Progress = None,
    precision: str = "float32",
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Make SR of an LR scene of `size` (height, width), which need not be in memory, tile by tile.

    `read` gives the LR pixels (bands, height, width) of some rows and columns, on the network's device. Yields rows,
    columns and the tile of SR (bands, height, width) there, float32, on the CPU.
    """

    def locate(start: int, side: int) -> tuple[slice, slice, slice]:
        """Along one axis: the tile in SR, what is read of LR, and the tile in what the network makes of that."""
        end, scale = min(start + tile, side), network.scale
        # no halo beyond the scene: its border is zero padding
        before = min(network.halo, start)
        seen = slice(start - before, min(end + network.halo, side))
        inner = slice(before * scale, (before + end - start) * scale)
        return slice(start * scale, end * scale), seen, inner

    height, width = size
    for top, left in itertools.product(range(0, height, tile), range(0, width, tile)):
        rows, seen_rows, inner_y = locate(top, height)
        columns, seen_columns, inner_x = locate(left, width)
        lr = read(seen_rows, seen_columns)
        # no name for SR here: it would live until the next tile is there
        yield rows, columns, _super_resolve_tile(network, lr, progress, precision)[:, inner_y, inner_x]


def _super_resolve_tile(network: SuperResolver, lr: Tensor, progress: Progress, precision: str) -> Tensor:
    """SR of `lr` at once, with NaN in the margin."""
    if isinstance(network, Repeated):
        for _ in range(network.times):
            lr = _super_resolve(network.network, lr, tile_of_pass(len(lr)), precision).to(lr.device)
        return lr.cpu()
    reuse_memory()
    with torch.inference_mode():
        sr = runner(network, progress, precision)(lr[None])[0].float().cpu()
        bands, pixels = network.margin
        if (bands, pixels) == (0, 0):
            return sr
        return pad(sr, (pixels, pixels, pixels, pixels, bands, bands), value=math.nan)


def reuse_memory() -> None:
    """Let the C library keep up to 64 MB of freed memory for the next tensors: pages that need not be cleared again."""
    # twice the largest block that was freed, up to 32 MiB (mallopt(3), M_MMAP_THRESHOLD): one is freed here, untouched
    torch.empty(LARGEST, dtype=torch.uint8)
