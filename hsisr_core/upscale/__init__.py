"""Super-resolve a cube from disk to disk, with trained weights."""

from hsisr_core.upscale.pack import pack
from hsisr_core.upscale.scene import Upscaled, parse_bands, upscale
from hsisr_core.upscale.selftest import find_middle, self_test
from hsisr_core.upscale.weights import FOLDER, adapt_network, find_differences, load_pretrained, shipped

__all__ = [
    "FOLDER",
    "Upscaled",
    "adapt_network",
    "find_differences",
    "find_middle",
    "load_pretrained",
    "pack",
    "parse_bands",
    "self_test",
    "shipped",
    "upscale",
]
