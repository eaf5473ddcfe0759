"""A scene: one hyperspectral image in memory, and how it was read."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hsisr_core.errors import HsisrError

__all__ = ["HIGHEST", "LOWEST", "MINIMUM_SIDE", "Bounds", "Scene", "check_range", "span", "value_range"]

# A cube lies in [0, 1]. Bicubic resizing overshoots a little, so this much beyond is still a cube.
LOWEST, HIGHEST = -0.1, 1.1

# Pixels a side. Below this the bicubic kernel alone (4 taps) is larger than the scene.
MINIMUM_SIDE = 4

Bounds = tuple[int, int] | None


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
        float64, (bands,), band centres in nm, strictly increasing. All NaN when the source does not
        tell them: a plot then shows nothing instead of a wrong axis. See `wavelengths_known`.
    divisor
        The value of the file is `cube * divisor`.
    source
        A sentence on how the scene was read (key, type, divisor).

    Raises
    ------
    HsisrError
        A shape, a type or the wavelengths are not as above.
    """

    name: str
    cube: NDArray[np.float32]
    wavelengths: NDArray[np.float64]
    divisor: float
    source: str

    def __post_init__(self) -> None:
        if not self.name or "/" in self.name or self.name.startswith("."):
            raise HsisrError(
                f"Scene name {self.name!r} is not usable: give a name without '/' or a leading dot."
            )
        if self.cube.ndim != 3 or self.cube.dtype != np.float32:
            raise HsisrError(
                f"Scene {self.name}: the cube is {self.cube.dtype} of shape {self.cube.shape}; "
                "expected float32 of shape (bands, height, width)."
            )
        if self.wavelengths.dtype != np.float64:
            raise HsisrError(
                f"Scene {self.name}: wavelengths are {self.wavelengths.dtype}; expected float64."
            )
        if self.wavelengths.shape != (self.bands,):
            raise HsisrError(
                f"Scene {self.name}: {self.wavelengths.size} wavelengths for {self.bands} bands; "
                "give one per band, in nm."
            )
        known = np.isfinite(self.wavelengths)
        if known.any() and not (known.all() and bool((np.diff(self.wavelengths) > 0).all())):
            raise HsisrError(
                f"Scene {self.name}: wavelengths must increase strictly, in nm, or all be NaN (unknown)."
            )

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
        """Return the part `rows` x `cols`, each (start, stop) in pixels or None for all, as a copy.

        Raises
        ------
        HsisrError
            The bounds are empty or leave the scene.
        """
        top, bottom = span(rows, self.height, f"rows of scene {self.name}")
        left, right = span(cols, self.width, f"columns of scene {self.name}")
        return replace(self, cube=self.cube[:, top:bottom, left:right].copy())


def span(bounds: Bounds, size: int, what: str) -> tuple[int, int]:
    """Return (start, stop) for `bounds` in an axis of `size` pixels; None means the whole axis.

    Raises
    ------
    HsisrError
        The bounds are empty or leave the axis; `what` names it in the message.
    """
    if bounds is None:
        return 0, size
    start, stop = bounds
    if not 0 <= start < stop <= size:
        raise HsisrError(
            f"{what}: {start} to {stop} is not a part of 0 to {size}. Give a start and a stop inside it."
        )
    return start, stop


def value_range(where: str, array: np.ndarray) -> tuple[float, float]:
    """Return the lowest and highest value of `array`, any shape; `where` names it in the message.

    Raises
    ------
    HsisrError
        Values are NaN or infinite, or all are zero.
    """
    low, high = float(array.min()), float(array.max())  # a NaN anywhere makes both NaN
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = array.size - int(np.count_nonzero(np.isfinite(array)))
        raise HsisrError(
            f"{where}: {bad} of {array.size} values are NaN or infinite; expected finite numbers. "
            "Mend or leave out this scene."
        )
    if low == high == 0:
        raise HsisrError(f"{where}: all {array.size} values are zero; not an image. Leave out this scene.")
    return low, high


def check_range(where: str, low: float, high: float, divisor: float) -> None:
    """Check that values from `low` to `high`, divided by `divisor`, lie in [-0.1, 1.1].

    Raises
    ------
    HsisrError
        They do not; `where` names them in the message.
    """
    if low / divisor < LOWEST or high / divisor > HIGHEST:
        raise HsisrError(
            f"{where}: values run from {low:.6g} to {high:.6g}, which is {low / divisor:.6g} to "
            f"{high / divisor:.6g} after division by {divisor:.6g}; expected [0, 1] within 0.1. "
            "Pass divisor= with the value that stands for 1."
        )
