"""The door to `super_resolve` and, for an array with its units and wavelengths, `super_resolve_array`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsisr_core.fast import super_resolve, super_resolve_tiles
from hsisr_core.upscale import upscale


def super_resolve_array(
    cube: ArrayLike, scale: int, model: str | None = None, wavelengths: Any = None, **reading: Any
) -> NDArray[np.float32]:
    """Super-resolve an array in its own units, as `hsisr upscale` does a file (and by way of one).

    Parameters
    ----------
    cube : array, shape (bands, height, width)
        Real numbers in any units.
    scale : int
        Factor: 2, 3, 4 or 8.
    model : str, optional
        As in `load_pretrained`: weights, a run folder or "bicubic". None: the shipped weights for `scale`, trained on
        scenes of CAVE and for any bands (``hsisr_core/pretrained`` has a card for each).
    wavelengths : array, shape (bands,), optional
        Band centres in nm. Where they are not those of the training, the cube's own mean is subtracted; where they are
        not given, a warning says so.
    **reading
        `divisor`, the value that stands for 1, and `nodata`, the value of unmeasured pixels, as in `read_scene`.

    Returns
    -------
    ndarray of float32, shape (bands, scale * height, scale * width)
        In the units of `cube`.

    Raises
    ------
    HsisrError
        As `load_pretrained` and `read_scene`.
    """
    with TemporaryDirectory(prefix="hsisr-") as folder:
        source, out = Path(folder, "array.npy"), Path(folder, "sr.npy")
        np.save(source, np.asarray(cube), allow_pickle=False)
        upscale(source, scale, model, out, wavelengths=wavelengths, band_axis=0, **reading)
        return np.load(out)
