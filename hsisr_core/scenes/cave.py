"""Read a CAVE scene: a folder of 31 16-bit gray PNGs, one per band (Yasuma et al. 2010)."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hsisr_core.errors import HsisrError
from hsisr_core.scenes.scene import MINIMUM_SIDE

__all__ = ["CAVE_BANDS", "CAVE_DIVISOR", "band_folder", "cave_files", "holds_bands", "read_cave", "visible"]

CAVE_BANDS = 31
CAVE_DIVISOR = 65535.0  # fixed, not the maximum of the image (PROTOCOL: evaluation scripts of the group)

_BAND_NAME = re.compile(r"(?P<scene>.+)_(?P<band>\d+)\.png", re.IGNORECASE)
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"
_PNG_COLOURS = {0: "gray", 2: "RGB", 3: "palette", 4: "gray with alpha", 6: "RGB with alpha"}


def band_folder(path: Path) -> Path | None:
    """Return the folder of band PNGs: `path`, or the folder of the same name in it; None if neither."""
    inner = path / path.absolute().name  # CAVE's zip nests X_ms/X_ms/
    return next((folder for folder in (path, inner) if folder.is_dir() and holds_bands(folder)), None)


def holds_bands(folder: Path) -> bool:
    """Whether `folder` itself holds band PNGs."""
    return bool(_band_pngs(folder))


def visible(folder: Path) -> list[Path]:
    """Return what lies in `folder`, by name, without hidden files such as macOS's "._X_01.png".

    Raises
    ------
    HsisrError
        The folder cannot be read.
    """
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise HsisrError(
            f"{folder} cannot be read: {error.strerror or error}. Check its permissions."
        ) from error


def cave_files(path: Path) -> list[Path]:
    """Return the 31 band files of the CAVE folder `path`, in band order; stray files are left out.

    Raises
    ------
    HsisrError
        A band is missing, extra or there twice, or the bands of two scenes are mixed.
    """
    folder = band_folder(path)
    if folder is None:
        inner = [entry.name for entry in visible(path) if entry.is_dir() and holds_bands(entry)]
        raise HsisrError(
            f"{path} holds no band PNGs; expected {CAVE_BANDS}, named like X_01.png to X_{CAVE_BANDS}.png. "
            + (f"Name one of the scenes in it: {', '.join(inner)}." if inner else "Check the path.")
        )
    scenes: set[str] = set()
    numbered: dict[int, Path] = {}
    for file in _band_pngs(folder):
        match = _BAND_NAME.fullmatch(file.name)
        assert match is not None
        band = int(match["band"])
        if band in numbered:
            raise HsisrError(
                f"{folder}: band {band} is there twice, {numbered[band].name} and {file.name}. Remove one."
            )
        numbered[band] = file
        scenes.add(match["scene"])
    if len(scenes) > 1:
        raise HsisrError(f"{folder} mixes bands of {', '.join(sorted(scenes))}. Keep one scene per folder.")
    expected = range(1, CAVE_BANDS + 1)
    wrong = {
        "missing": [str(band) for band in expected if band not in numbered],
        "extra": [str(band) for band in numbered if band not in expected],
    }
    found = [f"{kind}: {', '.join(bands)}" for kind, bands in wrong.items() if bands]
    if found:
        raise HsisrError(
            f"{folder}: expected bands 1 to {CAVE_BANDS}, one PNG each; {'; '.join(found)}. "
            "Fetch the scene again, or move the extra files away."
        )
    return [numbered[band] for band in expected]


def read_cave(path: Path, bands: NDArray[np.intp], divisor: float) -> NDArray[np.float32]:
    """Return the chosen `bands` (0-based) of a CAVE folder, divided by `divisor`: (bands, height, width).

    Raises
    ------
    HsisrError
        As `cave_files`; a PNG is not 16-bit gray, truncated, or of another size than the others.
    """
    files = cave_files(path)
    cube: NDArray[np.float32] | None = None
    for index, band in enumerate(bands):
        image = _read_png16(files[band])
        if cube is None:
            height, width = image.shape
            if min(height, width) < MINIMUM_SIDE:
                raise HsisrError(
                    f"{path} is {height}x{width} pixels; expected at least {MINIMUM_SIDE} a side. "
                    "Leave out this scene."
                )
            cube = np.empty((len(bands), height, width), np.float32)
        if image.shape != cube.shape[1:]:
            raise HsisrError(
                f"{files[band]} is {image.shape[0]}x{image.shape[1]} pixels, but {files[bands[0]].name} is "
                f"{cube.shape[1]}x{cube.shape[2]}; expected one size for all bands. Fetch the scene again."
            )
        cube[index] = np.divide(image, divisor, dtype=np.float64)
    assert cube is not None
    return cube


def _band_pngs(folder: Path) -> list[Path]:
    return [file for file in visible(folder) if _BAND_NAME.fullmatch(file.name) and file.is_file()]


def _read_png16(file: Path) -> NDArray[np.uint16]:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise HsisrError(f"{file} cannot be read: {error.strerror or error}.") from error
    # Pillow turns several kinds of PNG into 8 or 16 bits without a word, so look at the header itself.
    if not data.startswith(_PNG_START) or data[12:16] != b"IHDR" or len(data) < 26:
        raise HsisrError(f"{file} is not a PNG, or truncated in its first bytes. Fetch the scene again.")
    depth, colour = struct.unpack(">BB", data[24:26])
    if (depth, colour) != (16, 0):
        kind = _PNG_COLOURS.get(colour, f"colour type {colour}")
        raise HsisrError(
            f"{file} is {depth}-bit {kind}; expected 16-bit gray, one band per file. Leave out this scene."
        )
    try:
        with Image.open(io.BytesIO(data)) as image:
            pixels = np.asarray(image)
    except Exception as error:  # Pillow raises OSError, SyntaxError and others for a damaged file
        raise HsisrError(f"{file} is a truncated or damaged PNG ({error}). Fetch the scene again.") from error
    if _PNG_END not in data:
        raise HsisrError(f"{file} is truncated: the end of the PNG is missing. Fetch the scene again.")
    return pixels.astype(np.uint16, copy=False)
