"""An explorer of small cubes, for the tests in a browser and the kernels that they start."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsisr_core.explorer import SpectralExplorer

NM = np.linspace(430, 670, 7)
HEIGHT, WIDTH = 24, 32


def scene() -> dict[str, NDArray[np.float32]]:
    """Smooth cubes; no two of them, and no two bands of one, look alike."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] / 40
    hr = np.stack([0.2 + rows * np.sin(band + columns * 3) ** 2 + band / 40 for band in range(7)]).clip(0, 1)
    noise = np.random.default_rng(1).normal(0, 0.02, hr.shape)
    lr = hr.reshape(7, HEIGHT // 2, 2, WIDTH // 2, 2).mean(axis=(2, 4))
    cubes = {"LR": lr, "A": hr + 2 * noise, "B": hr - noise, "HR": hr}
    return {name: cube.clip(0, 1).astype(np.float32) for name, cube in cubes.items()}


def small_explorer(**state: Any) -> SpectralExplorer:
    """An explorer of `scene`, with HR as the reference."""
    return SpectralExplorer.from_cubes(scene(), NM, reference="HR", **state)
