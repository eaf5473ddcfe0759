"""A trained network as an ONNX file, for engines that run where there is no PyTorch."""

import json
import logging
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hsisr_core import __version__
from hsisr_core.base import AnyPath, atomic_path
from hsisr_core.errors import HsisrError
from hsisr_core.models import SuperResolver
from hsisr_core.upscale.weights import Pretrained, load_pretrained

_TOLERANCE = 1e-4  # of the largest value: engines add in another order


class _Network(nn.Module):
    """What the file computes: a network around a mean that is an input."""

    def __init__(self, model: SuperResolver) -> None:
        super().__init__()
        self.model = fold(model.eval())

    def forward(self, lr: Tensor, mean: Tensor) -> Tensor:
        lost, _ = self.model.margin
        return self.model.super_resolve(lr - mean) + mean[lost : -lost or None]


def fold(model: SuperResolver) -> SuperResolver:
    """Replace weight normalisation in `model` by the weights that it makes."""
    for layer in model.modules():
        if parametrize.is_parametrized(layer):
            parametrize.remove_parametrizations(layer, "weight")
    return model


def export_onnx(model: str, out: AnyPath) -> str:
    """Write the network of `load_pretrained(model)` to `out`; return a line on what was written.

    Inputs are `lr` (1, bands, height, width) and `mean` (bands, 1, 1), the output is `sr`, all float32. Height, width
    and, where the network allows it, bands are free; the file's metadata say what belongs around the network. An
    engine's SR of a random cube is compared with PyTorch's first.
    """
    if not (find_spec("onnx") and find_spec("onnxscript")):
        raise HsisrError("The export needs two more packages: pip install 'hsisr[onnx]'.")
    weights = load_pretrained(model)
    content = to_onnx(weights)
    engine, difference = _compare(_Network(weights.model), content, weights.bands or 3)
    if not difference <= _TOLERANCE:
        wrong = f"{engine} computes another SR than PyTorch (off by {difference:.1e} of the largest value)"
        raise HsisrError(f"{wrong}: nothing was written. Update onnx, onnxscript and onnxruntime.")
    with atomic_path(out) as temporary:
        temporary.write_bytes(content)
    return (
        f"{Path(out)}: {weights.name}, x{weights.model.scale}, {weights.bands or 'any number of'} bands, "
        f"{len(content) / 1e6:.1f} MB. {engine} differs from PyTorch by {difference:.1e} of the largest value."
    )


def to_onnx(weights: Pretrained) -> bytes:
    """The network as the content of an ONNX file, with its metadata; weight normalisation is folded in place."""
    model, bands = weights.model, weights.bands or max(2, len(weights.model.mean))
    lr, mean = ({}, {}) if weights.bands else ({1: "bands"}, {0: "bands"})
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            program = torch.onnx.export(
                _Network(model), (torch.zeros(1, bands, 9, 10), torch.zeros(bands, 1, 1)), dynamo=True,
                verbose=False, input_names=["lr", "mean"], output_names=["sr"],
                dynamic_shapes=(lr | {2: "height", 3: "width"}, mean),
            )  # fmt: skip
    except torch.onnx.errors.OnnxExporterError as error:
        way = "Export ssrnet, ssrchain, edsr, mcnet or ercsr"
        raise HsisrError(f"{weights.name} cannot be exported for any size. {way}.") from error
    assert program is not None
    crop = model.mirror * model.scale
    notes = {
        "weights": f"{weights.name} (SHA-256 {weights.sha256}), exported by hsisr {__version__}",
        "trained_on": weights.trained_on,
        "scale": model.scale,
        "mean": json.dumps(model.mean.flatten().tolist()),
        "input_lr": "(1, bands, height, width): the cube divided by the value that stands for 1",
        "input_mean": "(bands, 1, 1): `mean` for the bands of the training, else the mean of each band of the cube",
        "before": f"mirror {model.mirror} pixels at each border of lr (numpy.pad, mode 'reflect')",
        "after": f"crop {crop} pixels at each border of sr, which is not clipped: `hsisr upscale` sets what is below 0 "
        "to 0 where the cube has none below it; scores are of values clipped to [0, 1]",
        "tiles": f"equal the whole with {model.halo} more LR pixels on each side, cropped after",
    }
    proto = program.model_proto
    for key, value in notes.items():
        proto.metadata_props.add(key=key, value=str(value))
    return bytes(proto.SerializeToString())


def _compare(network: _Network, content: bytes, bands: int) -> tuple[str, float]:
    """An engine that is installed, and how far its SR is from PyTorch's, relative to the largest value."""
    rng = np.random.default_rng(0)
    inputs = {"lr": rng.random((1, bands, 6, 5), np.float32), "mean": rng.random((bands, 1, 1), np.float32)}
    if find_spec("onnxruntime"):
        from onnxruntime import InferenceSession as Engine
    else:
        from onnx.reference import ReferenceEvaluator as Engine
    with torch.no_grad():
        expected = network(*map(torch.from_numpy, inputs.values())).numpy()
    (sr,) = Engine(content).run(None, inputs)
    return Engine.__module__.partition(".")[0], float(np.abs(sr - expected).max() / np.abs(expected).max())
