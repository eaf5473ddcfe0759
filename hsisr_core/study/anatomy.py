"""Look inside a network: what each step outputs, what it costs, how far a pixel reaches."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.func import functional_call

from hsisr_core.models import SSRNet, SuperResolver

__all__ = ["layer_table", "multiply_adds", "reach", "ssrnet_parameters"]


def layer_table(model: SSRNet, bands: int, height: int, width: int) -> pd.DataFrame:
    """The steps of SSRNet with the shape that leaves each, for one LR cube.

    Columns: step, equation (of the paper), output (features, bands, height, width), parameters,
    multiply_adds. One row per top-level step; the modules are one row each.
    """
    steps: list[tuple[str, str, nn.Module]] = [("initial features", "1", model.head)]
    steps += [(f"module {index}", "2, 4-7", module) for index, module in enumerate(model.body, start=1)]
    steps += [("transposed convolution", "3", model.upsample), ("last convolution", "3", model.tail)]
    costs = multiply_adds(model, bands, height, width)
    rows: list[dict[str, Any]] = []
    shapes: dict[nn.Module, torch.Size] = {}
    hooks = [
        layer.register_forward_hook(lambda layer, _, out: shapes.__setitem__(layer, out.shape))
        for _, _, layer in steps
    ]
    run_shapes(model, bands, height, width)
    for hook in hooks:
        hook.remove()
    for name, equation, layer in steps:
        inner = [part for part in layer.modules() if part in costs]
        rows.append(
            {
                "step": name,
                "equation": equation,
                "output": " x ".join(map(str, feature_shape(layer, shapes[layer]))),
                "parameters": sum(parameter.numel() for parameter in layer.parameters()),
                "multiply_adds": sum(costs[part] for part in inner),
            }
        )
    return pd.DataFrame(rows)


def feature_shape(layer: nn.Module, shape: torch.Size) -> tuple[int, ...]:
    """(features, bands, height, width) of an output: the last two steps have the features first, the others last."""
    _, *sizes = shape
    return (
        tuple(sizes) if isinstance(layer, nn.ConvTranspose3d) or sizes[0] == 1 else (sizes[-1], *sizes[:-1])
    )


def multiply_adds(model: nn.Module, bands: int, height: int, width: int) -> dict[nn.Module, int]:
    """Multiply-adds of each convolution for one LR cube, from the shapes it meets. One is two FLOPs."""
    costs: dict[nn.Module, int] = {}

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d | nn.Conv3d | nn.ConvTranspose3d)
        taps = layer.weight[0].numel()  # all weights that meet at one voxel, per slice of the first axis
        # a convolution uses every tap at every output voxel, a transposed one at every input voxel
        voxels = inputs[0] if isinstance(layer, nn.ConvTranspose3d) else output
        costs[layer] = costs.get(layer, 0) + voxels.numel() * taps

    kinds = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose3d)
    hooks = [layer.register_forward_hook(count) for layer in model.modules() if isinstance(layer, kinds)]
    run_shapes(model, bands, height, width)
    for hook in hooks:
        hook.remove()
    return costs


def run_shapes(model: nn.Module, bands: int, height: int, width: int) -> None:
    """Call `model` on an LR cube of this size for its shapes alone: nothing is computed, hooks run."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    shapes = {name: value.to("meta") for name, value in tensors.items()}
    if isinstance(model, SSRNet):
        model.stepwise = True
    try:
        functional_call(model, shapes, (torch.zeros(1, bands, height, width, device="meta"),))
    finally:
        if isinstance(model, SSRNet):
            model.stepwise = False


def reach(model: SuperResolver, bands: int, side: int) -> Tensor:
    """How much each LR voxel moves the middle SR voxel: |gradient|, shape (bands, side, side)."""
    lr = torch.full((1, bands, side, side), 0.5, requires_grad=True)
    sr = model(lr + model.mean)
    lost_bands, lost_pixels = model.margin
    middle = side // 2 * model.scale + model.scale // 2 - lost_pixels
    sr[0, bands // 2 - lost_bands, middle, middle].backward()
    assert lr.grad is not None
    return lr.grad[0].abs()


def ssrnet_parameters(
    block: str,
    transposed: tuple[int, int, int],
    weight_norm: bool,
    bias: bool = True,
    features: int = 64,
    modules: int = 3,
    units: int = 3,
) -> int:
    """Parameters of SSRNet by arithmetic, for guesses that `SSRNet` itself cannot make.

    `transposed` is the kernel of the transposed convolution. Weight normalisation stores one length per
    filter (per input feature in the transposed convolution) beside the direction.
    """
    kernels = [(1, 3, 3), (3, 1, 1)] if block == "separable" else [(3, 3, 3)]
    square = features * features
    layers = [(features * 27, features, features)]  # (weights, lengths, biases) of the head
    blocks = modules * (2 * units + 1)
    layers += [(square * math.prod(kernel), features, features) for kernel in kernels] * blocks
    layers += [(square * units, features, features)] * modules  # local feature fusion
    layers += [(square * math.prod(transposed), features, features), (features * 27, 1, 1)]
    return sum(weights + weight_norm * lengths + bias * biases for weights, lengths, biases in layers)
