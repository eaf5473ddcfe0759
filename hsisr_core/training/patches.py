"""Training patches, drawn while training: every batch is a function of the seed and the step alone."""

import math
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hsisr_core.base import cache_folder
from hsisr_core.data import Scene
from hsisr_core.degrade import blur_cube, imresize, resize_matrix, shrink_mask
from hsisr_core.errors import HsisrError
from hsisr_core.metrics import whole_windows
from hsisr_core.runs import AUGMENTATIONS

# of training images in memory; what is beyond is mapped from files, of which the system holds what it has room for
MEMORY_BYTES = 2 * 10**9


class PatchSampler:
    """Draw batches of LR and HR patches from training scenes, or HR cubes (bands, height, width), float32 in [0, 1].

    The scenes are taken one by one, so they can be read on the way; `patch`, in LR pixels a side, fits all of them. No
    patch has a pixel that is masked, or that was resized from one. As in `RunConfig`:

    - `lr_side`: "patch" cuts HR, augments, then reduces the patch itself, so its border is seen by the bicubic
      filter (the group's scripts). "scene" reduces the whole scene once and cuts both sides from it.
    - `patches_per_image`: places per image and size, drawn once; an epoch is every place in every augmentation
      (paper, Sec. IV-B: 24). None draws new places endlessly, more often from larger images; there are no epochs.
    - `blur`: of HR, or the HR patch, before it is reduced.
    - `augment`: "paper" is as it is, turned by 90, 180 and 270 degrees, flipped once; "dihedral" all eight.
    """

    def __init__(
        self,
        scenes: Iterable[np.ndarray | Scene],
        scale: int,
        patch: int,
        batch: int,
        seed: int,
        lr_side: str = "patch",
        patches_per_image: int | None = 24,
        image_sizes: Sequence[float] = (1.0, 0.75, 0.5),
        augment: str = "paper",
        blur: float | None = None,
    ) -> None:
        self.blur = blur
        self.scale, self.patch, self.batch_size, self.seed = scale, patch, batch, seed
        self.lr_side = lr_side
        self.variants = AUGMENTATIONS[augment]
        self.hr: list[np.ndarray] = []
        # only where LR patches are cut from reduced scenes
        self.lr: list[np.ndarray] = []
        self._memory_left = MEMORY_BYTES
        # places where a patch can start; on the LR grid, or any HR pixel when the patch itself is reduced
        self.places: list[tuple[int, int]] = []
        # the indices of those without a masked pixel; None: all
        self.allowed: list[np.ndarray | None] = []
        side, step = scale * patch, scale if lr_side == "scene" else 1
        for item in scenes:
            scene, mask = (item.cube, item.mask) if isinstance(item, Scene) else (item, None)
            for size in image_sizes:
                image = scene if size == 1 else imresize(scene, size)
                height, width = (length // scale * scale for length in image.shape[1:])
                image = image[:, :height, :width]
                if lr_side == "scene":
                    self.lr.append(self._store(imresize(blur_cube(image, blur), 1 / scale)))
                self.hr.append(self._store(image))
                self.places.append(((height - side) // step + 1, (width - side) // step + 1))
                self.allowed.append(None)
                if mask is not None:
                    measured = (mask if size == 1 else shrink_mask(mask, size))[:height, :width]
                    clear = whole_windows(measured, side)[::step, ::step]
                    if lr_side == "scene":
                        clear &= whole_windows(shrink_mask(measured, 1 / scale, blur), patch)
                    self.allowed[-1] = np.flatnonzero(clear)
                    if not clear.any():
                        raise HsisrError(
                            f"A training image (size factor {size:g}) has no {side}x{side} pixels without a masked "
                            "one: use a smaller `patch`, or leave that image or small values of `image_sizes` out."
                        )
        self.pool = None if patches_per_image is None else self._draw_pool(patches_per_image)

    def _store(self, image: np.ndarray) -> np.ndarray:
        """`image` itself, or the same values in a mapped file once the memory for images is used up."""
        self._memory_left -= image.nbytes
        if self._memory_left >= 0:
            return image
        # not the system's folder for temporary files, which is often memory itself
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            mapped = np.memmap(file, image.dtype, "w+", shape=image.shape)
        mapped[:] = image
        return mapped

    def _draw_pool(self, count: int) -> np.ndarray:
        """All patches of an epoch as rows (image, place y, place x, variant)."""
        rng = np.random.default_rng([self.seed, 0])
        rows = []
        for image in range(len(self.places)):
            for y, x in zip(*self._draw_places(rng, image, count), strict=True):
                rows += [(image, y, x, variant) for variant in range(len(self.variants))]
        if len(rows) < self.batch_size:
            raise HsisrError(f"batch={self.batch_size} is larger than an epoch, {len(rows)} patches.")
        return np.array(rows)

    def _draw_places(self, rng: np.random.Generator, image: int, count: int | None = None) -> tuple[Any, Any]:
        """Rows and columns of `count` places in an image, or of one."""
        height, width = self.places[image]
        allowed = self.allowed[image]
        if allowed is None:
            return rng.integers(height, size=count), rng.integers(width, size=count)
        return divmod(rng.choice(allowed, count), width)

    def draw(self, step: int) -> np.ndarray:
        """Rows (image, place y, place x, variant) of the batch of `step`, counted from 0."""
        batch = self.batch_size
        if self.pool is not None:
            epoch, index = divmod(step, len(self.pool) // batch)
            order = np.random.default_rng([self.seed, 1, epoch]).permutation(len(self.pool))
            return self.pool[order[index * batch : (index + 1) * batch]]
        rng = np.random.default_rng([self.seed, 2, step])
        sizes = zip(self.places, self.allowed, strict=True)
        areas = np.array(
            [math.prod(place) if rest is None else rest.size for place, rest in sizes], dtype=float
        )
        images = rng.choice(len(areas), size=batch, p=areas / areas.sum())
        variants = rng.integers(len(self.variants), size=batch)
        places = [self._draw_places(rng, image) for image in images]
        return np.column_stack([images, places, variants])

    def batch(self, step: int, share: tuple[int, int] = (0, 1)) -> tuple[Tensor, Tensor]:
        """LR (batch, bands, p, p), HR (batch, bands, r*p, r*p) of `step`; of `share` = (k, n) part k, from 0, of n."""
        process, processes = share
        count = self.batch_size // processes
        low, high = [], []
        for image, y, x, variant in self.draw(step)[process * count : (process + 1) * count]:
            if self.lr_side == "scene":
                low.append(self._cut(self.lr[image], y, x, self.patch, variant))
                y, x = y * self.scale, x * self.scale
            high.append(self._cut(self.hr[image], y, x, self.scale * self.patch, variant))
        hr = np.stack(high)
        if self.lr_side == "scene":
            lr = np.stack(low)
        else:
            reduce = resize_matrix(self.scale * self.patch, self.patch, 1 / self.scale)
            lr = (reduce.T @ blur_cube(hr.astype(np.float64), self.blur) @ reduce).astype(np.float32)
        return torch.from_numpy(lr), torch.from_numpy(hr)

    def _cut(self, image: np.ndarray, y: int, x: int, side: int, variant: int) -> np.ndarray:
        """The patch of `side` pixels that starts at (y, x), turned and flipped as `variant` says."""
        turns, flip = self.variants[variant]
        patch = np.rot90(image[:, y : y + side, x : x + side], turns, axes=(1, 2))
        return patch[:, :, ::-1] if flip else patch
