"""What every network here shares: scale, mean subtraction, the reach of a pixel, and what SR lacks at its border."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsisr_core.degrade import check_scale
from hsisr_core.errors import HsisrError

__all__ = ["INITS", "SuperResolver", "check_counts", "check_init"]

INITS = ("pytorch", "he", "interpolation")
Cube = TypeVar("Cube", Tensor, np.ndarray)


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
    margin : (int, int)
        Bands that SR lacks at either end, and pixels that it lacks on each side: (0, 0) but for a
        network without padding.
    mirror : int
        LR pixels by which a scene is mirrored at its border before the network, outside training; SR is cropped
        back. 0, the paper's way, leaves the border to zero padding, which reads there as "the mean": an edge
        that the scene does not have.
    progress : callable, optional
        Told now and then which share of a scene's rows is done, by a network that gives them piece by piece.
    mean : Tensor
        (bands, 1, 1), or (1, 1, 1) before `set_mean` was called.
    """

    mean: Tensor

    def __init__(self, scale: int, halo: int, margin: tuple[int, int] = (0, 0)) -> None:
        super().__init__()
        self.scale = check_scale(scale)
        self.halo = halo
        self.margin = margin
        self.mirror = 0
        self.progress: Callable[[float], None] | None = None
        self.register_buffer("mean", torch.zeros(1, 1, 1))

    def set_mean(self, mean: Tensor) -> None:
        """Store the per-band mean of the training images, shape (bands,)."""
        self.mean = mean.detach().to(torch.float32).reshape(-1, 1, 1).clone()

    def folded(self) -> SuperResolver:
        """The network in its cheapest equal form for inference; itself where there is nothing to fold."""
        return self

    def kept(self, hr: Cube) -> Cube:
        """The part of a cube of HR's size that SR covers: all but the `margin`. (..., bands, height, width)."""
        bands, pixels = self.margin
        inner = slice(pixels, -pixels or None)
        return hr[..., slice(bands, -bands or None), inner, inner]

    def inference_bytes(self, bands: int, height: int, width: int) -> int:
        """Bytes that inference holds at once for an LR scene of this shape, about: by the widest layer."""
        # channels of that layer, at HR size; a 3-D convolution has them for every band
        widths = [len(p) * (bands if p.ndim == 5 else 1) for p in self.parameters() if p.ndim in (4, 5)]
        return 4 * max([bands, *widths]) * self.scale**2 * height * width

    def restore(self, lr: Tensor) -> Tensor:
        """Map mean-free LR (batch, bands, h, w) to mean-free SR (batch, bands, r*h, r*w) without the margin."""
        raise NotImplementedError

    def forward(self, lr: Tensor) -> Tensor:
        """Map LR (batch, bands, h, w) to SR (batch, bands, r*h, r*w), values as in the file, not clipped.

        SR is smaller by the `margin`, where the network has one.
        """
        if lr.ndim != 4:
            raise HsisrError(
                f"A batch has the shape (batch, bands, height, width); this one has {tuple(lr.shape)}."
            )
        if len(self.mean) not in (1, lr.shape[1]):
            raise HsisrError(
                f"The model was trained on {len(self.mean)} bands and the cube has {lr.shape[1]}. "
                f"Choose {len(self.mean)} bands of the cube, or train on its own bands."
            )
        bands, pixels = self.margin
        height, width = (side * self.scale for side in lr.shape[-2:])
        if lr.shape[1] <= 2 * bands or min(height, width) <= 2 * pixels:
            raise HsisrError(
                f"SR would be empty: this network loses {2 * bands} bands and {2 * pixels} pixels a side of "
                f"{lr.shape[1]} bands and {height}x{width} pixels. Use more bands, a larger patch, or keep_size=True."
            )
        added = self.mean if len(self.mean) == 1 else self.mean[slice(bands, -bands or None)]
        if self.training or not self.mirror:
            return self.restore(lr - self.mean) + added
        # a reflection repeats no pixel, so it reaches no further than the scene less one
        rows, columns = (min(self.mirror, side - 1) for side in lr.shape[-2:])
        mirrored = F.pad(lr - self.mean, (columns, columns, rows, rows), mode="reflect")
        sr = self.restore(mirrored)
        inner = (slice(n * self.scale, -n * self.scale or None) for n in (rows, columns))
        return sr[..., *inner] + added


def check_counts(**counts: int) -> None:
    """Raise HsisrError for the first of `counts` that is no whole number of at least 1."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise HsisrError(f"{name}={count!r} is not possible: it is a whole number of at least 1.")


def check_init(init: str) -> None:
    """Raise HsisrError unless `init` is one of `INITS`."""
    if init not in INITS:
        raise HsisrError(f"init={init!r} is unknown: choose one of {', '.join(INITS)}.")
