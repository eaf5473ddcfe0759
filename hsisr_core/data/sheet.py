"""The data sheet of a store: what it holds, beside what the paper says, and what looks wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from hsisr_core.data.sources import DATASETS, dataset_source
from hsisr_core.data.splits import load_split
from hsisr_core.data.store import Store
from hsisr_core.errors import HsisrError

if TYPE_CHECKING:
    import pandas as pd


def data_sheet(store: Store) -> tuple[pd.DataFrame, list[str]]:
    """Look at every value of a store; return facts of each scene, a row each, and a sentence for each problem.

    Problems are: another number of scenes, bands or pixels than the paper's (Section IV-A), scenes of a split that are
    missing, values outside [0, 1], and unknown or different wavelengths.
    """
    import pandas as pd  # not above: preparing needs none

    rows, problems = [], list(_compare_scenes(store))
    first = store.wavelengths(store.names[0])
    for name in tqdm(store.names, "Checking", unit="scene", disable=None):
        scene = store.read(name)
        low, high = float(scene.cube.min()), float(scene.cube.max())
        mean = float(scene.cube.mean(dtype=np.float64))
        rows.append((name, scene.bands, f"{scene.height}x{scene.width}", low, high, mean))
        if not scene.wavelengths_known:
            problems.append(f"{name} has no wavelengths.")
        elif np.isfinite(first).all() and not np.array_equal(scene.wavelengths, first):
            problems.append(f"{name} has other wavelengths than {store.names[0]}.")
        if low < 0 or high > 1:
            problems.append(f"{name} has values from {low:.4f} to {high:.4f}, expected [0, 1].")
    table = pd.DataFrame(rows, columns=["scene", "bands", "pixels", "least", "greatest", "mean"])
    return table, problems


def _compare_scenes(store: Store) -> Iterator[str]:
    """Which scenes there are and how large, against the paper or the split that the store is for."""
    if store.dataset not in DATASETS:
        try:
            split = load_split(store.dataset)
        except HsisrError:
            # scenes of someone's own: nothing to compare them with
            return
        missing = [name for name in split.scenes if name not in store.names]
        if missing:
            yield f"the split {split.name} needs {', '.join(missing)}, which are not here."
        return
    source = dataset_source(store.dataset)
    if len(store.names) != source.scenes:
        yield f"{len(store.names)} scenes, the paper has {source.scenes}."
    for name in store.names:
        bands, *size = store.shape(name)
        if bands != source.bands:
            yield f"{name} has {bands} bands, expected {source.bands}."
        if source.sizes and tuple(size) not in source.sizes:
            sizes = " or ".join(f"{height}x{width}" for height, width in source.sizes)
            yield f"{name} is {size[0]}x{size[1]} pixels, expected {sizes}."
