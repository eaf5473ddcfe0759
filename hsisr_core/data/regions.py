"""Which parts of which scenes train and which test.

A region is cut from the HR scene before anything is resized, so no pixel of a test region reaches a
training pixel through the resize filter. Where the names of all scenes are not known here, a split is a rule:
a seeded function of the names that are there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

from hsisr_core.errors import HsisrError
from hsisr_core.scenes import Bounds, span

__all__ = ["Region", "Split", "divide_by_rule"]


@dataclass(frozen=True)
class Region:
    """A part of a scene that trains or tests.

    Attributes
    ----------
    name
        Name of the region, unique in its split.
    scene
        Name of the scene it is cut from.
    rows, cols
        (start, stop) in HR pixels of the scene, stop excluded; None: all of them.
    reduce_to
        Pixels of the longer side that the whole scene is reduced to when it is prepared, by a whole factor,
        with `imresize`; a scene that is not larger stays as it is. None: never. `rows` and `cols` count
        pixels after it.
    """

    name: str
    scene: str
    rows: Bounds = None
    cols: Bounds = None
    reduce_to: int | None = None

    def bounds(self, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return ((top, bottom), (left, right)) in a scene of `height` x `width` pixels.

        Raises
        ------
        HsisrError
            The region leaves the scene.
        """
        where = f"of region {self.name} in scene {self.scene} of {height}x{width} pixels"
        return span(self.rows, height, f"Rows {where}"), span(self.cols, width, f"Columns {where}")

    def overlaps(self, other: Region) -> bool:
        """Whether the two regions share a pixel."""
        return (
            self.scene == other.scene
            and _intersect(self.rows, other.rows)
            and _intersect(self.cols, other.cols)
        )


@dataclass(frozen=True)
class Split:
    """Training and test regions of a dataset.

    Attributes
    ----------
    name
        Name of the split.
    dataset
        Name that results are reported under.
    train, test
        The regions. None of `train` shares a pixel with one of `test`.
    note
        How the split was made, for the reader.

    Raises
    ------
    HsisrError
        A side has no region, two regions have one name or reduce one scene differently, or a training region
        overlaps a test region.
    """

    name: str
    dataset: str
    train: tuple[Region, ...]
    test: tuple[Region, ...]
    note: str = ""

    def __post_init__(self) -> None:
        if not self.train or not self.test:
            raise HsisrError(f"Split {self.name} needs at least one region in train and one in test.")
        names = [region.name for region in self.regions]
        for name in names:
            if names.count(name) > 1:
                raise HsisrError(f"Split {self.name} has two regions named {name!r}. Rename one.")
        for region in self.regions:
            if region.reduce_to != self.reduce_to(region.scene):
                raise HsisrError(
                    f"Split {self.name}: the regions of scene {region.scene} differ in reduce_to. Give one value."
                )
        for train, test in product(self.train, self.test):
            if train.overlaps(test):
                raise HsisrError(
                    f"Split {self.name}: training region {train.name} and test region {test.name} share "
                    f"pixels of scene {train.scene}. Move one, so that no test pixel is trained on."
                )

    @property
    def regions(self) -> tuple[Region, ...]:
        """All regions, training first."""
        return self.train + self.test

    @property
    def scenes(self) -> list[str]:
        """Names of the scenes that the regions are cut from, sorted."""
        return sorted({region.scene for region in self.regions})

    def reduce_to(self, scene: str) -> int | None:
        """Pixels of the longer side that `scene` is reduced to when it is prepared, if larger; None: never."""
        return next(region.reduce_to for region in self.regions if region.scene == scene)


def divide_by_rule(
    scenes: Iterable[str],
    seed: int,
    train_fraction: float,
    test_side: int | None = None,
    where: str = "A split",
) -> tuple[tuple[Region, ...], tuple[Region, ...]]:
    """Divide scenes at random, but the same way everywhere: training and test regions, by name.

    The names are put in the order of the SHA-256 of "seed:name"; the first `train_fraction` of them train,
    rounded to a whole number. So it depends on the seed and the names alone, and on no library.

    Parameters
    ----------
    scenes
        Names, in any order.
    seed, train_fraction
        As above; 0 < train_fraction < 1.
    test_side
        Test regions are the top left `test_side` x `test_side` pixels of their scene (paper, Section IV-B:
        512); None: the whole scene.
    where
        What it is for, for the message.

    Raises
    ------
    HsisrError
        There are too few scenes for one on each side.
    """
    names = sorted(set(scenes), key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    count = round(train_fraction * len(names))
    if not 0 < count < len(names):
        raise HsisrError(
            f"{where} takes {train_fraction:.0%} of the scenes for training, and there are {len(names)}: "
            "one side would be empty. Add scenes."
        )
    corner = None if test_side is None else (0, test_side)
    train = tuple(Region(name, name) for name in sorted(names[:count]))
    return train, tuple(Region(name, name, corner, corner) for name in sorted(names[count:]))


def _intersect(first: Bounds, second: Bounds) -> bool:
    if first is None or second is None:
        return True
    return first[0] < second[1] and second[0] < first[1]
