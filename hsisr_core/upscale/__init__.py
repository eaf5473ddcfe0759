"""Super-resolve a cube from disk to disk, with trained weights."""

from hsisr_core.upscale.scene import parse_bands, upscale
from hsisr_core.upscale.weights import load_pretrained

__all__ = ["load_pretrained", "parse_bands", "upscale"]
