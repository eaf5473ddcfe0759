"""One cube: what a scene is, and how it is read, opened and written."""

from hsisr_core.scenes.arrays import is_store, open_hdf5, read_attribute, variable_names, walk
from hsisr_core.scenes.bands import BandChoice
from hsisr_core.scenes.raster import CAVE_DIVISOR, band_pngs, visible
from hsisr_core.scenes.read import (
    INDIAN_PINES,
    dataset_name,
    existing,
    is_scene_file,
    open_scene,
    read_scene,
    scene_files,
    scene_name,
)
from hsisr_core.scenes.scene import MINIMUM_SIDE, Bounds, Georeference, OpenScene, Scene, check_size, span
from hsisr_core.scenes.write import SUFFIXES, Product, cube_writer, output_files
