"""Look inside a network: what each step outputs, what it costs, how far a pixel reaches."""

import pandas as pd
import torch
from torch import Tensor

from hsisr_core.models import SSRNet, SuperResolver, count_parameters, multiply_adds_by_part


def layer_table(model: SSRNet, bands: int, height: int, width: int) -> pd.DataFrame:
    """The steps of SSRNet for one LR cube: equation of the paper, shape of the output, parameters, multiply-adds."""
    costs = multiply_adds_by_part(model, bands, height, width)
    features = model.head.out_channels
    low = f"{bands} x {height} x {width}"
    high = f"{bands} x {model.scale * height} x {model.scale * width}"
    modules = range(len(model.body))
    steps = [
        ("initial features", "1", "head", f"{features} x {low}"),
        *((f"module {i + 1}", "2, 4-7", f"body.{i}", f"{features} x {low}") for i in modules),
        ("transposed convolution", "3", "upsample", f"{features} x {high}"),
        ("last convolution", "3", "tail", f"1 x {high}"),
    ]
    rows = [
        (step, equation, output, count_parameters(model.get_submodule(name)), costs[name])
        for step, equation, name, output in steps
    ]
    return pd.DataFrame(rows, columns=["step", "equation", "output", "parameters", "multiply_adds"])


def reach(model: SuperResolver, bands: int, side: int) -> Tensor:
    """How much each LR voxel moves the middle SR voxel: |gradient|, shape (bands, side, side)."""
    lr = torch.full((1, bands, side, side), 0.5, requires_grad=True)
    sr = model(lr + model.mean)
    lost_bands, lost_pixels = model.margin
    middle = side // 2 * model.scale + model.scale // 2 - lost_pixels
    sr[0, bands // 2 - lost_bands, middle, middle].backward()
    assert lr.grad is not None
    return lr.grad[0].abs()
