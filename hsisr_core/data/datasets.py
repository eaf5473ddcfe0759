"""A dataset: prepared scenes and their split, from the embedded cube, a folder of scenes or a store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import ArrayLike, NDArray

from hsisr_core.base import AnyPath, cache_folder
from hsisr_core.data.prepare import find_scenes, pick_places, prepare_scenes
from hsisr_core.data.sources import CAVE_PARTS, DATASETS, DatasetSource, dataset_source, prepared_store
from hsisr_core.data.splits import Region, Split, choose_split, load_split
from hsisr_core.data.store import STORE_FORMAT, Store
from hsisr_core.errors import HsisrError, NotAtHandError
from hsisr_core.scenes import INDIAN_PINES, Scene, dataset_name, existing, is_scene_file, scene_files


@dataclass(frozen=True, eq=False)
class Dataset:
    """Prepared scenes and their split, read from the store when asked for; `name` is the split's `dataset`."""

    name: str
    split: Split
    store: Store

    def __post_init__(self) -> None:
        first, nm = self.split.scenes[0], self.wavelengths
        for scene in self.split.scenes:
            bands, centres = self.store.shape(scene)[0], self.store.wavelengths(scene)
            if bands != self.bands or (np.isfinite(centres).all() and not np.array_equal(centres, nm)):
                raise HsisrError(
                    f"Scenes of split {self.split.name} differ in bands: {scene} has {bands} from {centres[0]:g} to "
                    f"{centres[-1]:g} nm, {first} has {self.bands} from {nm[0]:g} to {nm[-1]:g} nm. Leave one out."
                )
        for region in self.split.regions:
            side = max(self.store.shape(region.scene)[1:])
            if region.reduce_to is not None and side > region.reduce_to:
                raise HsisrError(
                    f"Split {self.split.name} takes scene {region.scene} reduced to {region.reduce_to} pixels, "
                    f"but {self.store.path} holds it with {side}. Prepare it for this split: "
                    f"python data_scripts/prepare.py cave FOLDER --split {self.split.name} --out scenes.h5."
                )
            region.bounds(*self.store.shape(region.scene)[1:])

    @classmethod
    def from_arrays(
        cls,
        train: Mapping[str, ArrayLike],
        test: Mapping[str, ArrayLike],
        wavelengths: Any = None,
        divisor: float | None = None,
        name: str = "arrays",
    ) -> Dataset:
        """Make a dataset of cubes (bands, height, width) by name, for `train(config, dataset=...)`.

        They are prepared into the cache folder; `wavelengths` (nm), `divisor` and HsisrError as of `read_scene`.
        """
        cubes = {**train, **test}
        train_regions, test_regions = (tuple(Region(each, each) for each in side) for side in (train, test))
        split = Split(name, name, train_regions, test_regions)
        cache_folder().mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=cache_folder()) as folder:
            places = {each: Path(folder, f"{each}.npy") for each in cubes}
            for each, place in places.items():
                np.save(place, np.asarray(cubes[each]), allow_pickle=False)
            reading = {"wavelengths": wavelengths, "divisor": divisor, "band_axis": 0}
            made = prepare_scenes(Path(folder, "scenes.h5"), places, split, reading)
            target = cache_folder() / f"{name}-{made.fingerprint[:12]}" / "scenes.h5"
            target.parent.mkdir(exist_ok=True)
            made.path.replace(target)
        return cls(name, split, Store(target))

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the fingerprint of the store and the regions of the split."""
        # what came of reduce_to and high_byte is in the store's own
        keys = ("name", "scene", "rows", "cols")
        regions = {
            side: [{key: getattr(region, key) for key in keys} for region in getattr(self.split, side)]
            for side in ("train", "test")
        }
        content = json.dumps([self.store.fingerprint, self.name, regions], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def bands(self) -> int:
        """Number of bands, the same in all scenes."""
        return self.store.shape(self.split.scenes[0])[0]

    @property
    def wavelengths(self) -> NDArray[np.float64]:
        """Band centres in nm, (bands,), as far as one of the scenes knows them; else NaN."""
        every = [self.store.wavelengths(scene) for scene in self.split.scenes]
        return next((centres for centres in every if np.isfinite(centres).all()), every[0])

    @property
    def train(self) -> list[str]:
        """Names of the training regions."""
        return [region.name for region in self.split.train]

    @property
    def test(self) -> list[str]:
        """Names of the test regions."""
        return [region.name for region in self.split.test]

    def _region(self, name: str) -> Region:
        region = next((region for region in self.split.regions if region.name == name), None)
        if region is None:
            names = ", ".join(self.train + self.test)
            raise HsisrError(f"Split {self.split.name} has no region {name!r}. It has: {names}.")
        return region

    def size(self, name: str) -> tuple[int, int]:
        """Height and width of the region `name`, which is not read for it."""
        region = self._region(name)
        (top, bottom), (left, right) = region.bounds(*self.store.shape(region.scene)[1:])
        return bottom - top, right - left

    def scene(self, name: str) -> Scene:
        """Read the region `name` as a scene of its own, or raise HsisrError if there is none."""
        region = self._region(name)
        scene = self.store.read(region.scene, region.rows, region.cols)
        # Harvard's says where something moved between two bands: like the paper we do not use it
        return replace(scene, name=name, mask=None if self.name in DATASETS else scene.mask)

    def train_mean(self) -> NDArray[np.float32]:
        """Mean of each band over all measured training pixels, (bands,): subtracted from LR, added to SR."""
        total, pixels = np.zeros(self.bands), 0
        for name in self.train:
            scene = self.scene(name)
            measured = True if scene.mask is None else scene.mask
            total += scene.cube.sum(axis=(1, 2), dtype=np.float64, where=measured)
            pixels += scene.height * scene.width if scene.mask is None else int(scene.mask.sum())
        return (total / pixels).astype(np.float32)


def load_dataset(data: AnyPath = INDIAN_PINES, split: AnyPath | None = None, **reading: Any) -> Dataset:
    """Load a dataset; its scenes are read and checked once and kept in the cache folder.

    The cache is found by path, size and time of change of the source files, so a changed one is read again.

    Parameters
    ----------
    data
        "indian-pines"; "cave", "harvard", "foster", "cave-25" or "cave-nine", once prepared in the project's data
        folder; a folder of scenes (CAVE folders and files that `read_scene` reads; anything else in it is ignored);
        one scene for a split into regions; or a store, `scenes.h5`.
    split
        Name or path of a split, see `load_split`; other scenes than it names are not read. None: the one in
        `book/splits` that fits; of several, that of a whole dataset of the paper, or else of most scenes.
    **reading
        `key`, `band_axis`, `divisor` and `bands` of `read_scene`, for all scenes; a store is read already.
    """
    if isinstance(data, str) and data.lower() in (*DATASETS, *CAVE_PARTS) and not Path(data).exists():
        data = prepared_store(data.lower())
    if dataset_name(data) is not None:
        chosen = choose_split(split, [INDIAN_PINES], str(data))
        return Dataset(chosen.dataset, chosen, _prepare(chosen, {INDIAN_PINES: INDIAN_PINES}, reading))
    path = existing(data)
    if path.is_file() and not is_scene_file(path):
        if path.suffix.lower() not in (".h5", ".hdf5"):
            expected = "expected a folder of scenes, a scene (.mat, .hdr, .tif, .npy, .h5) or a store (.h5)"
            raise HsisrError(f"{path} is not a dataset; {expected}.")
        store = Store(path)
        if reading:
            useless = f"{', '.join(reading)} would change nothing"
            raise HsisrError(f"{path} holds prepared scenes: {useless}. Leave it out, or give their folder.")
        chosen = choose_split(split, store.names, str(data), store.dataset)
        return Dataset(chosen.dataset, chosen, store)
    found, _ = find_scenes(path)
    chosen = choose_split(split, list(found), str(data))
    return Dataset(chosen.dataset, chosen, _prepare(chosen, pick_places(found, chosen.scenes), reading))


class _DeclaredStore(Store):
    """The scenes of `split` with the size that their dataset is declared to have, and no values."""

    def __init__(self, source: DatasetSource, split: Split) -> None:
        self.path, self.dataset, self.fingerprint = Path(source.name), source.name, "declared"
        self.names = split.scenes
        # Foster's scenes are a little smaller than the sensor
        height, width = source.sizes[0] if source.sizes else (1024, 1344)
        self._shapes = dict.fromkeys(self.names, (source.bands, height, width))
        self._wavelengths = dict.fromkeys(self.names, np.full(source.bands, np.nan))


def declare_dataset(data: str, split: str | None = None, **reading: Any) -> Dataset:
    """`load_dataset` or, for one of the paper's that is not prepared here, what it is declared to hold (no values)."""
    try:
        return load_dataset(data, split, **reading)
    except NotAtHandError:
        if data not in DATASETS:
            raise
    source = dataset_source(data)
    chosen = load_split(split or data, [f"scene-{number}" for number in range(source.scenes)])
    return Dataset(chosen.dataset, chosen, _DeclaredStore(source, chosen))


def _prepare(split: Split, scenes: Mapping[str, str | Path], reading: dict[str, Any]) -> Store:
    """Return the store of `scenes` (name: place) in the cache folder; write it if it is not there."""
    files = [(name, file.absolute()) for name in scenes for file in scene_files(scenes[name])]
    stamps = [(name, str(file), file.stat().st_size, file.stat().st_mtime_ns) for name, file in files]
    sides, high = {name: split.reduce_to(name) for name in scenes}, sorted(split.high_byte & set(scenes))
    made_of = [STORE_FORMAT, stamps, sides, *high, *sorted(reading.items())]
    key = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:12]
    target = cache_folder() / f"{split.dataset}-{key}" / "scenes.h5"
    # a damaged one is written again; without the lock, so that a cache on a read-only disk can be used
    with suppress(HsisrError):
        return Store(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.parent / ".lock"):
            # another process may have written it while this one waited
            with suppress(HsisrError):
                return Store(target)
            return prepare_scenes(target, scenes, split, reading)
    except OSError as error:
        problem = f"Cannot write to the cache folder {target.parent}: {error.strerror or error}"
        raise HsisrError(f"{problem}. Set the environment variable HSISR_CACHE to another folder.") from error
