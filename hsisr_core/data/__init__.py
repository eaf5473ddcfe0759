"""Many scenes: fetch and prepare them, keep them in a store, split them into training and test regions."""

from hsisr_core.data.datasets import Dataset, declare_dataset, load_dataset
from hsisr_core.data.fetch import fetch
from hsisr_core.data.prepare import find_scenes, prepare
from hsisr_core.data.sources import DATASETS, commands, dataset_source, missing_datasets
from hsisr_core.data.splits import Name, Region, Split, load_split, write_split
from hsisr_core.data.store import Store, write_store
from hsisr_core.scenes import Scene, read_scene
