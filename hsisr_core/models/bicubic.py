"""Bicubic interpolation as a model, so that every method goes through the same evaluation."""

from __future__ import annotations

import torch
from torch import Tensor

from hsisr_core.degrade import resize_matrix
from hsisr_core.models.base import SuperResolver

__all__ = ["Bicubic"]


class Bicubic(SuperResolver):
    """MATLAB's `imresize(lr, scale, 'bicubic')`; nothing to train.

    Parameters
    ----------
    scale : {2, 3, 4}
        Factor r.
    """

    def __init__(self, scale: int) -> None:
        super().__init__(scale, halo=2)  # four taps: two LR pixels on either side

    def restore(self, lr: Tensor) -> Tensor:  # (batch, bands, h, w)
        height, width = lr.shape[-2:]
        rows, columns = (
            torch.tensor(resize_matrix(n, n * self.scale, self.scale), device=lr.device)
            for n in (height, width)
        )
        return (rows.T @ lr.double() @ columns).to(lr.dtype)
