"""Training patches: both sides show the same place, every batch is a function of its step."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hsisr_core.data import Scene
from hsisr_core.degrade import imresize, make_pair
from hsisr_core.errors import HsisrError
from hsisr_core.runs import RunConfig
from hsisr_core.training import patches
from hsisr_core.training.patches import PatchSampler


def scenes() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.random((3, 40, 52)).astype(np.float32), rng.random((3, 48, 36)).astype(np.float32)]


@pytest.mark.parametrize(
    ("settings", "digest", "mean"),
    [
        ({"lr_side": "patch"}, "1a8f627f4b7311ff", 0.49104729),
        ({"lr_side": "scene", "augment": "dihedral"}, "205750e8d5248f20", 0.50388227),
        ({"lr_side": "scene", "patches_per_image": None}, "e01d234152e691e0", 0.50351671),
    ],
)
def test_batches_are_those_of_the_first_release(settings: dict[str, Any], digest: str, mean: float) -> None:
    """Whole images, so that HR is cut and turned only, which no processor rounds differently."""
    sampler = PatchSampler(scenes(), 2, 4, 4, 1, image_sizes=(1.0,), **settings)
    batches = [sampler.batch(step, share) for step in (0, 1, 7, 100) for share in ((0, 1), (1, 2))]
    whole = b"".join(hr.numpy().tobytes() for _, hr in batches)
    assert hashlib.sha256(whole).hexdigest()[:16] == digest
    assert float(torch.cat([lr for lr, _ in batches]).double().mean()) == pytest.approx(mean, abs=1e-7)


def test_lr_side_patch_is_the_reduced_patch() -> None:
    sampler = PatchSampler(scenes(), 3, 4, 5, seed=1, lr_side="patch", image_sizes=(1.0,))
    lr, hr = (side.numpy() for side in sampler.batch(0))
    assert (lr.shape, hr.shape) == ((5, 3, 4, 4), (5, 3, 12, 12))
    for low, high in zip(lr, hr, strict=True):
        np.testing.assert_allclose(low, imresize(high, 1 / 3), atol=1e-6)


def test_lr_side_patch_is_the_blurred_and_reduced_patch() -> None:
    sampler = PatchSampler(scenes(), 3, 4, 5, seed=1, lr_side="patch", image_sizes=(1.0,), blur=1.5)
    for low, high in zip(*(side.numpy() for side in sampler.batch(0)), strict=True):
        np.testing.assert_allclose(low, make_pair(high, 3, 1.5)[0], atol=1e-6)


@pytest.mark.parametrize("blur", [None, 1.5])
def test_lr_side_scene_is_cut_from_the_reduced_scene(blur: float | None) -> None:
    image = scenes()[0]
    low, high = make_pair(image, 2, blur)
    sampler = PatchSampler([image], 2, 6, 8, 1, "scene", None, (1.0,), "none", blur)
    lr, hr = (side.numpy() for side in sampler.batch(3))
    for (_, y, x, _), small, large in zip(sampler.draw(3), lr, hr, strict=True):
        np.testing.assert_array_equal(small, low[:, y : y + 6, x : x + 6])
        np.testing.assert_array_equal(large, high[:, 2 * y : 2 * y + 12, 2 * x : 2 * x + 12])


def test_both_sides_are_turned_together() -> None:
    """With a scene that only brightens from left to right, the two sides must agree after any turn."""
    ramp = np.tile(np.linspace(0, 1, 48, dtype=np.float32), (2, 48, 1))
    sampler = PatchSampler([ramp], 2, 4, 32, 1, "scene", None, (1.0,), "dihedral")
    lr, hr = (side.numpy() for side in sampler.batch(0))
    coarse = hr.reshape(32, 2, 4, 2, 4, 2).mean(axis=(3, 5))
    np.testing.assert_allclose(coarse[..., 1:3, 1:3], lr[..., 1:3, 1:3], atol=0.02)
    directions = {
        (np.sign(hr[i, 0, 0, -1] - hr[i, 0, 0, 0]), np.sign(hr[i, 0, -1, 0] - hr[i, 0, 0, 0]))
        for i in range(32)
    }
    assert len(directions) == 4


def test_paper_augmentation_has_five_different_variants() -> None:
    sampler = PatchSampler(scenes(), 2, 4, 4, 1, augment="paper")
    cube = np.arange(2 * 9, dtype=np.float32).reshape(2, 3, 3)
    variants = [sampler._cut(cube, 0, 0, 3, index) for index in range(5)]
    assert len({variant.tobytes() for variant in map(np.ascontiguousarray, variants)}) == 5
    np.testing.assert_array_equal(variants[1][0], np.rot90(cube[0]))
    np.testing.assert_array_equal(variants[4][0], cube[0][:, ::-1])


def test_an_epoch_is_every_patch_once() -> None:
    """24 places x 3 sizes x 5 variants = 360 patches an image, as in the group's scripts."""
    images = [np.random.default_rng(i).random((2, 64, 64)).astype(np.float32) for i in range(2)]
    sampler = PatchSampler(images, 2, 8, 16, seed=5)
    assert sampler.pool is not None
    assert len(sampler.pool) == 2 * 360
    assert RunConfig(scale=2, patch=8, batch=16, seed=5).steps_per_epoch(2) == 45
    seen = np.concatenate([sampler.draw(step) for step in range(45)])
    assert sorted(map(tuple, seen)) == sorted(map(tuple, sampler.pool))
    assert not np.array_equal(sampler.draw(0), sampler.draw(45))


@pytest.mark.parametrize("patches_per_image", [24, None])
def test_batches_depend_on_seed_and_step_alone(patches_per_image: int | None) -> None:
    def batch(seed: int, step: int, before: int = 0) -> np.ndarray:
        sampler = PatchSampler(scenes(), 2, 4, 4, seed, patches_per_image=patches_per_image)
        for earlier in range(before):
            sampler.batch(earlier)
        return sampler.batch(step)[1].numpy()

    np.testing.assert_array_equal(batch(1, 9), batch(1, 9, before=5))
    assert not np.array_equal(batch(1, 9), batch(1, 10))
    assert not np.array_equal(batch(1, 9), batch(2, 9))


@pytest.mark.parametrize("lr_side", ["patch", "scene"])
@pytest.mark.parametrize("patches_per_image", [24, None])
def test_no_patch_touches_a_masked_pixel(lr_side: str, patches_per_image: int | None) -> None:
    cube = np.full((2, 60, 52), 0.5, np.float32)
    mask = np.ones(cube.shape[1:], np.bool_)
    mask[40:], mask[5, 20] = False, False
    cube[:, ~mask] = 0
    scene = Scene("a", cube, np.full(2, np.nan), 1.0, "", mask)
    sampler = PatchSampler([scene], 2, 5, 16, 1, lr_side, patches_per_image, (1.0, 0.75), "dihedral")
    batches = [sampler.batch(step) for step in range(8)]
    for side in (torch.cat(sides) for sides in zip(*batches, strict=True)):
        assert torch.allclose(side, torch.tensor(0.5))
    assert len({(y, x) for step in range(8) for _, y, x, _ in sampler.draw(step)}) > 20
    with pytest.raises(HsisrError, match=r"size factor 0.5\) has no 20x20 pixels without a masked one"):
        PatchSampler([scene], 2, 10, 4, 1, lr_side, image_sizes=(0.5,))


def test_a_batch_larger_than_an_epoch_is_refused() -> None:
    with pytest.raises(HsisrError, match="epoch, 5 patches"):
        PatchSampler(scenes()[:1], 2, 4, 6, 1, patches_per_image=1, image_sizes=(1.0,))


@pytest.mark.parametrize("lr_side", ["patch", "scene"])
def test_images_beyond_the_memory_are_mapped_and_give_the_same_batches(
    lr_side: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HSISR_CACHE", str(tmp_path / "cache"))

    def sampler() -> PatchSampler:
        return PatchSampler(iter(scenes()), 3, 4, 5, seed=1, lr_side=lr_side)

    in_memory = sampler()
    monkeypatch.setattr(patches, "MEMORY_BYTES", 2 * scenes()[0].nbytes)
    mapped = sampler()
    kinds = [type(image) for image in mapped.hr]
    assert np.memmap in kinds
    assert np.ndarray in kinds
    assert list((tmp_path / "cache").iterdir()) == []  # the files have no names
    for step in range(5):
        for expected, found in zip(in_memory.batch(step), mapped.batch(step), strict=True):
            assert torch.equal(expected, found)
