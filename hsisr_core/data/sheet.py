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


@dataclass(frozen=True, eq=False)
class SceneFacts:
    """What the sheet says of one scene; its shape is (bands, height, width)."""

    name: str
    shape: tuple[int, int, int]
    low: float
    high: float
    mean: float
    digest: str
    thumbnail: Scene


@dataclass(frozen=True, eq=False)
class Sheet:
    """The data sheet of a store: the facts of each scene, and a sentence for each thing that is off."""

    dataset: str
    wavelengths: str
    fingerprint: str
    scenes: tuple[SceneFacts, ...]
    problems: tuple[str, ...]

    def __str__(self) -> str:
        import pandas as pd  # not above: preparing needs none

        rows = [
            (
                facts.name,
                facts.shape[0],
                f"{facts.shape[1]}x{facts.shape[2]}",
                facts.low,
                facts.high,
                facts.mean,
            )
            for facts in self.scenes
        ]
        table = pd.DataFrame(rows, columns=["scene", "bands", "pixels", "least", "greatest", "mean"])
        lines = [
            f"dataset      {self.dataset}, {len(self.scenes)} scenes",
            f"wavelengths  {self.wavelengths}",
            f"fingerprint  {self.fingerprint}",
            "",
            table.to_string(index=False, float_format="%.4f"),
            "",
            *([f"OFF: {problem}" for problem in self.problems] or ["Nothing is off."]),
        ]
        return "\n".join(lines)


def data_sheet(store: Store) -> Sheet:
    """Look at every value of a store, one scene in memory at a time.

    Off are: another number of scenes, bands or pixels than the paper's (Section IV-A), scenes of a split that are
    missing, values outside [0, 1], unknown or different wavelengths, and two scenes with the same values.
    """
    names = tqdm(store.names, "Checking", unit="scene", disable=None)
    scenes = tuple(_facts(store.read(name)) for name in names)
    problems = [*_compare_with_paper(store, scenes), *_check_scenes(store, scenes)]
    centres = store.wavelengths(store.names[0])
    known = bool(np.isfinite(centres).all())
    phrase = f"{centres[0]:g} to {centres[-1]:g} nm, {len(centres)} bands" if known else "unknown"
    return Sheet(store.dataset, phrase, store.fingerprint, scenes, tuple(problems))


def thumbnail(scene: Scene) -> Scene:
    """Return every n-th pixel of `scene`, so that no side is longer than 192 pixels; a copy."""
    step = -(-max(scene.height, scene.width) // _THUMBNAIL)
    small = np.ascontiguousarray(scene.cube[:, ::step, ::step])
    return Scene(scene.name, small, scene.wavelengths, scene.divisor, scene.source)


def _facts(scene: Scene) -> SceneFacts:
    return SceneFacts(
        name=scene.name,
        shape=(scene.bands, scene.height, scene.width),
        low=float(scene.cube.min()),
        high=float(scene.cube.max()),
        mean=float(scene.cube.mean(dtype=np.float64)),
        digest=hashlib.sha256(np.ascontiguousarray(scene.cube).data).hexdigest(),
        thumbnail=thumbnail(scene),
    )


def _compare_with_paper(store: Store, scenes: tuple[SceneFacts, ...]) -> Iterator[str]:
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
    if len(scenes) != source.scenes:
        yield f"{len(scenes)} scenes, the paper has {source.scenes}."
    for facts in scenes:
        if facts.name in source.left_out:
            yield f"{facts.name} is no part of the benchmark: {source.left_out[facts.name]}."
        if facts.shape[0] != source.bands:
            yield f"{facts.name} has {facts.shape[0]} bands, expected {source.bands}."
        if source.sizes and facts.shape[1:] not in source.sizes:
            sizes = " or ".join(f"{height}x{width}" for height, width in source.sizes)
            yield f"{facts.name} is {facts.shape[1]}x{facts.shape[2]} pixels, expected {sizes}."


def _check_scenes(store: Store, scenes: tuple[SceneFacts, ...]) -> Iterator[str]:
    first = store.wavelengths(scenes[0].name)
    same: dict[str, str] = {}
    for facts in scenes:
        centres = store.wavelengths(facts.name)
        if not np.isfinite(centres).all():
            yield f"{facts.name} has no wavelengths."
        elif np.isfinite(first).all() and not np.array_equal(centres, first):
            yield f"{facts.name} has other wavelengths than {scenes[0].name}."
        if facts.low < 0 or facts.high > 1:
            yield f"{facts.name} has values from {facts.low:.4f} to {facts.high:.4f}, expected [0, 1]."
        other = same.setdefault(facts.digest, facts.name)
        if other != facts.name:
            yield f"{facts.name} and {other} hold the same values."
