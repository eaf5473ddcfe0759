"""From scenes in a folder to a store of prepared scenes: the one rule of finding, reading and reducing them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from tqdm import tqdm

from hsisr_core.base import AnyPath, sha256_file
from hsisr_core.data.sources import DatasetSource, dataset_source
from hsisr_core.data.splits import Split, choose_split
from hsisr_core.data.store import Source, Store, write_store
from hsisr_core.degrade import imresize, shrink_mask
from hsisr_core.errors import HsisrError
from hsisr_core.scenes import (
    CAVE_DIVISOR,
    Scene,
    band_pngs,
    is_scene_file,
    read_scene,
    scene_files,
    scene_name,
    variable_names,
    visible,
)


def prepare(
    dataset: str,
    folder: AnyPath,
    out: AnyPath,
    split: AnyPath | None = None,
    wavelengths: Sequence[float] = (),
) -> tuple[Store, dict[str, str]]:
    """Read the scenes of a dataset as the protocol says; return their store, and what was left out, and why.

    CAVE is divided by 65535, Harvard and Foster by the maximum of the whole image; nothing is cropped. `dataset` is
    "cave", "harvard", "foster", or "other", all that can be read; the scenes are anywhere in `folder`. With a `split`,
    only its scenes are taken, reduced where it says so; with `wavelengths` (nm), only the bands that lie there.
    """
    top = Path(folder).expanduser()
    if not top.is_dir():
        raise HsisrError(f"{top} is not a folder. Give the one that holds the scenes, or fetch them first.")
    found, left_out = find_scenes(top, dataset)
    if not found:
        none = f"no scene of {dataset} ({len(left_out)} left out)"
        raise HsisrError(f"{top} holds {none}. Check the folder, or fetch it first.")
    chosen = None if split is None else choose_split(split, list(found), str(top))
    scenes = pick_places(found, found if chosen is None else chosen.scenes)
    return prepare_scenes(out, scenes, chosen or dataset, wavelengths=wavelengths), left_out


def find_scenes(place: Path, dataset: str = "other") -> tuple[dict[str, list[Path]], dict[str, str]]:
    """Return where each scene of `dataset` is in `place` or below, by name, and what is left out, and why."""
    source = None if dataset == "other" else dataset_source(dataset)
    scenes: dict[str, list[Path]] = {}
    left_out: dict[str, str] = {}
    for path in _places(place):
        name = scene_name(path)
        if source is not None and (why := _why_not(path, name, source)):
            left_out[str(path.relative_to(place))] = why
            continue
        if source is not None and source.named_by_folder and path.parent != place:
            name = path.relative_to(place).parts[0]
        scenes.setdefault(name, []).append(path)
    return dict(sorted(scenes.items())), left_out


def pick_places(found: Mapping[str, list[Path]], names: Iterable[str]) -> dict[str, Path]:
    """Return the one place of each of the named scenes; raise HsisrError if there are several."""
    for name in names:
        if len(found[name]) > 1:
            listed = " and ".join(map(str, found[name]))
            raise HsisrError(f"Scene {name} is there several times: {listed}. Leave one.")
    return {name: found[name][0] for name in names}


def prepare_scenes(
    out: AnyPath,
    scenes: Mapping[str, str | Path],
    title: Split | str,
    reading: Mapping[str, Any] = MappingProxyType({}),
    wavelengths: Sequence[float] = (),
) -> Store:
    """Write a store of `scenes` (name: place), read with the keywords `reading`, for a split or a dataset's name."""
    split = title if isinstance(title, Split) else None
    dataset = title if isinstance(title, str) else title.dataset
    sources: list[Source] = []

    def read() -> Iterator[Scene]:
        for name, place in tqdm(scenes.items(), f"Preparing {dataset}", unit="scene", disable=None):
            for file in scene_files(place):
                try:
                    sources.append((f"{name}/{file.name}", file.stat().st_size, sha256_file(file)))
                except OSError as error:
                    raise HsisrError(f"{file} cannot be read: {error.strerror or error}.") from error
            scene = read_scene(place, name=name, **reading)
            if wavelengths:
                scene = _take_bands(scene, wavelengths)
            if split is not None and name in split.high_byte:
                # the middle of the low byte's range stands for it: (256 x + 128) / 65535
                counts = np.rint(scene.cube * CAVE_DIVISOR) // 256 * 256 + 128
                scene = replace(scene, cube=(counts / CAVE_DIVISOR).astype(np.float32))
            yield scene if split is None else reduce_scene(scene, split.reduce_to(name))

    write_store(out, read(), sources=sources, dataset=dataset)
    return Store(out)


def _take_bands(scene: Scene, wavelengths: Sequence[float]) -> Scene:
    """The bands of `scene` at these centres (nm, to half a nanometre)."""
    distances = np.abs(np.subtract.outer(np.asarray(wavelengths, float), scene.wavelengths))
    # unknown wavelengths are NaN: no distance is small
    if not (distances.min(axis=1) <= 0.5).all():
        raise HsisrError(
            f"Scene {scene.name} has no band at some of {', '.join(f'{nm:g}' for nm in wavelengths)} nm; its bands lie "
            f"at {scene.wavelengths[0]:g} to {scene.wavelengths[-1]:g} nm."
        )
    bands = distances.argmin(axis=1)
    return replace(scene, cube=scene.cube[bands], wavelengths=scene.wavelengths[bands])


def reduce_scene(scene: Scene, side: int | None) -> Scene:
    """Return `scene` with its longer side reduced to `side` pixels by a whole factor, if it is larger."""
    if side is None or max(scene.height, scene.width) <= side:
        return scene
    factor, rest = divmod(max(scene.height, scene.width), side)
    if rest:
        raise HsisrError(
            f"Scene {scene.name} of {scene.height}x{scene.width} pixels cannot be reduced to {side} by a whole "
            "factor. Change reduce_to in the split."
        )
    # as MATLAB's imresize of integers: whole numbers in the file's range, a half rounded up
    whole = scene.divisor > 1 and scene.divisor.is_integer()
    bands = []
    for band in scene.cube:
        if whole:
            counts = imresize(np.rint(np.multiply(band, scene.divisor, dtype=np.float64)), scale=1 / factor)
            bands.append(np.floor(counts + 0.5).clip(0, scene.divisor) / scene.divisor)
        else:
            bands.append(imresize(band, scale=1 / factor))
    cube = np.array(bands, np.float32)
    mask = None if scene.mask is None else shrink_mask(scene.mask, 1 / factor)
    source = f"{scene.source} Reduced by {factor}."
    return replace(scene, cube=cube, mask=mask, georeference=None, source=source)


def _places(place: Path) -> Iterator[Path]:
    """Every CAVE folder and scene file at `place` and below; hidden ones and stores are left out."""
    if is_scene_file(place) or (place.is_dir() and band_pngs(place)):
        yield place
    elif place.is_dir():
        for entry in visible(place):
            # a link to a scene is followed, one to other folders is not: it may lead back
            if not (entry.is_symlink() and entry.is_dir() and not band_pngs(entry)):
                yield from _places(entry)


def _why_not(place: Path, name: str, source: DatasetSource) -> str:
    """Why a scene is no part of the dataset; empty if it is."""
    if name in source.left_out:
        return source.left_out[name]
    if place.is_dir():
        return "" if source.name == "cave" else f"a folder of PNGs is not a scene of {source.name}"
    keys = variable_names(place) if place.suffix.lower() == ".mat" else []
    if not set(keys) & set(source.keys):
        return f"it holds no array named {' or '.join(source.keys)}"
    return ""
