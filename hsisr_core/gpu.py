"""What training does differently on a CUDA GPU: TF32, a fused optimiser, copies that do not wait.

On a CPU all of it is off and nothing changes, not by a bit. None of it enters the hash of a run. On one GPU a resumed
training still repeats the uninterrupted one, for both run the same way; against a CPU, or a GPU without TF32, results
differ by rounding.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

__all__ = ["allow_tf32", "make_adam", "to_device"]


def allow_tf32(device: torch.device) -> None:
    """Let matrix products use TF32 on a GPU, as PyTorch's convolutions do there by default."""
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True


def make_adam(
    parameters: Iterable[nn.Parameter], learning_rate: float, device: torch.device
) -> torch.optim.Adam:
    """Adam with the paper's betas and eps, which are PyTorch's; one fused kernel a step on a GPU."""
    # None, not False: that would take the choice between its other two ways away from PyTorch
    return torch.optim.Adam(parameters, lr=learning_rate, fused=True if device.type == "cuda" else None)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`; to a GPU from pinned memory, so that the copy runs beside the work queued before."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
