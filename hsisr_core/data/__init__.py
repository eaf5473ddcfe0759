"""Scenes: read them, keep them in a store, split them into training and test regions."""

from hsisr_core.data.datasets import Dataset, load_dataset
from hsisr_core.data.regions import Region, Split
from hsisr_core.data.splits import load_split
from hsisr_core.data.store import Store, write_store
from hsisr_core.scenes import Scene, read_scene

__all__ = [
    "Dataset",
    "Region",
    "Scene",
    "Split",
    "Store",
    "load_dataset",
    "load_split",
    "read_scene",
    "write_store",
]
