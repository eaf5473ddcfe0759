"""Costs of networks beside each other: the exact ones by hand, the measured ones by their order."""

from __future__ import annotations

import torch

from hsisr_core.models import SSRNet, count_parameters
from hsisr_core.training.measure import measure_costs, most_alive


def test_costs_of_both_blocks() -> None:
    models = {block: SSRNet(2, features=4, modules=1, block=block) for block in ("separable", "standard")}
    counts = {block: count_parameters(model) for block, model in models.items()}
    costs = measure_costs(models, bands=31, side=8, repeats=1)
    assert costs["parameters"].to_dict() == counts
    assert (costs[["training step (ms)", "inference (ms)"]] > 0).all(axis=None)
    # two layers with ReLU keep more for the backward pass than one layer without
    memory = costs["training step (MB)"].to_dict()
    assert memory["separable"] > memory["standard"]


def test_memory_is_what_is_alive_at_once() -> None:
    def work() -> None:
        for _ in range(3):
            torch.zeros(1000) + torch.ones(1000)

    assert most_alive(work) == 3 * 4000
