"""Prepared scenes in one HDF5 file, lossless, written once, read in parts.

Layout: one dataset `/scenes/<name>` (bands, height, width) per scene with the attributes `divisor`, `wavelengths` (nm)
and `source`. It holds uint16, to be divided by `divisor`, where that gives back the float32 cube to the last bit, else
float32. Texts have a fixed length. A scene with a mask has another, `/masks/<name>` (height, width), 1 for a
measurement. The file has the attributes `hsisr_format`, `dataset` and `fingerprint`; `/sources` is JSON.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hsisr_core.base import AnyPath, atomic_path
from hsisr_core.errors import HsisrError
from hsisr_core.scenes import Bounds, Scene, check_size, open_hdf5, read_attribute, span, walk

# Raised by one when the layout, or what a reader makes of a file, changes. Version 1 has texts of variable length.
STORE_FORMAT = 2

Source = tuple[str, int, str]  # name, bytes, sha256

# Pixels a side; all bands of a place are in one chunk, because patches need them all.
_CHUNK = 64
# Bytes for what a file holds beside the scenes: names, sources, HDF5's own tables.
_SPARE = 1 << 20


def write_store(path: AnyPath, scenes: Iterable[Scene], *, sources: Sequence[Source], dataset: str) -> None:
    """Write `scenes`, one in memory at a time, to the store `path`, whole or not at all; `sources` are read last."""
    digests: dict[str, str] = {}
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.create_group("masks")
        for scene in scenes:
            # with a mask of a byte a pixel; where a write fails, the HDF5 library ends the whole process
            if shutil.disk_usage(temporary.parent).free < scene.cube.nbytes + scene.cube[0].size + _SPARE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            _write_scene(file, scene)
            # so that the disk tells what is left for the next scene
            file.flush()
            digests[scene.name] = _digest(scene)
            del scene
        joined = "\n".join(digests[name] for name in sorted(digests))
        file.attrs["hsisr_format"] = STORE_FORMAT
        file.attrs["dataset"] = np.bytes_(dataset.encode())
        file.attrs["fingerprint"] = np.bytes_(hashlib.sha256(joined.encode()).hexdigest())
        # not an attribute: HDF5 limits these to 64 KiB, and CAVE has a thousand files
        file["sources"] = np.bytes_(json.dumps(sources))


class Store:
    """A file that `write_store` made, opened for each read: `dataset`, `names` of its scenes, sorted, and `sources`.

    `fingerprint` is a SHA-256 over the sorted (name, shape, values, wavelengths, mask), however stored.
    """

    def __init__(self, path: AnyPath) -> None:
        self.path = Path(path)
        with self._open() as file:
            version = int(_read_attribute(file, "hsisr_format", "i"))
            # no link is followed, and no other file read
            items = dict(walk(file))
            if version not in (1, STORE_FORMAT) or "sources" not in items:
                found = f"{self.path} lacks its sources or is of version {version}; expected version {STORE_FORMAT}"
                raise HsisrError(f"{found}. Delete it and prepare the data again.")
            self.dataset = _read_attribute(file, "dataset", "S")
            self.fingerprint = _read_attribute(file, "fingerprint", "S")
            for item in items.values():
                check_size(self.path, item.shape or (), item.dtype)
            stated = json.loads(items["sources"][()]) if version == STORE_FORMAT else []
            self.sources: list[Source] = [tuple(source) for source in stated]
            scenes = {name[7:]: item for name, item in sorted(items.items()) if name.startswith("scenes/")}
            self.names = list(scenes)
            self._shapes: dict[str, tuple[int, int, int]] = {name: scenes[name].shape for name in scenes}
            self._wavelengths = {name: _read_attribute(scenes[name], "wavelengths", "f") for name in scenes}
            self._masked = {name for name in scenes if f"masks/{name}" in items}

    def shape(self, name: str) -> tuple[int, int, int]:
        """Return (bands, height, width) of scene `name`."""
        if name not in self._shapes:
            raise HsisrError(f"{self.path} has no scene {name!r}. It holds: {', '.join(self.names)}.")
        return self._shapes[name]

    def wavelengths(self, name: str) -> NDArray[np.float64]:
        """Return the band centres of scene `name` in nm, (bands,); NaN if unknown."""
        return self._wavelengths[name]

    def read(self, name: str, rows: Bounds = None, cols: Bounds = None) -> Scene:
        """Read scene `name`, or the part `rows` x `cols` of it, each (start, stop) in pixels."""
        _, height, width = self.shape(name)
        top, bottom = span(rows, height, f"rows of scene {name}")
        left, right = span(cols, width, f"columns of scene {name}")
        with self._open() as file:
            item = file[f"scenes/{name}"]
            stored = item[:, top:bottom, left:right]
            divisor = float(_read_attribute(item, "divisor", "f"))
            source = _read_attribute(item, "source", "S")
            mask = None
            if name in self._masked:
                mask = file[f"masks/{name}"][top:bottom, left:right].astype(np.bool_)
        cube = _decode(stored, divisor) if stored.dtype == np.uint16 else stored
        return Scene(name, cube, self._wavelengths[name], divisor, source, mask)

    @contextmanager
    def _open(self) -> Iterator[h5py.File]:
        if not self.path.is_file():
            raise HsisrError(f"{self.path} does not exist. Prepare the data again.")
        with open_hdf5(self.path, "a store of prepared scenes", "Delete it and prepare it again.") as file:
            yield file


def _read_attribute(item: h5py.Dataset | h5py.File, name: str, kind: str) -> Any:
    """An attribute of the kind that was written."""
    value = read_attribute(item, name, kind)
    if value is None:
        raise ValueError(f"{name} has another type than it was written with")
    return value


def _write_scene(file: h5py.File, scene: Scene) -> None:
    counts = _count(scene.cube, scene.divisor)
    item = file.create_dataset(
        f"scenes/{scene.name}",
        data=scene.cube if counts is None else counts,
        chunks=(scene.bands, min(_CHUNK, scene.height), min(_CHUNK, scene.width)),
        # its own checksum tells a damaged chunk when it is read
        compression="gzip",
        compression_opts=1,
        shuffle=True,
    )
    item.attrs["divisor"] = scene.divisor
    item.attrs["wavelengths"] = scene.wavelengths
    item.attrs["source"] = np.bytes_(scene.source.encode())
    if scene.mask is not None:
        file["masks"].create_dataset(scene.name, data=scene.mask, compression="gzip", compression_opts=1)


def _count(cube: NDArray[np.float32], divisor: float) -> NDArray[np.uint16] | None:
    """Whole numbers that, divided by `divisor`, give back `cube` to the last bit; None: 16 bits cannot."""
    counts = np.empty(cube.shape, np.uint16)
    for band, whole in zip(cube, counts, strict=True):
        exact = np.rint(np.multiply(band, divisor, dtype=np.float64))
        if exact.min() < 0 or exact.max() > np.iinfo(np.uint16).max:
            return None
        whole[...] = exact
        # as integers: a negative zero is not zero
        if not np.array_equal(_decode(whole, divisor).view(np.uint32), band.view(np.uint32)):
            return None
    return counts


def _decode(counts: NDArray[np.uint16], divisor: float) -> NDArray[np.float32]:
    # Divided in double precision, as the readers do, and in one step: no second copy in double
    cube = np.empty(counts.shape, np.float32)
    return np.divide(counts, divisor, out=cube, dtype=np.float64, casting="same_kind")


def _digest(scene: Scene) -> str:
    """SHA-256 of what a scene holds, as hexadecimal digits; the same on any machine."""
    digest = hashlib.sha256(json.dumps([scene.name, scene.cube.shape]).encode())
    digest.update(np.ascontiguousarray(scene.cube, "<f4").data)
    digest.update(np.ascontiguousarray(scene.wavelengths, "<f8").data)
    if scene.mask is not None:
        digest.update(np.ascontiguousarray(scene.mask).data)
    return digest.hexdigest()
