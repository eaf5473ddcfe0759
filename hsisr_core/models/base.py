"""What every network here shares, and the checks of options."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsisr_core.degrade import check_scale
from hsisr_core.errors import HsisrError

# of features, modules and the like; more is a damaged file
MOST = 1024
INITS = ("pytorch", "he", "interpolation")
Cube = TypeVar("Cube", Tensor, np.ndarray)


class SuperResolver(nn.Module):
    """A network from LR to HR cubes. A subclass implements `super_resolve`.

    The per-band `mean` of the training images (bands, 1, 1), stored with the
    weights, is subtracted from LR and added to SR (paper, Sec. IV-B), so a
    network sees values around zero, and zero padding means "the mean".

    - `scale` is the factor r.
    - `halo`: LR pixels around one that can change its SR.
    - `margin`: bands that SR lacks at either end, and pixels that it lacks on
      each side: (0, 0) but for a network without padding.
    - `mirror`: LR pixels by which a scene is mirrored at its border, outside
      training; SR is cropped back. 0, the paper's way, leaves the border to
      zero padding: "the mean", an edge that the scene does not have.
    """

    mean: Tensor

    def __init__(
        self, scale: int, halo: int, margin: tuple[int, int] = (0, 0)
    ) -> None:
        super().__init__()
        self.scale = check_scale(scale)
        self.halo = halo
        self.margin = margin
        self.mirror = 0
        self.register_buffer("mean", torch.zeros(1, 1, 1))

    def set_mean(self, mean: Tensor) -> None:
        """Store the per-band mean of the training images, (bands,)."""
        values = mean.detach().to(torch.float32)
        self.mean = values.reshape(-1, 1, 1).clone()

    def kept(self, hr: Cube) -> Cube:
        """What SR covers of a cube of HR's size: all but the `margin`."""
        bands, pixels = self.margin
        inner = slice(pixels, -pixels or None)
        return hr[..., slice(bands, -bands or None), inner, inner]

    def super_resolve(self, lr: Tensor) -> Tensor:
        """Mean-free SR (batch, bands, r*h, r*w), less the margin, of mean-free
        LR (batch, bands, h, w)."""
        raise NotImplementedError

    def forward(self, lr: Tensor) -> Tensor:
        """Map LR (batch, bands, h, w) to SR (batch, bands, r*h, r*w), values
        as in the file, not clipped; SR is smaller by the `margin`."""
        return self.around_mean(self.super_resolve, lr)

    def around_mean(
        self,
        super_resolve: Callable[[Tensor], Tensor],
        lr: Tensor,
        fresh: bool = False,
    ) -> Tensor:
        """`super_resolve` without the mean, and with the border mirrored.

        With `fresh` the mean is added in the memory of what it returns, which
        no one else may hold then, and which needs no gradient.
        """
        self._check(lr)
        bands, _ = self.margin
        mean = self.mean
        lr = lr - mean
        added = mean if len(mean) == 1 else mean[slice(bands, -bands or None)]
        add = Tensor.add_ if fresh else Tensor.add
        if self.training or not self.mirror:
            return add(super_resolve(lr), added)
        # a reflection repeats no pixel: it reaches as far as the scene less 1
        rows, columns = (min(self.mirror, side - 1) for side in lr.shape[-2:])
        border = (columns, columns, rows, rows)
        sr = super_resolve(F.pad(lr, border, mode="reflect"))
        cuts = (self.scale * pixels for pixels in (rows, columns))
        inner = (slice(cut, -cut or None) for cut in cuts)
        return add(sr[..., *inner], added)

    def _check(self, lr: Tensor) -> None:
        """Raise HsisrError unless SR of `lr` is a cube."""
        if lr.ndim != 4:
            raise HsisrError(
                "A batch has the shape (batch, bands, height, width), not "
                f"{tuple(lr.shape)}."
            )
        count, trained = lr.shape[1], len(self.mean)
        if trained not in (1, count):
            raise HsisrError(
                f"The model was trained on {trained} bands and the cube has "
                f"{count}. Choose {trained} of them, or train on the cube's."
            )
        bands, pixels = self.margin
        height, width = (side * self.scale for side in lr.shape[-2:])
        if count <= 2 * bands or min(height, width) <= 2 * pixels:
            raise HsisrError(
                f"SR would be empty: this network loses {2 * bands} bands and "
                f"{2 * pixels} pixels a side. Use more, or keep_size=True."
            )


def check_options(scale: int, init: str, **counts: int) -> None:
    """Raise HsisrError unless `scale` is possible, `init` is one of `INITS`
    and each of `counts` a whole number from 1 to `MOST`."""
    check_scale(scale)
    check_choice("init", init, INITS)
    for name, count in counts.items():
        if type(count) is not int or not 1 <= count <= MOST:
            raise HsisrError(
                f"{name}={count!r:.40}: expected a whole number, 1 to {MOST}."
            )


def check_choice(name: str, value: str, allowed: Sequence[str]) -> None:
    """Raise HsisrError unless the option `name` has an allowed value."""
    if value not in allowed:
        raise HsisrError(
            f"{name}={value!r:.40} is unknown: choose one of "
            f"{', '.join(allowed)}."
        )
