"""What training does differently on a CUDA GPU: TF32, and copies that do not wait.

On a CPU both are off and nothing changes, not by a bit. None of it enters the hash of a run. On one GPU a resumed
training still repeats the uninterrupted one, for both run the same way; against a CPU, or a GPU without TF32, results
differ by rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["allow_tf32", "to_device"]


def allow_tf32(device: torch.device) -> None:
    """Let matrix products use TF32 on a GPU, as PyTorch's convolutions do there by default."""
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`; to a GPU from pinned memory, so that the copy runs beside the work queued before."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
