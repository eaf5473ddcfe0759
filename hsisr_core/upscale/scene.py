"""Super-resolve a cube of any size from disk to disk: the command `hsisr upscale`."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from hsisr_core import __version__
from hsisr_core.degrade import check_scale
from hsisr_core.errors import HsisrError
from hsisr_core.fast import super_resolve_tiles
from hsisr_core.models import SuperResolver
from hsisr_core.scenes import (
    INDIAN_PINES,
    SUFFIXES,
    BandChoice,
    OpenScene,
    Product,
    cube_writer,
    dataset_name,
    existing,
    open_scene,
    output_files,
    scene_files,
)
from hsisr_core.training import tile_for
from hsisr_core.upscale.selftest import find_middle, self_test
from hsisr_core.upscale.weights import Pretrained, adapt_network, find_differences, load_pretrained

__all__ = ["Upscaled", "parse_bands", "upscale"]

_GIGABYTES = 1.5  # that the network may hold for a tile


@dataclass(frozen=True)
class Upscaled:
    """What `upscale` made."""

    path: Path
    shape: tuple[int, int, int]
    # as it is kept in the file
    provenance: dict[str, Any]
    # scores of bicubic interpolation and of the network on the reduced cube, if they were taken
    self_test: dict[str, dict[str, Any]] | None


def upscale(
    cube: str | os.PathLike[str],
    scale: int,
    model: str | None = None,
    out: str | os.PathLike[str] | None = None,
    *,
    tile: int | None = None,
    bands: BandChoice = None,
    key: str | None = None,
    divisor: float | None = None,
    band_axis: int | None = None,
    nodata: float | None = None,
    keep_type: bool = False,
    check: bool | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Upscaled:
    """Make the SR cube of a cube and write it, tile by tile.

    Values are in the units of the file (a count stays a count). They are float32 unless `keep_type`; an
    integer type rounds and limits them to what it holds. None is below zero where the file has none below zero.
    A value without a measurement stays one: all its SR pixels have the file's no-data value.

    Parameters
    ----------
    cube, bands, key, divisor, band_axis, nodata
        As those of `open_scene`.
    scale, model
        As those of `load_pretrained`.
    out
        File to write, its format by its suffix; None: `NAME-xSCALE` here, in the cube's format if it can be written.
    tile
        LR pixels a side of a tile; None: what takes the network at most 1.5 GB.
    keep_type
        Write the file's own type instead of float32.
    check
        Whether to self-test on the reduced cube (its middle, if it is large); None: where it is far from what
        the network was trained on.
    say
        Takes lines for the reader as the work goes on.

    Raises
    ------
    HsisrError
        The cube cannot be read, there are no such weights, `out` cannot be written or is the cube itself.
    """
    scale = check_scale(scale)
    if tile is not None and (isinstance(tile, bool) or tile < 1):
        raise HsisrError(f"tile={tile!r}: expected at least 1 LR pixel.")
    weights = load_pretrained(model, scale)
    source = None if dataset_name(cube) else existing(cube)
    target = _choose_target(cube, source, scale, out)
    scene = open_scene(cube, key=key, bands=bands, divisor=divisor, band_axis=band_axis, nodata=nodata)
    count, height, width = scene.shape
    network, mean = adapt_network(weights, scene.mean, scene.wavelengths)
    say(f"{scene.name}: {height} x {width} pixels, {count} bands. {scene.source}")
    if not scene.streamed:
        say(
            "This format is read whole; ENVI, .npy, HDF5, .mat 7.3 and uncompressed TIFF are read part by part."
        )
    say(f"Model {weights.name}, trained on {weights.trained_on}.")
    if mean == "cube":
        say(
            "The bands are not those of the training: the cube's own mean is subtracted instead of the stored one."
        )
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
    if tested is not None:
        provenance["self_test_psnr"] = {name: round(scores["psnr"], 3) for name, scores in tested.items()}
    product = Product(
        shape=(count, height * scale, width * scale),
        dtype=scene.dtype if keep_type else np.dtype(np.float32),
        wavelengths=scene.wavelengths,
        divisor=scene.divisor,
        nodata=scene.nodata,
        georeference=scene.georeference and scene.georeference.enlarged(scale),
        provenance=provenance,
        entries=scene.entries,
        key=scene.file.key.rsplit("/", 1)[-1] or "cube",
        matlab_5=scene.file.kind.startswith("MATLAB 5"),
    )
    shape = np.broadcast_to(np.float32(0), scene.shape)
    side = tile or tile_for(network, shape, _GIGABYTES) or max(height, width)
    with cube_writer(target, product) as write:
        for part in _make_tiles(network, scene, product, side):
            write(*part)
            # before the next tile is made
            del part
    return Upscaled(target, product.shape, provenance, tested)


def parse_bands(text: str | None) -> BandChoice:
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
        raise HsisrError(
            f"--bands {text}: expected 'all', a number of bands such as 31, or 0-based indices such as 0,2,10:20."
        ) from error


def _choose_target(
    cube: str | os.PathLike[str], source: Path | None, scale: int, out: str | os.PathLike[str] | None
) -> Path:
    if out is None:
        suffix = source.suffix.lower() if source else ""
        name = INDIAN_PINES if source is None else (source.name if source.is_dir() else source.stem)
        out = f"{name}-x{scale}{suffix if suffix in SUFFIXES else '.h5'}"
    target = Path(out).expanduser()
    files = {file.resolve() for file in output_files(target)}
    if files & {file.resolve() for file in scene_files(cube)}:
        raise HsisrError(f"{target} is the cube itself: name another file with -o.")
    return target


def _check(
    weights: Pretrained,
    network: SuperResolver,
    scene: OpenScene,
    check: bool | None,
    say: Callable[[str], None],
) -> dict[str, dict[str, Any]] | None:
    """Warn where the cube is far from the training data; self-test there, or where it is asked for."""
    middle, _ = scene.read(*find_middle(*scene.shape[1:]))
    far = find_differences(weights, middle, scene.wavelengths)
    if far:
        warnings.warn(
            f"{scene.name} is far from what {weights.name} was trained on: {'; '.join(far)}.", stacklevel=3
        )
    if not far and not check:
        return None
    name = "network" if weights.sha256 else weights.name
    try:
        scores = self_test(network, middle, name)
    except HsisrError as error:
        if check:
            raise
        say(f"No self-test: {error}")
        return None
    height, width = middle.shape[1:]
    say(
        f"Self-test: the middle {height} x {width} pixels, reduced by {weights.scale}, super-resolved and compared."
    )
    for method, score in scores.items():
        say(
            f"  {method:<10}{score['psnr']:8.2f} dB  SSIM {score['ssim']:.4f}  SAM {score['sam']:.3f} degrees"
        )
    if scores[name]["psnr"] < scores["bicubic"]["psnr"]:
        warnings.warn(
            f"In the self-test, {weights.name} is worse than bicubic interpolation. Train on cubes of this "
            "sensor, or use --model bicubic.",
            stacklevel=3,
        )
    return scores


def _make_tiles(
    network: SuperResolver, scene: OpenScene, product: Product, side: int
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """SR tile by tile, in the units and the type of `product`, with progress on stderr."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network.to(device)
    scale, (_, height, width) = network.scale, scene.shape
    tiles = -(-height // side) * -(-width // side)
    finished = tenths = 0
    terminal = sys.stderr.isatty()
    bar_format = "{l_bar}{bar}| {elapsed}, {remaining} to go"
    bar = tqdm(total=tiles, desc=scene.name, bar_format=bar_format, disable=not terminal)

    def advance(share: float) -> None:
        """Show that `share` of the tile at work is done."""
        nonlocal tenths
        done = finished + share
        bar.update(done - bar.n)
        if not terminal and done * 10 // tiles > tenths:
            tenths = int(done * 10 // tiles)
            print(f"{scene.name}: {10 * tenths} %", file=sys.stderr, flush=True)

    def read(rows: slice, columns: slice) -> torch.Tensor:
        return torch.from_numpy(scene.read(rows, columns)[0]).to(device)

    for rows, columns, sr in super_resolve_tiles(network, read, (height, width), side, advance):
        values = _in_units(sr.numpy(), scene, product)
        if scene.nodata is not None:
            source = (slice(part.start // scale, part.stop // scale) for part in (rows, columns))
            _, missing = scene.read(*source)
            if missing is not None:
                values[missing.repeat(scale, axis=1).repeat(scale, axis=2)] = scene.nodata
        yield rows, columns, values
        # before the next tile is made
        del sr, values
        finished += 1
        advance(0)
    bar.close()


def _in_units(sr: np.ndarray, scene: OpenScene, product: Product) -> np.ndarray:
    """SR in the units of the cube and the type of `product`."""
    values = np.empty(sr.shape, product.dtype)
    # band by band: all at once in double precision take twice the memory of SR
    for band, out in zip(sr, values, strict=True):
        units = band.astype(np.float64) * scene.divisor
        if scene.low >= 0:
            np.maximum(units, 0, out=units)
        if product.dtype.kind in "iu":
            limits = np.iinfo(product.dtype)
            units = np.rint(units).clip(limits.min, limits.max)
        out[...] = units
    return values
