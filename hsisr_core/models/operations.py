"""What a network costs: its parameters, and its multiply-adds on a cube."""

from copy import deepcopy

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(model: nn.Module) -> int:
    """Number of trainable values of `model` (the stored mean is not one)."""
    return sum(parameter.numel() for parameter in model.parameters())


def multiply_adds(
    model: nn.Module, bands: int, height: int, width: int
) -> int:
    """Multiply-adds of all convolutions for one LR cube of this size, as the
    network is drawn. One is two FLOPs."""
    return multiply_adds_by_part(model, bands, height, width)[""]


def multiply_adds_by_part(
    model: nn.Module, bands: int, height: int, width: int
) -> dict[str, int]:
    """The same for every part, by its name in `model`; "" is all of it."""
    # "meta": shapes without values, so nothing is computed
    shapes = deepcopy(model).to("meta")
    lr = torch.empty(1, bands, height, width, device="meta")
    counter = FlopCounterMode(display=False)
    with torch.enable_grad(), parametrize.cached(), counter:
        shapes(lr)
    kind, counts = torch.ops.aten.convolution, counter.get_flop_counts()
    parts = {name: flops.get(kind, 0) // 2 for name, flops in counts.items()}
    parts.pop("Global")
    return {name.partition(".")[2]: work for name, work in parts.items()}
