"""The data sheet of a store: what it holds, beside what the paper says, and what looks wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from hsisr_core.data.sources import DATASETS, dataset_source
from hsisr_core.data.splits import load_split
from hsisr_core.data.store import Store
from hsisr_core.errors import HsisrError
from hsisr_core.scenes import Scene

# Pixels of the longer side.
_THUMBNAIL = 192
_Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Sheet:
    """The data sheet of a store: facts of each scene, its picture and shape, and a sentence for each problem."""

    store: Store
    # name, bands, pixels, least and greatest value, mean
    scenes: tuple[tuple[str, int, str, float, float, float], ...]
    thumbnails: dict[Scene, _Shape]
    problems: tuple[str, ...]

    def __str__(self) -> str:
        import pandas as pd  # not above: preparing needs none

        table = pd.DataFrame(self.scenes, columns=["scene", "bands", "pixels", "least", "greatest", "mean"])
        nm = self.store.wavelengths(self.store.names[0])
        known = bool(np.isfinite(nm).all())
        lines = [
            f"dataset      {self.store.dataset}, {len(self.scenes)} scenes",
            f"wavelengths  {f'{nm[0]:g} to {nm[-1]:g} nm, {len(nm)} bands' if known else 'unknown'}",
            f"fingerprint  {self.store.fingerprint}",
            f"\n{table.to_string(index=False, float_format='%.4f')}\n",
            *([f"PROBLEM: {problem}" for problem in self.problems] or ["No problems found."]),
        ]
        return "\n".join(lines)


def data_sheet(store: Store) -> Sheet:
    """Look at every value of a store, one scene in memory at a time.

    Problems are: another number of scenes, bands or pixels than the paper's (Section IV-A), scenes of a split that are
    missing, values outside [0, 1], unknown or different wavelengths, and two scenes with the same values.
    """
    rows, thumbnails, problems = [], {}, list(_compare_scenes(store))
    first = store.wavelengths(store.names[0])
    digests: dict[str, str] = {}
    for name in tqdm(store.names, "Checking", unit="scene", disable=None):
        scene = store.read(name)
        low, high = float(scene.cube.min()), float(scene.cube.max())
        mean = float(scene.cube.mean(dtype=np.float64))
        rows.append((name, scene.bands, f"{scene.height}x{scene.width}", low, high, mean))
        thumbnails[thumbnail(scene)] = scene.cube.shape
        if not scene.wavelengths_known:
            problems.append(f"{name} has no wavelengths.")
        elif np.isfinite(first).all() and not np.array_equal(scene.wavelengths, first):
            problems.append(f"{name} has other wavelengths than {store.names[0]}.")
        if low < 0 or high > 1:
            problems.append(f"{name} has values from {low:.4f} to {high:.4f}, expected [0, 1].")
        other = digests.setdefault(hashlib.sha256(np.ascontiguousarray(scene.cube).data).hexdigest(), name)
        if other != name:
            problems.append(f"{name} and {other} hold the same values.")
    return Sheet(store, tuple(rows), thumbnails, tuple(problems))


def thumbnail(scene: Scene) -> Scene:
    """Return every n-th pixel of `scene`, so that no side is longer than 192 pixels; a copy."""
    step = -(-max(scene.height, scene.width) // _THUMBNAIL)
    small = np.ascontiguousarray(scene.cube[:, ::step, ::step])
    return Scene(scene.name, small, scene.wavelengths, scene.divisor, scene.source)


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
        if name in source.left_out:
            yield f"{name} is no part of the benchmark: {source.left_out[name]}."
        if bands != source.bands:
            yield f"{name} has {bands} bands, expected {source.bands}."
        if source.sizes and tuple(size) not in source.sizes:
            sizes = " or ".join(f"{height}x{width}" for height, width in source.sizes)
            yield f"{name} is {size[0]}x{size[1]} pixels, expected {sizes}."
