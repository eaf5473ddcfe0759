"""From a folder of fetched files to a store of prepared scenes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from hsisr_core.base.files import sha256_file
from hsisr_core.data.regions import Split
from hsisr_core.data.sources import DATASETS, DatasetSource, dataset_source
from hsisr_core.data.splits import load_split
from hsisr_core.data.store import Source, Store, write_store
from hsisr_core.degrade import imresize
from hsisr_core.errors import HsisrError
from hsisr_core.scenes import (
    Scene,
    holds_bands,
    is_scene_file,
    read_scene,
    scene_files,
    scene_name,
    variable_names,
    visible,
)

__all__ = ["OTHER", "Prepared", "find_scenes", "prepare", "reduced"]

OTHER = "other"
"""Stands for scenes of none of the datasets: every one that can be read is taken."""


@dataclass(frozen=True)
class Prepared:
    """What `prepare` did.

    Attributes
    ----------
    store
        The store that it wrote.
    left_out
        Scenes or files that it left out, and why.
    bytes_read
        Bytes of the source files.
    """

    store: Store
    left_out: dict[str, str]
    bytes_read: int


def prepare(
    dataset: str,
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    split: str | os.PathLike[str] | None = None,
) -> Prepared:
    """Read the scenes of a dataset as the protocol says and write them to a store, whole or not at all.

    CAVE is divided by 65535, Harvard and Foster by the maximum of the whole image; nothing is cropped. The
    store keeps names, wavelengths, divisors, Harvard's masks, and size and SHA-256 of the source files. One
    scene is in memory at a time.

    Parameters
    ----------
    dataset
        "cave", "harvard", "foster", or "other".
    folder
        Scenes anywhere in it: CAVE folders, or files that `read_scene` reads.
    out
        The store to write, `scenes.h5`.
    split
        Take only the scenes of this split, reduced where it says so; the store gets the split's dataset.

    Raises
    ------
    HsisrError
        `dataset` is unknown, there is no scene, one is there twice or cannot be read, a scene of the split is
        missing, or the store cannot be written.
    """
    if dataset not in (*DATASETS, OTHER):
        raise HsisrError(
            f"Unknown dataset {dataset!r}. Known: {', '.join(DATASETS)}; or {OTHER} for any scenes."
        )
    scenes, left_out = find_scenes(dataset, folder)
    chosen = None if split is None else load_split(split, scenes)
    if chosen is not None:
        missing = [name for name in chosen.scenes if name not in scenes]
        if missing:
            raise HsisrError(
                f"Split {chosen.name} needs the scenes {', '.join(missing)}, which are not in {folder}. Add them."
            )
        scenes = {name: scenes[name] for name in chosen.scenes}
    sources: list[Source] = []
    title = dataset if chosen is None else chosen.dataset
    write_store(out, _read(scenes, sources, chosen, title), sources=sources, dataset=title)
    return Prepared(Store(out), left_out, sum(size for _, size, _ in sources))


def find_scenes(dataset: str, folder: str | os.PathLike[str]) -> tuple[dict[str, Path], dict[str, str]]:
    """Return where the scenes of `dataset` are in `folder`, by name, and what is left out, and why.

    Raises
    ------
    HsisrError
        `folder` is missing or holds no scene, or a scene twice.
    """
    top = Path(folder).expanduser()
    if not top.is_dir():
        raise HsisrError(f"{top} is no folder. Give the one that holds the scenes, or fetch them first.")
    source = None if dataset == OTHER else dataset_source(dataset)
    scenes: dict[str, Path] = {}
    left_out: dict[str, str] = {}
    for place in _places(top):
        name = scene_name(place)
        why = _why_not(place, name, source)
        if why:
            left_out[str(place.relative_to(top))] = why
            continue
        if source is not None and source.named_by_folder and place.parent != top:
            name = place.relative_to(top).parts[0]
        if name in scenes:
            raise HsisrError(f"Scene {name} is there twice: {scenes[name]} and {place}. Leave one.")
        scenes[name] = place
    if not scenes:
        raise HsisrError(
            f"{top} holds no scene of {dataset}"
            + (f" ({len(left_out)} left out)" if left_out else "")
            + ". Check the folder, or fetch the dataset first."
        )
    return dict(sorted(scenes.items())), left_out


def reduced(scene: Scene, side: int | None) -> Scene:
    """Return `scene` with its longer side reduced to `side` pixels by a whole factor, if it is larger.

    MATLAB's `imresize` on integers is followed: the result is rounded to the file's whole numbers and kept
    in their range, so a store can hold it as such.

    Raises
    ------
    HsisrError
        `side` is no whole part of the longer side.
    """
    longer = max(scene.height, scene.width)
    if side is None or longer <= side:
        return scene
    if longer % side:
        raise HsisrError(
            f"Scene {scene.name} of {scene.height}x{scene.width} pixels cannot be reduced to {side} by a whole "
            "factor. Change reduce_to in the split."
        )
    factor = longer // side
    whole = scene.divisor > 1 and scene.divisor.is_integer()
    cube = np.stack([_reduced_band(band, factor, scene.divisor if whole else None) for band in scene.cube])
    mask = None if scene.mask is None else _reduced_mask(scene.mask, factor, cube.shape[1:])
    return replace(
        scene, cube=cube, mask=mask, georeference=None, source=f"{scene.source} Reduced by {factor}."
    )


def _reduced_band(band: np.ndarray, factor: int, divisor: float | None) -> np.ndarray:
    """Reduce a band; with a divisor, as the whole numbers that it was, a half rounded up as MATLAB does."""
    if divisor is None:
        return imresize(band, scale=1 / factor)
    counts = imresize(np.rint(np.multiply(band, divisor, dtype=np.float64)), scale=1 / factor)
    return (np.floor(counts + 0.5).clip(0, divisor) / divisor).astype(np.float32)


def _reduced_mask(mask: np.ndarray, factor: int, shape: tuple[int, ...]) -> np.ndarray:
    """A pixel is a measurement if all that it was made of are."""
    whole = np.ones((shape[0] * factor, shape[1] * factor), np.bool_)
    whole[: mask.shape[0], : mask.shape[1]] = mask[: whole.shape[0], : whole.shape[1]]
    return np.asarray(whole.reshape(shape[0], factor, shape[1], factor).all(axis=(1, 3)))


def _read(scenes: dict[str, Path], sources: list[Source], split: Split | None, title: str) -> Iterator[Scene]:
    """Read one scene after the other; note the source files of each in `sources`."""
    for name, place in tqdm(scenes.items(), f"Preparing {title}", unit="scene", disable=None):
        for file in scene_files(place):
            try:
                sources.append((f"{name}/{file.name}", file.stat().st_size, sha256_file(file)))
            except OSError as error:
                raise HsisrError(f"{file} cannot be read: {error.strerror or error}.") from error
        yield reduced(read_scene(place, name=name), None if split is None else split.reduce_to(name))


def _places(folder: Path) -> Iterator[Path]:
    """Every CAVE folder and scene file in `folder` and below; hidden ones and stores are left out."""
    if holds_bands(folder):
        yield folder
        return
    for entry in visible(folder):
        if entry.is_dir() and not entry.is_symlink():
            yield from _places(entry)
        elif is_scene_file(entry):
            yield entry


def _why_not(place: Path, name: str, source: DatasetSource | None) -> str:
    """Why a scene is no part of the dataset; empty if it is."""
    if source is None:
        return ""
    if name in source.left_out:
        return source.left_out[name]
    if place.is_dir():
        return "" if source.name == "cave" else f"a folder of PNGs is no scene of {source.name}"
    keys = variable_names(place) if place.suffix.lower() == ".mat" else []
    if not set(keys) & set(source.keys):
        return f"it holds no array named {' or '.join(source.keys)}"
    return ""
