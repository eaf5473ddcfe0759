"""The data sheet of a store: what it holds, beside what the paper says, and what looks wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from hsisr_core.base.files import atomic_path
from hsisr_core.data.sources import DATASETS, dataset_source
from hsisr_core.data.splits import load_split
from hsisr_core.data.store import Store
from hsisr_core.errors import HsisrError
from hsisr_core.scenes import Scene

__all__ = ["SceneFacts", "Sheet", "contact_sheet", "data_sheet", "thumbnail"]

_SATURATED = 0.05  # share of a band's pixels at its greatest value, from which it has lost its highlights
_ZERO = 0.05  # share of pixels that are zero in all bands
_THUMBNAIL = 192  # pixels of the longer side
_ALIKE = 0.002  # mean difference of two thumbnails that show the same picture, in units of their mean


@dataclass(frozen=True, eq=False)
class SceneFacts:
    """What the sheet says of one scene.

    Attributes
    ----------
    name, shape, low, high, mean, divisor
        As in the store; `shape` is (bands, height, width).
    dead
        Bands, from 1, whose pixels all have one value.
    saturated
        Bands, from 1, in which 5 % of the pixels or more have the greatest value.
    zero
        Pixels that are zero in all bands.
    masked
        Pixels that the mask leaves out; None: there is no mask.
    digest
        SHA-256 of the values.
    thumbnail
        (bands, height, width) with every n-th pixel.
    """

    name: str
    shape: tuple[int, int, int]
    low: float
    high: float
    mean: float
    divisor: float
    dead: tuple[int, ...]
    saturated: tuple[int, ...]
    zero: int
    masked: int | None
    digest: str
    thumbnail: Scene


@dataclass(frozen=True, eq=False)
class Sheet:
    """The data sheet of a store.

    Attributes
    ----------
    dataset, wavelengths, fingerprint
        Of the store; `wavelengths` is a phrase.
    scenes
        Facts of each.
    problems
        A sentence for each thing that is off.
    """

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
            masked = "-" if facts.masked is None else str(facts.masked)
            bands = f"{_ranges(facts.dead)}; {_ranges(facts.saturated)}"
            lines.append(
                f"{facts.name:<{width}}  {facts.shape[0]:>5} {f'{facts.shape[1]}x{facts.shape[2]}':>11}"
                f" {facts.low:>7.4f} {facts.high:>8.4f} {facts.mean:>7.4f} {facts.zero:>8} {masked:>8}  {bands}"
            )
        lines += ["", *(f"OFF: {problem}" for problem in self.problems)]
        return "\n".join(lines if self.problems else [*lines, "Nothing is off."])


def data_sheet(store: Store) -> Sheet:
    """Look at every value of a store, one scene in memory at a time.

    Off are: another number of scenes, bands or pixels than the paper's (Section IV-A), scenes of a split that
    are missing, values outside [0, 1], dead and saturated bands, scenes that are zero in 5 % of their pixels or
    more, unknown or different wavelengths, and two scenes that show the same.

    Raises
    ------
    HsisrError
        The store is damaged.
    """
    names = tqdm(store.names, "Checking", unit="scene", disable=None)
    scenes = tuple(_facts(store.read(name)) for name in names)
    problems = [*_against_paper(store, scenes), *_wavelengths(store)]
    for facts in scenes:
        problems += _of_scene(facts)
    problems += _same(scenes)
    centres = store.wavelengths(store.names[0])
    known = bool(np.isfinite(centres).all())
    phrase = f"{centres[0]:g} to {centres[-1]:g} nm, {len(centres)} bands" if known else "unknown"
    return Sheet(store.dataset, phrase, store.fingerprint, scenes, tuple(problems))


def contact_sheet(sheet: Sheet, path: Path) -> None:
    """Write a picture of all scenes in false colour to `path`, whole or not at all.

    Raises
    ------
    HsisrError
        It cannot be written, or its suffix is not .png.
    """
    from hsisr_core.plots.datasets import gallery  # a second to import, and only a picture needs it

    if path.suffix.lower() != ".png":
        raise HsisrError(f"{path} is no name for the contact sheet; expected one that ends in .png.")
    figure = gallery({facts.thumbnail: facts.shape for facts in sheet.scenes})
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)


def thumbnail(scene: Scene) -> Scene:
    """Return every n-th pixel of `scene`, so that no side is longer than 192 pixels; a copy."""
    step = -(-max(scene.height, scene.width) // _THUMBNAIL)
    small = np.ascontiguousarray(scene.cube[:, ::step, ::step])
    return Scene(scene.name, small, scene.wavelengths, scene.divisor, scene.source)


def _facts(scene: Scene) -> SceneFacts:
    cube = scene.cube
    dead, saturated, total = [], [], 0.0
    for band, image in enumerate(cube, start=1):
        low, high = image.min(), image.max()
        total += float(image.mean(dtype=np.float64))
        if low == high:
            dead.append(band)
        elif np.count_nonzero(image == high) >= _SATURATED * image.size:
            saturated.append(band)
    return SceneFacts(
        name=scene.name,
        shape=(scene.bands, scene.height, scene.width),
        low=float(cube.min()),
        high=float(cube.max()),
        mean=total / scene.bands,
        divisor=scene.divisor,
        dead=tuple(dead),
        saturated=tuple(saturated),
        zero=_zero_pixels(cube),
        masked=None if scene.mask is None else int(np.count_nonzero(~scene.mask)),
        digest=hashlib.sha256(np.ascontiguousarray(cube).data).hexdigest(),
        thumbnail=thumbnail(scene),
    )


def _zero_pixels(cube: NDArray[np.float32]) -> int:
    lit = np.zeros(cube.shape[1:], np.bool_)
    for image in cube:
        lit |= image != 0
    return lit.size - int(np.count_nonzero(lit))


def _against_paper(store: Store, scenes: tuple[SceneFacts, ...]) -> Iterator[str]:
    if store.dataset not in DATASETS:
        try:
            split = load_split(store.dataset)
        except HsisrError:  # scenes of someone's own: nothing to compare them with
            return
        missing = [name for name in split.scenes if name not in store.names]
        if missing:
            yield f"the split {split.name} needs {', '.join(missing)}, which are not here."
        return
    source = dataset_source(store.dataset)
    expected = source.expected
    if len(scenes) != expected.scenes:
        yield f"{len(scenes)} scenes, the paper has {expected.scenes}."
    for facts in scenes:
        if facts.name in source.left_out:
            yield f"{facts.name} is no part of the benchmark: {source.left_out[facts.name]}."
        if facts.shape[0] != expected.bands:
            yield f"{facts.name} has {facts.shape[0]} bands, expected {expected.bands}."
        if expected.sizes and facts.shape[1:] not in expected.sizes:
            sizes = " or ".join(f"{height}x{width}" for height, width in expected.sizes)
            yield f"{facts.name} is {facts.shape[1]}x{facts.shape[2]} pixels, expected {sizes}."


def _wavelengths(store: Store) -> Iterator[str]:
    first = store.names[0]
    for name in store.names:
        centres = store.wavelengths(name)
        if not np.isfinite(centres).all():
            yield f"{name} has no wavelengths."
        elif np.isfinite(store.wavelengths(first)).all() and not np.array_equal(
            centres, store.wavelengths(first)
        ):
            yield f"{name} has other wavelengths than {first}."


def _of_scene(facts: SceneFacts) -> Iterator[str]:
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


def _same(scenes: tuple[SceneFacts, ...]) -> Iterator[str]:
    for index, one in enumerate(scenes):
        for other in scenes[:index]:
            if one.digest == other.digest:
                yield f"{one.name} and {other.name} hold the same values."
            elif _alike(one.thumbnail.cube, other.thumbnail.cube):
                yield f"{one.name} and {other.name} show the same picture."


def _alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    if one.shape != other.shape or not one.mean() or not other.mean():
        return False
    return float(np.abs(one / one.mean() - other / other.mean()).mean()) < _ALIKE


def _ranges(bands: tuple[int, ...]) -> str:
    """(1, 2, 3, 7) as "1-3, 7"; "-" for none."""
    parts: list[list[int]] = []
    for band in bands:
        if parts and band == parts[-1][1] + 1:
            parts[-1][1] = band
        else:
            parts.append([band, band])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts) or "-"
