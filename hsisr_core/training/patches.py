"""Training patches, drawn while training: nothing is cut to disk.

Every batch is a function of the seed and the step alone, so a resumed training sees the batches it
would have seen, and no random state has to be stored.

The training images are made once, at every size. Up to `MEMORY_BYTES` of them are held in memory, what is beyond
in unnamed files that are mapped: a dataset larger than the memory can be trained on, and the system keeps in memory
what it has room for. (The store itself cannot be mapped, for it is compressed.)
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from hsisr_core.base.paths import cache_folder
from hsisr_core.degrade import imresize, resize_matrix
from hsisr_core.errors import HsisrError
from hsisr_core.runs import AUGMENTATIONS

__all__ = ["AUGMENTATIONS", "MEMORY_BYTES", "PatchSampler"]

MEMORY_BYTES = 2 * 10**9  # of training images; more are kept in files


class PatchSampler:
    """Draw batches of LR and HR patches from training scenes.

    Parameters
    ----------
    scenes : iterable of ndarray
        HR cubes (bands, height, width), float32 in [0, 1]. Taken one by one, so they can be read on the way.
    scale : int
        Factor r.
    patch : int
        LR pixels a side; the HR patch has ``scale * patch``.
    batch : int
        Patches in a batch.
    seed : int
    lr_side : {"patch", "scene"}
        "patch": cut HR, augment, then reduce the patch itself, so its border is seen by the bicubic
        filter (the group's scripts). "scene": reduce the whole scene once and cut both sides from it.
    patches_per_image : int or None
        Places per image and size, drawn once; an epoch is every place in every augmentation (paper,
        Sec. IV-B: 24). None draws new places for ever, more often from larger images; there are no epochs.
    image_sizes : sequence of float
        The images are also used reduced by these factors (paper: 1, 0.75, 0.5).
    augment : {"none", "paper", "dihedral"}
        "paper": as it is, turned by 90, 180 and 270 degrees, flipped once. "dihedral": all eight.

    Raises
    ------
    HsisrError
        A scene, at its smallest size, is smaller than one HR patch.
    """

    def __init__(
        self,
        scenes: Iterable[np.ndarray],
        scale: int,
        patch: int,
        batch: int,
        seed: int,
        lr_side: str = "patch",
        patches_per_image: int | None = 24,
        image_sizes: Sequence[float] = (1.0, 0.75, 0.5),
        augment: str = "paper",
    ) -> None:
        self.scale, self.patch, self.batch_size, self.seed = scale, patch, batch, seed
        self.lr_side = lr_side
        self.variants = AUGMENTATIONS[augment]
        self.hr: list[np.ndarray] = []
        self.lr: list[np.ndarray] = []  # only where LR patches are cut from reduced scenes
        self.memory_left = MEMORY_BYTES
        sizes: list[tuple[int, int, float]] = []
        for scene in scenes:
            for size in image_sizes:
                image = scene if size == 1 else imresize(scene, size)
                height, width = image.shape[1:]
                sizes.append((height, width, size))
                if min(height, width) < scale * patch:
                    continue  # refused below, where the smallest of all is known
                image = image[:, : height // scale * scale, : width // scale * scale]
                if lr_side == "scene":
                    self.lr.append(self._kept(imresize(image, 1 / scale)))
                self.hr.append(self._kept(image))
        height, width, size = min(sizes, key=lambda item: min(item[:2]))
        if min(height, width) < scale * patch:
            raise HsisrError(
                f"A training image of {height}x{width} pixels (size factor {size:g}) "
                f"is smaller than an HR patch of {scale * patch}x{scale * patch} pixels: "
                f"use a smaller `patch` than {patch}, or leave small values out of `image_sizes`."
            )
        # places where a patch can start; on the LR grid, or any HR pixel when the patch itself is reduced
        step = scale if lr_side == "scene" else 1
        self.places = [tuple((side - scale * patch) // step + 1 for side in hr.shape[1:]) for hr in self.hr]
        self.pool: np.ndarray | None = None
        if patches_per_image is not None:
            self.pool = self._draw_pool(patches_per_image)
            if len(self.pool) < batch:
                raise HsisrError(
                    f"batch={batch} is larger than an epoch of {len(self.pool)} patches: use a smaller batch."
                )

    def _kept(self, image: np.ndarray) -> np.ndarray:
        """`image` itself, or the same values in a mapped file once the memory for images is used up."""
        self.memory_left -= image.nbytes
        if self.memory_left >= 0:
            return image
        folder = cache_folder()  # not the system's folder for temporary files: that is often memory
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:  # the map outlives the name
            mapped = np.memmap(file, image.dtype, "w+", shape=image.shape)
        mapped[:] = image
        return mapped

    def _draw_pool(self, count: int) -> np.ndarray:
        """All patches of an epoch as rows (image, place y, place x, variant)."""
        rng = np.random.default_rng([self.seed, 0])
        rows = []
        for image, (height, width) in enumerate(self.places):
            for y, x in zip(rng.integers(height, size=count), rng.integers(width, size=count), strict=True):
                rows += [(image, y, x, variant) for variant in range(len(self.variants))]
        return np.array(rows)

    @property
    def steps_per_epoch(self) -> int | None:
        """Whole batches in an epoch; None where places are drawn for ever."""
        return None if self.pool is None else len(self.pool) // self.batch_size

    def choices(self, step: int) -> np.ndarray:
        """Rows (image, place y, place x, variant) of the batch of `step`, counted from 0."""
        if self.pool is not None:
            per_epoch = len(self.pool) // self.batch_size
            epoch, index = divmod(step, per_epoch)
            order = np.random.default_rng([self.seed, 1, epoch]).permutation(len(self.pool))
            return self.pool[order[index * self.batch_size : (index + 1) * self.batch_size]]
        rng = np.random.default_rng([self.seed, 2, step])
        areas = np.array([height * width for height, width in self.places], dtype=float)
        images = rng.choice(len(areas), size=self.batch_size, p=areas / areas.sum())
        variants = rng.integers(len(self.variants), size=self.batch_size)
        places = [
            (rng.integers(self.places[image][0]), rng.integers(self.places[image][1])) for image in images
        ]
        return np.column_stack([images, np.array(places), variants])

    def batch(self, step: int, share: tuple[int, int] = (0, 1)) -> tuple[Tensor, Tensor]:
        """LR (batch, bands, p, p) and HR (batch, bands, r*p, r*p) of `step`, float32.

        `share` = (k, n) takes the k-th of n equal parts, k from 0: what process k of n trains on.
        """
        process, processes = share
        count = self.batch_size // processes
        side = self.scale * self.patch
        low, high = [], []
        for image, y, x, variant in self.choices(step)[process * count : (process + 1) * count]:
            if self.lr_side == "scene":
                low.append(self._turned(self.lr[image][:, y : y + self.patch, x : x + self.patch], variant))
                y, x = y * self.scale, x * self.scale
            high.append(self._turned(self.hr[image][:, y : y + side, x : x + side], variant))
        hr = np.stack(high)
        if self.lr_side == "scene":
            lr = np.stack(low)
        else:
            reduce = resize_matrix(side, self.patch, 1 / self.scale)
            lr = (reduce.T @ hr.astype(np.float64) @ reduce).astype(np.float32)
        return torch.from_numpy(lr), torch.from_numpy(hr)

    def _turned(self, cube: np.ndarray, variant: int) -> np.ndarray:
        turns, flip = self.variants[variant]
        turned = np.rot90(cube, turns, axes=(1, 2))
        return turned[:, :, ::-1] if flip else turned
