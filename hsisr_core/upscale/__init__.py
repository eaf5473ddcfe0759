"""Super-resolve a cube from disk to disk, with trained weights."""

from hsisr_core.upscale.export import export_onnx, fold, to_onnx
from hsisr_core.upscale.pack import pack
from hsisr_core.upscale.scene import find_middle, parse_bands, self_test, upscale
from hsisr_core.upscale.weights import adapt_network, find_differences, load_pretrained
