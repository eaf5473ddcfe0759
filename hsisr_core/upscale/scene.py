"""Super-resolve a cube of any size from disk to disk: the command `hsisr upscale`."""

import ctypes
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from hsisr_core import __version__, scenes
from hsisr_core.base import AnyPath
from hsisr_core.errors import HsisrError
from hsisr_core.fast import check_precision, super_resolve_tiles
from hsisr_core.models import SuperResolver
from hsisr_core.training import evaluate, reduce_measured, tile_for
from hsisr_core.upscale.weights import Pretrained, adapt_network, find_differences, load_pretrained

_Scores = dict[str, dict[str, Any]]
_Say = Callable[[str], None]

# that the network may hold for a tile; bytes of SR in a tile, where a smaller one costs little
_GIGABYTES, _TILE_BYTES = 1.5, 1 << 27
_LEAST_SIDE = 16  # LR pixels a side in the self-test


def upscale(
    cube: AnyPath,
    scale: int,
    model: str | None = None,
    out: AnyPath | None = None,
    *,
    tile: int | None = None,
    keep_type: bool = False,
    check: bool | None = None,
    precision: str = "float32",
    say: _Say = lambda line: None,
    **reading: Any,
) -> tuple[Path, scenes.Product]:
    """Make the SR cube of `open_scene(cube, **reading)` with `load_pretrained(model, scale)`, and write it.

    Values are in the units of the file, float32 unless `keep_type`, and none is below zero where the file has none.
    All SR pixels of a value without a measurement have the file's no-data value. `out` names the file and its format;
    it is returned, and what was written to it. A `tile` has so many LR pixels a side (None: what takes at most 1.5 GB,
    and less where the network sees few pixels around one). `check` asks for a self-test (None: where the cube is unlike
    the training data); `say` takes lines.
    """
    weights = load_pretrained(model, scale)
    source = Path(scenes.dataset_name(cube) or scenes.existing(cube))
    if out is None:
        suffix, name = source.suffix.lower(), source.name if source.is_dir() else source.stem
        out = f"{name}-x{scale}{suffix if suffix in scenes.SUFFIXES else '.h5'}"
    target = Path(out).expanduser()
    files = {file.resolve() for file in scenes.output_files(target)}
    if files & {file.resolve() for file in scenes.scene_files(cube)}:
        raise HsisrError(f"{target} is the cube itself: name another file with -o.")
    above = next(parent for parent in target.absolute().parents if parent.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise HsisrError(f"{above} is not a folder that you may write to: name another with -o.")
    scene = scenes.open_scene(cube, **reading)
    count, height, width = scene.shape
    network, mean = adapt_network(weights, np.nan_to_num(scene.means), scene.wavelengths)
    network = network.to("cuda" if torch.cuda.is_available() else "cpu")
    check_precision(network, precision)
    say(f"{scene.name}: {height} x {width} pixels, {count} bands. {scene.source}")
    say(f"Model {weights.name}, trained on {weights.trained_on}.")
    if mean == "cube":
        say("The bands are not those of the training: the cube's own mean is subtracted, not the stored one.")
    tested = None if check is False else _check(weights, network, scene, check, say)
    provenance: dict[str, Any] = {
        "software": f"hsisr {__version__}",
        "model": weights.name,
        "weights_sha256": weights.sha256 or "none",
        "trained_on": weights.trained_on,
        "scale": scale,
        "mean": mean,
        "source": os.fspath(cube),
        "read_as": scene.source,
    }
    if precision != "float32":
        provenance["precision"] = precision
    if tested is not None:
        provenance["self_test_psnr"] = {name: round(scores["psnr"], 3) for name, scores in tested.items()}
    dtype = scene.file.array.dtype.newbyteorder("=") if keep_type else np.dtype(np.float32)
    product = scenes.Product(scene, scale, dtype, provenance)
    side = tile_for(network, np.broadcast_to(np.float32(0), scene.shape), _GIGABYTES) or max(height, width)
    # a smaller one costs little as long as it is 64 halos wide
    side = min(side, max(16, 64 * network.halo, math.isqrt(_TILE_BYTES // (4 * count * scale**2))))
    with scenes.cube_writer(target, product) as write:
        for part in _make_tiles(network, scene, product, tile or side, precision):
            write(*part)
            # before the next tile is made
            del part
    return target, product


def parse_bands(text: str | None) -> scenes.BandChoice:
    """Read a choice of bands: "all", a number of them ("31"), or 0-based indices and ranges ("0,2,10:20")."""
    if text is None or text == "all":
        return text
    try:
        if text.isdigit():
            return int(text)
        chosen: list[int] = []
        for part in text.split(","):
            first, colon, last = part.partition(":")
            chosen += range(int(first), int(last)) if colon else [int(first)]
        return chosen
    except ValueError as error:
        raise HsisrError(f"--bands {text}: expected 'all', a number, or indices as in 0,2,10:20.") from error


def find_middle(height: int, width: int, side: int = 256) -> tuple[slice, slice]:
    """The rows and columns of the middle of a scene, at most `side` a side."""
    top, left = (max(0, (length - side) // 2) for length in (height, width))
    return slice(top, min(top + side, height)), slice(left, min(left + side, width))


def self_test(
    model: SuperResolver,
    cube: NDArray[np.float32],
    name: str = "network",
    mask: NDArray[np.bool_] | None = None,
    blur: float | None = None,
) -> _Scores:
    """Scores of a cube, reduced by the model's scale and super-resolved, as in Wald, Ranchin and Mangolini (1997).

    They are those of "bicubic" and of `name`, after the `blur` of the training, inside `mask` (height, width).
    """
    least = _LEAST_SIDE * model.scale
    if min(cube.shape[1:]) < least:
        raise HsisrError(f"At x{model.scale} the self-test needs {least} pixels a side.")
    rows = evaluate(model, {"self-test": reduce_measured(cube, mask, model.scale, "The cube", blur)}, name)
    return {row["result"]: {key: row[key] for key in row if key not in ("image", "result")} for row in rows}


def _check(
    weights: Pretrained, network: SuperResolver, scene: scenes.OpenScene, check: bool | None, say: _Say
) -> _Scores | None:
    """Warn where the cube is far from the training data; self-test there, or where it is asked for."""
    middle, missing = scene.read(*find_middle(*scene.shape[1:]))
    far = find_differences(weights, middle, scene.wavelengths)
    if not far and not check:
        return None
    if far:
        said = f"{scene.name} is far from what {weights.name} was trained on: {'; '.join(far)}."
        warnings.warn(said, stacklevel=3)
    name = "network" if weights.sha256 else weights.name
    try:
        # a band without any measurement masks no pixel
        mask = None if missing is None else np.logical_not(missing[np.isfinite(scene.means)].any(axis=0))
        scores = self_test(network, middle, name, mask, weights.blur)
    except HsisrError as error:
        if check:
            raise HsisrError(f"{error} Leave --check out.") from error
        say(f"No self-test: {error}")
        return None
    size = "{} x {}".format(*middle.shape[1:])
    how = f"blurred ({weights.blur:g} HR pixels), " if weights.blur else ""
    say(f"Self-test: the middle {size} pixels, {how}reduced by {network.scale} and super-resolved.")
    for method, values in scores.items():
        psnr, ssim, sam = (values[score] for score in ("psnr", "ssim", "sam"))
        say(f"  {method:<10}{psnr:8.2f} dB  SSIM {ssim:.4f}  SAM {sam:.3f} degrees")
    if scores[name]["psnr"] < scores["bicubic"]["psnr"]:
        said = f"In the self-test, {weights.name} is worse than bicubic interpolation. Use --model bicubic, or train"
        warnings.warn(f"{said} on cubes of this sensor.", stacklevel=3)
    return scores


def _make_tiles(
    network: SuperResolver, scene: scenes.OpenScene, product: scenes.Product, side: int, precision: str
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """SR tile by tile, in the units and the type of `product`, with progress on stderr."""
    _, height, width = scene.shape
    scale, device = product.scale, network.mean.device
    tiles, finished = -(-height // side) * -(-width // side), 0
    # in a log a line now and then
    every, shown = 0.1 if sys.stderr.isatty() else 60, "{l_bar}{bar}| {elapsed}, {remaining} to go"
    bar = tqdm(total=tiles, desc=scene.name, bar_format=shown, mininterval=every)

    def advance(share: float) -> None:
        bar.update(finished + share - bar.n)

    def read(rows: slice, columns: slice) -> torch.Tensor:
        return torch.from_numpy(scene.read(rows, columns)[0]).to(device)

    for rows, columns, sr in super_resolve_tiles(network, read, (height, width), side, advance, precision):
        values = _in_units(sr.numpy(), scene, product.dtype)
        if scene.nodata is not None:
            source = (slice(part.start // scale, part.stop // scale) for part in (rows, columns))
            _, missing = scene.read(*source)
            if missing is not None:
                values[missing.repeat(scale, axis=1).repeat(scale, axis=2)] = scene.nodata
        yield rows, columns, values
        del sr, values
        return_memory()
        finished += 1
        advance(0)
    bar.close()


def return_memory() -> None:
    """Return to the system what the C library keeps of freed memory, which grows from tile to tile."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):  # glibc has it
        trim(0)


def _in_units(sr: np.ndarray, scene: scenes.OpenScene, dtype: np.dtype) -> np.ndarray:
    """SR in the units of the cube, as `dtype`; in its own memory if that is its type."""
    values = sr if sr.dtype == dtype else np.empty(sr.shape, dtype)
    limits = np.iinfo(dtype) if dtype.kind in "iu" else None
    # band by band: all at once in double precision take twice the memory of SR
    for band, out in zip(sr, values, strict=True):
        units = band.astype(np.float64) * scene.divisor
        if scene.low >= 0:
            np.maximum(units, 0, out=units)
        out[...] = units if limits is None else np.rint(units).clip(limits.min, limits.max)
    return values
