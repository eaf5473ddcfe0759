"""Read a folder of gray PNGs, one per band: a CAVE scene of 31 (Yasuma et al. 2010), or another one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hsisr_core.errors import HsisrError
from hsisr_core.scenes.scene import CubeFile, check_size, reading

_BANDS = 31
CAVE_DIVISOR = 65535.0  # fixed, not the maximum of the image (PROTOCOL: evaluation scripts of the group)

_BAND_NAME = re.compile(r"(.+)_(\d+)\.png", re.IGNORECASE)


def band_pngs(folder: Path) -> list[tuple[int, str, Path]]:
    """Return number, scene and file of each band in a folder, in band order."""
    named = [(_BAND_NAME.fullmatch(file.name), file) for file in visible(folder) if file.is_file()]
    return sorted((int(match[2]), match[1], file) for match, file in named if match)


def visible(folder: Path) -> list[Path]:
    """Return what lies in `folder`, by name, without hidden files such as macOS's "._X_01.png"."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise HsisrError(f"{folder} cannot be read: {error.strerror}. Check its permissions.") from error


def png_files(path: Path) -> list[Path]:
    """Return the PNGs of the bands in the folder `path`, in band order; stray files are left out."""
    # CAVE's zip nests X_ms/X_ms/
    inner = path / path.absolute().name
    folder = inner if inner.is_dir() and not band_pngs(path) else path
    found = band_pngs(folder)
    if not found:
        scenes = ", ".join(entry.name for entry in visible(path) if entry.is_dir() and band_pngs(entry))
        way = f"Name one of the scenes in it: {scenes}." if scenes else "Check the path."
        raise HsisrError(f"{path} holds no band PNGs, named like X_01.png to X_{_BANDS}.png. {way}")
    numbers, names, files = zip(*found, strict=True)
    if len(set(names)) > 1:
        raise HsisrError(f"{folder} mixes bands of {', '.join(sorted({*names}))}. Keep one scene per folder.")
    first, last = (1, _BANDS) if _is_cave(files) else (min(numbers), max(numbers))
    there, expected = Counter(numbers), Counter(range(first, last + 1))
    if there != expected:
        both = expected - there, there - expected
        missing, extra = (", ".join(map(str, some)) or "none" for some in both)
        said = f"expected bands {first} to {last}, one PNG each; missing: {missing}; extra: {extra}"
        raise HsisrError(f"{folder}: {said}. Fetch the scene again, or move the extra files away.")
    return list(files)


def open_pngs(path: Path, *_: object) -> CubeFile:
    """Read the PNGs of a folder, 16-bit gray; those of CAVE have known wavelengths and a fixed divisor."""
    files = png_files(path)
    images = [_read_png16(file) for file in files]
    sizes = Counter("x".join(map(str, image.shape)) for image in images)
    if len(sizes) > 1:
        raise HsisrError(f"{path}: the PNGs have {', '.join(sizes)} pixels; expected one size.")
    is_cave = _is_cave(files)
    return CubeFile(
        kind=f"{'CAVE folder' if is_cave else 'Folder'}: {len(files)} 16-bit gray PNGs",
        array=np.stack(images),
        wavelengths=np.linspace(400, 700, _BANDS) if is_cave else None,
        divisor=CAVE_DIVISOR if is_cave else None,
        why="",
    )


def _is_cave(files: Sequence[Path]) -> bool:
    """Whether the PNGs are CAVE's: 31 of them, or named as it names them, X_ms_01.png."""
    return len(files) == _BANDS or bool(re.search(r"_ms_\d+$", files[0].stem))


def _read_png16(file: Path) -> NDArray[np.uint16]:
    # in memory, because Pillow takes as much for a chunk of a file as it claims to have
    data = file.read_bytes()
    with reading(file, "a PNG"), Image.open(BytesIO(data), formats=["PNG"]) as image:
        # of a PNG, Pillow gives these to 16-bit gray only
        if image.mode not in ("I;16", "I"):
            raise HsisrError(f"{file} has pixels of the kind {image.mode}; expected 16-bit gray.")
        check_size(file, image.size, np.dtype(np.uint16))
        # Pillow does not look for the end
        if b"IEND\xaeB`\x82" not in data:
            raise HsisrError(f"{file} is truncated: the end of the PNG is missing. Fetch the scene again.")
        return np.asarray(image).astype(np.uint16, copy=False)
