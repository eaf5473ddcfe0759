"""Time and memory of a training step and of inference, measured on this machine, for networks beside each other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import pandas as pd
import torch

from hsisr_core.fast import Trainer, runner
from hsisr_core.models import SuperResolver, count_parameters, multiply_adds
from hsisr_core.training.estimate import LiveBytes

__all__ = ["measure_costs"]


def measure_costs(
    models: Mapping[str, SuperResolver], bands: int = 31, side: int = 8, repeats: int = 5
) -> pd.DataFrame:
    """Parameters, work, and the measured time and memory of networks on one LR patch.

    A training step is the forward pass, the L1 loss against zero, the backward pass and a step of Adam.
    Inference is the forward pass without gradients. Times are the medians of
    `repeats` turns in which every network comes once, after a turn that is not counted. Memory is that of
    the tensors made in one more pass, the most that are alive at once: weights, moments and what the
    convolution library takes for itself are not in it.

    Parameters
    ----------
    models : mapping of name to SuperResolver
        On the CPU; their weights are changed.
    bands, side : int
        The patch has the shape (1, bands, side, side).
    repeats : int

    Returns
    -------
    pandas.DataFrame
        A row per network; ``parameters``, ``multiply-adds (G)`` of one forward pass, ``training step (ms)``,
        ``inference (ms)``, ``training step (MB)``, ``inference (MB)``.
    """
    lr = torch.rand(1, bands, side, side, generator=torch.Generator().manual_seed(0))
    work = {
        name: {"training step": training_step(model, lr), "inference": inference(model, lr)}
        for name, model in models.items()
    }
    times: dict[tuple[str, str], list[float]] = {}
    for turn in range(repeats + 1):
        for name, tasks in work.items():
            for task, carry_out in tasks.items():
                started = time.perf_counter()
                carry_out()
                if turn:
                    times.setdefault((name, task), []).append(time.perf_counter() - started)
    return pd.DataFrame(
        {
            name: {
                "parameters": count_parameters(model),
                "multiply-adds (G)": multiply_adds(model, bands, side, side) / 1e9,
                **{f"{task} (ms)": 1e3 * statistics.median(times[name, task]) for task in work[name]},
                **{f"{task} (MB)": most_alive(carry_out) / 1e6 for task, carry_out in work[name].items()},
            }
            for name, model in models.items()
        }
    ).T


def training_step(model: SuperResolver, lr: torch.Tensor) -> Callable[[], None]:
    trainer = Trainer(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def step() -> None:
        trainer.train()
        trainer(lr).abs().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def inference(model: SuperResolver, lr: torch.Tensor) -> Callable[[], None]:
    def infer() -> None:
        with torch.inference_mode():
            model.eval()
            network(lr)

    network = runner(model)
    return infer


def most_alive(carry_out: Callable[[], None]) -> int:
    """Most bytes that the tensors made by `carry_out` take at once."""
    with LiveBytes() as live:
        carry_out()
    return live.peak
