"""Read a folder of gray PNGs, one per band: a CAVE scene of 31 (Yasuma et al. 2010), or another one."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hsisr_core.errors import HsisrError
from hsisr_core.scenes.cube import CubeFile, reading

_BANDS = 31
CAVE_DIVISOR = 65535.0  # fixed, not the maximum of the image (PROTOCOL: evaluation scripts of the group)

_BAND_NAME = re.compile(r".+_\d+\.png", re.IGNORECASE)
_PNG_END = b"IEND\xaeB`\x82"


def _band_folder(path: Path) -> Path | None:
    """Return the folder of band PNGs: `path`, or the folder of the same name in it; None if neither."""
    inner = path / path.absolute().name  # CAVE's zip nests X_ms/X_ms/
    return next((folder for folder in (path, inner) if folder.is_dir() and holds_bands(folder)), None)


def holds_bands(folder: Path) -> bool:
    """Whether `folder` itself holds band PNGs."""
    return bool(_band_pngs(folder))


def visible(folder: Path) -> list[Path]:
    """Return what lies in `folder`, by name, without hidden files such as macOS's "._X_01.png"."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise HsisrError(
            f"{folder} cannot be read: {error.strerror or error}. Check its permissions."
        ) from error


def png_files(path: Path) -> list[Path]:
    """Return the PNGs of the bands in the folder `path`, in band order; stray files are left out."""
    folder = _band_folder(path)
    if folder is None:
        inner = [entry.name for entry in visible(path) if entry.is_dir() and holds_bands(entry)]
        raise HsisrError(
            f"{path} holds no band PNGs; expected {_BANDS}, named like X_01.png to X_{_BANDS}.png. "
            + (f"Name one of the scenes in it: {', '.join(inner)}." if inner else "Check the path.")
        )
    numbered: dict[int, Path] = {}
    for file in _band_pngs(folder):
        band = int(file.stem.rpartition("_")[2])
        if band in numbered:
            raise HsisrError(
                f"{folder}: band {band} is there twice, {numbered[band].name} and {file.name}. Remove one."
            )
        numbered[band] = file
    scenes = sorted({file.stem.rpartition("_")[0] for file in numbered.values()})
    if len(scenes) > 1:
        raise HsisrError(f"{folder} mixes bands of {', '.join(scenes)}. Keep one scene per folder.")
    first, last = (1, _BANDS) if _is_cave(folder) else (min(numbered), max(numbered))
    missing = ", ".join(str(band) for band in range(first, last + 1) if band not in numbered)
    extra = ", ".join(str(band) for band in numbered if not first <= band <= last)
    if missing or extra:
        raise HsisrError(
            f"{folder}: expected bands {first} to {last}, one PNG each; missing: {missing or 'none'}; "
            f"extra: {extra or 'none'}. Fetch the scene again, or move the extra files away."
        )
    return [numbered[band] for band in sorted(numbered)]


def open_pngs(path: Path) -> CubeFile:
    """Read the PNGs of a folder, 16-bit gray; those of CAVE have known wavelengths and a fixed divisor."""
    files = png_files(path)
    images = [_read_png16(file) for file in files]
    for file, image in zip(files, images, strict=True):
        if image.shape != images[0].shape:
            found, first = ("x".join(map(str, other.shape)) for other in (image, images[0]))
            raise HsisrError(
                f"{file} is {found} pixels, but {files[0].name} is {first}; expected one size for all bands. "
                "Fetch the scene again."
            )
    is_cave = _is_cave(files[0].parent)
    return CubeFile(
        kind=f"{'CAVE folder' if is_cave else 'Folder'}: {len(files)} 16-bit gray PNGs",
        array=np.stack(images),
        axes=(0, 1, 2),
        wavelengths=np.linspace(400, 700, _BANDS) if is_cave else None,
        divisor=CAVE_DIVISOR if is_cave else None,
        why="",
    )


def _is_cave(folder: Path) -> bool:
    """Whether the PNGs are CAVE's: 31 of them, or named as it names them, X_ms_01.png."""
    files = _band_pngs(folder)
    return len(files) == _BANDS or any(re.search(r"_ms_\d+$", file.stem) for file in files)


def _band_pngs(folder: Path) -> list[Path]:
    return [file for file in visible(folder) if _BAND_NAME.fullmatch(file.name) and file.is_file()]


def _read_png16(file: Path) -> NDArray[np.uint16]:
    with reading(file, "a PNG"):
        data = file.read_bytes()
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            # of a PNG, Pillow gives these to 16-bit gray only
            if image.mode not in ("I;16", "I"):
                raise HsisrError(
                    f"{file} has pixels of the kind {image.mode}; expected 16-bit gray, one band per file. "
                    "Leave out this scene."
                )
            pixels = np.asarray(image)
        # Pillow does not look for it
        if _PNG_END not in data:
            raise HsisrError(f"{file} is truncated: the end of the PNG is missing. Fetch the scene again.")
    return pixels.astype(np.uint16, copy=False)
