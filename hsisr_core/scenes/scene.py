"""A scene: one hyperspectral image in memory, and how it was read."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hsisr_core.errors import HsisrError

# Pixels a side. Below this the bicubic kernel alone (4 taps) is larger than the scene.
MINIMUM_SIDE = 4

Bounds = tuple[int, int] | None


@dataclass(frozen=True)
class Georeference:
    """Where a scene lies on the ground."""

    # six numbers in GDAL's order: the corner (column, row) of a pixel is at x = t[0] + column * t[1] + row * t[2] and
    # y = t[3] + column * t[4] + row * t[5]
    transform: tuple[float, ...]
    # EPSG code, or WKT where there is none; empty if the file does not say
    crs: str = ""

    def enlarged(self, scale: int) -> Georeference:
        """Return the georeference of the scene with `scale` times the pixels a side: the corner stays."""
        x, dx, turn_x, y, turn_y, dy = self.transform
        return replace(self, transform=(x, dx / scale, turn_x / scale, y, turn_y / scale, dy / scale))


@dataclass(frozen=True, eq=False)
class Scene:
    """One hyperspectral image.

    Attributes
    ----------
    name
        Name of the scene, as splits and stores know it.
    cube
        float32, (bands, height, width), in [0, 1] (an overshoot of 0.1 is allowed).
    wavelengths
        float64, (bands,), band centres in nm, in the order of the bands; where detectors overlap, they do not
        increase, and a band that was not measured may have 0. All NaN when unknown; see `wavelengths_known`.
    divisor
        The value of the file is `cube * divisor`.
    source
        A sentence on how the scene was read (key, type, divisor).
    mask
        bool, (height, width), False where the file says that a pixel is no measurement; None: it does not.
    georeference
        Where the scene lies, if the file says so. A store does not keep it.
    """

    name: str
    cube: NDArray[np.float32]
    wavelengths: NDArray[np.float64]
    divisor: float
    source: str
    mask: NDArray[np.bool_] | None = None
    georeference: Georeference | None = None

    def __post_init__(self) -> None:
        where, cube, nm, mask = f"Scene {self.name}", self.cube, self.wavelengths, self.mask
        if not self.name or "/" in self.name or self.name.startswith("."):
            raise HsisrError(f"{where!r} is not usable: give a name without '/' or a leading dot.")
        if cube.ndim != 3 or cube.dtype != np.float32:
            raise HsisrError(f"{where}: the cube is {cube.dtype} of {cube.shape}; expected float32, 3-D.")
        if nm.dtype != np.float64 or nm.shape != (self.bands,):
            raise HsisrError(f"{where}: {nm.size} wavelengths of {nm.dtype}; expected float64 for each band.")
        if mask is not None and (mask.dtype != np.bool_ or mask.shape != cube.shape[1:]):
            raise HsisrError(f"{where}: a mask of {mask.dtype}, {mask.shape}; expected bool, as the cube.")
        if not np.isnan(nm).all() and not (np.isfinite(nm) & (nm >= 0)).all():
            raise HsisrError(f"{where}: wavelengths must be positive, in nm, or all be NaN (unknown).")

    @property
    def bands(self) -> int:
        """Number of bands."""
        return int(self.cube.shape[0])

    @property
    def height(self) -> int:
        """Number of rows (pixels)."""
        return int(self.cube.shape[1])

    @property
    def width(self) -> int:
        """Number of columns (pixels)."""
        return int(self.cube.shape[2])

    @property
    def wavelengths_known(self) -> bool:
        """Whether the band centres are known; if not, `wavelengths` is all NaN."""
        return bool(np.isfinite(self.wavelengths).all())

    def crop(self, rows: Bounds = None, cols: Bounds = None) -> Scene:
        """Return the part `rows` x `cols`, each (start, stop) in pixels or None for all, as a copy without a place."""
        top, bottom = span(rows, self.height, f"rows of scene {self.name}")
        left, right = span(cols, self.width, f"columns of scene {self.name}")
        return replace(
            self,
            cube=self.cube[:, top:bottom, left:right].copy(),
            mask=None if self.mask is None else self.mask[top:bottom, left:right].copy(),
            georeference=None,
        )


def span(bounds: Bounds, size: int, what: str) -> tuple[int, int]:
    """Return (start, stop) for `bounds` in an axis of `size` pixels, which `what` names; None: the whole axis."""
    start, stop = bounds or (0, size)
    if not 0 <= start < stop <= size:
        raise HsisrError(f"{what}: {start} to {stop} is not a part of 0 to {size}. Give a part inside it.")
    return start, stop
