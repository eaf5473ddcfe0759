"""Bicubic interpolation, as a function on batches and as a model."""

import torch
from torch import Tensor

from hsisr_core.degrade import resize_matrix
from hsisr_core.models.base import SuperResolver

# four taps: two LR pixels on either side
BICUBIC_REACH = 2


def upsample(lr: Tensor, scale: int) -> Tensor:
    """MATLAB's `imresize(lr, scale, 'bicubic')` of (..., h, w), in double
    precision; the dtype stays."""
    rows, columns = (
        torch.tensor(resize_matrix(n, n * scale, scale), device=lr.device)
        for n in lr.shape[-2:]
    )
    return (rows.T @ lr.double() @ columns).to(lr.dtype)


class Bicubic(SuperResolver):
    """MATLAB's `imresize(lr, scale, 'bicubic')`; nothing to train."""

    def __init__(self, scale: int) -> None:
        super().__init__(scale, halo=BICUBIC_REACH)

    def super_resolve(self, lr: Tensor) -> Tensor:  # (batch, bands, h, w)
        return upsample(lr, self.scale)
