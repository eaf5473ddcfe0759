"""The data sheet of a store: what it holds, beside what the paper says, and what looks wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from hsisr_core.data.sources import DATASETS, dataset_source
from hsisr_core.data.splits import load_split
from hsisr_core.data.store import Store
from hsisr_core.errors import HsisrError
from hsisr_core.scenes import Scene

__all__ = ["SceneFacts", "Sheet", "data_sheet", "thumbnail"]

# Share of a band's pixels at its greatest value, from which it has lost its highlights.
_SATURATED = 0.05
# Share of pixels that are zero in all bands.
_ZERO = 0.05
# Pixels of the longer side.
_THUMBNAIL = 192


@dataclass(frozen=True, eq=False)
class SceneFacts:
    """What the sheet says of one scene; its shape is (bands, height, width).

    `dead` and `saturated` are the bands, from 1, whose pixels all have one value, or of which 5 % or more have
    the greatest; `zero` are the pixels that are zero in all bands, `masked` those that the mask leaves out.
    """

    name: str
    shape: tuple[int, int, int]
    low: float
    high: float
    mean: float
    dead: list[int]
    saturated: list[int]
    zero: int
    masked: int | None
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
        width = max(len(facts.name) for facts in self.scenes)
        lines = [
            f"dataset      {self.dataset}, {len(self.scenes)} scenes",
            f"wavelengths  {self.wavelengths}",
            f"fingerprint  {self.fingerprint}",
            "",
            f"{'scene':<{width}}  {'bands':>5} {'pixels':>11} {'least':>7} {'greatest':>8} {'mean':>7}"
            f" {'zero px':>8} {'masked':>8}  dead bands; saturated bands",
        ]
        for facts in self.scenes:
            bands, *sides = facts.shape
            masked = "-" if facts.masked is None else facts.masked
            lines.append(
                f"{facts.name:<{width}}  {bands:>5} {'x'.join(map(str, sides)):>11} {facts.low:>7.4f}"
                f" {facts.high:>8.4f} {facts.mean:>7.4f} {facts.zero:>8} {masked:>8}"
                f"  {_ranges(facts.dead)}; {_ranges(facts.saturated)}"
            )
        off = [f"OFF: {problem}" for problem in self.problems]
        return "\n".join([*lines, "", *(off or ["Nothing is off."])])


def data_sheet(store: Store) -> Sheet:
    """Look at every value of a store, one scene in memory at a time.

    Off are: another number of scenes, bands or pixels than the paper's (Section IV-A), scenes of a split that
    are missing, values outside [0, 1], dead and saturated bands, scenes that are zero in 5 % of their pixels or
    more, unknown or different wavelengths, and two scenes with the same values.
    """
    names = tqdm(store.names, "Checking", unit="scene", disable=None)
    scenes = tuple(_facts(store.read(name)) for name in names)
    problems = [*_compare_with_paper(store, scenes), *_check_wavelengths(store)]
    for index, facts in enumerate(scenes):
        problems += _check_values(facts)
        problems += [
            f"{facts.name} and {other.name} hold the same values."
            for other in scenes[:index]
            if other.digest == facts.digest
        ]
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
    dead, saturated, means = [], [], []
    zero = np.ones(scene.cube.shape[1:], np.bool_)
    for band, image in enumerate(scene.cube, start=1):
        low, high = image.min(), image.max()
        means.append(image.mean(dtype=np.float64))
        if low == high:
            dead.append(band)
        elif np.count_nonzero(image == high) >= _SATURATED * image.size:
            saturated.append(band)
        zero &= image == 0
    return SceneFacts(
        name=scene.name,
        shape=(scene.bands, scene.height, scene.width),
        low=float(scene.cube.min()),
        high=float(scene.cube.max()),
        mean=float(np.mean(means)),
        dead=dead,
        saturated=saturated,
        zero=int(np.count_nonzero(zero)),
        masked=None if scene.mask is None else int(np.count_nonzero(~scene.mask)),
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


def _check_wavelengths(store: Store) -> Iterator[str]:
    first = store.wavelengths(store.names[0])
    for name in store.names:
        centres = store.wavelengths(name)
        if not np.isfinite(centres).all():
            yield f"{name} has no wavelengths."
        elif np.isfinite(first).all() and not np.array_equal(centres, first):
            yield f"{name} has other wavelengths than {store.names[0]}."


def _check_values(facts: SceneFacts) -> Iterator[str]:
    if facts.low < 0 or facts.high > 1:
        yield f"{facts.name} has values from {facts.low:.4f} to {facts.high:.4f}, expected [0, 1]."
    if facts.dead:
        yield f"{facts.name} has dead bands: {_ranges(facts.dead)}."
    if facts.saturated:
        yield (
            f"{facts.name} is saturated in bands {_ranges(facts.saturated)}: {_SATURATED:.0%} of the pixels or more "
            "have the greatest value."
        )
    pixels = facts.shape[1] * facts.shape[2]
    if facts.zero >= _ZERO * pixels:
        yield f"{facts.name} has {facts.zero} zero pixels of {pixels} ({facts.zero / pixels:.0%})."


def _ranges(bands: Sequence[int]) -> str:
    """[1, 2, 3, 7] as "1-3, 7"; "-" for none."""
    parts: list[list[int]] = []
    for band in bands:
        if parts and band == parts[-1][1] + 1:
            parts[-1][1] = band
        else:
            parts.append([band, band])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts) or "-"
