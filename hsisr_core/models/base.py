"""What every network here shares: the scale, the mean subtraction and the reach of one output pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hsisr_core.degrade import check_scale
from hsisr_core.errors import HsisrError

__all__ = ["SuperResolver"]


class SuperResolver(nn.Module):
    """A network from LR to HR cubes.

    The per-band mean of the training images is subtracted from LR and added back to SR (paper, Sec.
    IV-B), so a network sees values around zero and zero padding means "the mean". The mean is stored
    with the weights. A subclass implements `restore`.

    Attributes
    ----------
    scale : int
        Factor r.
    halo : int
        LR pixels around a pixel that can change its SR values: the radius of the receptive field.
    mean : Tensor
        (bands, 1, 1), or (1, 1, 1) before `set_mean` was called.
    """

    mean: Tensor

    def __init__(self, scale: int, halo: int) -> None:
        super().__init__()
        self.scale = check_scale(scale)
        self.halo = halo
        self.register_buffer("mean", torch.zeros(1, 1, 1))

    def set_mean(self, mean: Tensor) -> None:
        """Store the per-band mean of the training images, shape (bands,)."""
        self.mean = mean.detach().to(torch.float32).reshape(-1, 1, 1).clone()

    def folded(self) -> SuperResolver:
        """The network in its cheapest equal form for inference; itself where there is nothing to fold."""
        return self

    def restore(self, lr: Tensor) -> Tensor:
        """Map mean-free LR (batch, bands, h, w) to mean-free SR (batch, bands, r*h, r*w)."""
        raise NotImplementedError

    def forward(self, lr: Tensor) -> Tensor:
        """Map LR (batch, bands, h, w) to SR (batch, bands, r*h, r*w), values as in the file, not clipped."""
        if lr.ndim != 4:
            raise HsisrError(
                f"A batch has the shape (batch, bands, height, width); this one has {tuple(lr.shape)}."
            )
        if len(self.mean) not in (1, lr.shape[1]):
            raise HsisrError(
                f"The model was trained on {len(self.mean)} bands and the cube has {lr.shape[1]}. "
                f"Choose {len(self.mean)} bands of the cube, or train on its own bands."
            )
        return self.restore(lr - self.mean) + self.mean
