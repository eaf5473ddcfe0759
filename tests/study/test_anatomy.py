"""What chapter 03 says of the layers."""

from __future__ import annotations

import torch

from hsisr_core.models import SSRNet, count_parameters, multiply_adds
from hsisr_core.study.anatomy import layer_table, reach


def test_layer_table_covers_the_network() -> None:
    model = SSRNet(2, features=4, modules=2)
    table = layer_table(model, 5, 6, 7)
    assert table["parameters"].sum() == count_parameters(model)
    assert table["multiply_adds"].sum() == multiply_adds(model, 5, 6, 7)
    assert list(table["output"]) == ["4 x 5 x 6 x 7"] * 3 + ["4 x 5 x 12 x 14", "1 x 5 x 12 x 14"]
    voxels = 5 * 6 * 7
    module = 7 * 4 * (4 * 9 + 4 * 3) + 4 * 12
    steps = [4 * 27, module, module, 4 * 4 * 3 * 16, 4 * 4 * 27]
    assert list(table["multiply_adds"]) == [voxels * taps for taps in steps]


def test_reach_stops_at_the_halo() -> None:
    torch.manual_seed(0)
    model = SSRNet(2, features=6, modules=1, units=1, init="he")
    side = 2 * model.halo + 7
    map_ = reach(model, 9, side).sum(dim=0)
    middle = side // 2
    outside = map_.clone()
    outside[middle - model.halo : middle + model.halo + 1, middle - model.halo : middle + model.halo + 1] = 0
    assert outside.max() == 0
    assert map_[middle, middle] > 0
