"""Scenes: read them, keep them in a store, split them into training and test regions."""

from hsisr_core.data.datasets import Dataset, load_dataset
from hsisr_core.data.readers import read_scene
from hsisr_core.data.regions import Region, Split
from hsisr_core.data.scene import Scene
from hsisr_core.data.splits import load_split
from hsisr_core.data.store import Store, write_store

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
