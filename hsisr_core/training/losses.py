"""What a training makes small. SR and HR are batches (batch, bands, height, width) with the mean in them.

Squared and absolute errors are means over all voxels. The spectral angle is in radians, the mean over pixels. "l1" is
the paper's Eq. 8. "0.5*mse+0.5*sam" is the third of its Table I, which does not say the unit of the angle: radians
here, as in the code of GDRRN's authors, whose loss is "mse+0.1*sam". Their code sums the squared errors over a patch
and halves the sum; with the mean, as the name says, the angle weighs far more against the errors.

"l1+0.1*sam" is in neither: an error of a given size turns a dark spectrum further than a bright one, and L1 does not
see that, so a network trained by it alone can lose to interpolation in the angle while it wins in PSNR.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss

__all__ = ["LOSSES", "spectral_angle"]

DARK = 1e-6  # a spectrum of a smaller norm has no direction


def spectral_angle(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean angle between the spectra of SR and HR, in radians.

    Pixels without an HR spectrum are left out, as in `hsisr_core.metrics.sam`; 0 when all are. Where SR alone
    is dark the angle is a right one, and no gradient. The angle is 2 atan2(|u - v|, |u + v|) of the unit
    vectors u and v: the arccosine of their product has no finite derivative where they are equal. The
    gradient there is 0, as that of an absolute value.
    """
    sr_norm, hr_norm = length(sr), length(hr)  # (batch, 1, height, width)
    lit = hr_norm > DARK
    seen = lit & (sr_norm > DARK)
    one = torch.ones_like(sr_norm)
    # a harmless pair of spectra where there is no angle: the gradient of what `where` drops must be finite too
    u = torch.where(seen, sr, one) / torch.where(seen, sr_norm, one)
    v = torch.where(seen, hr, one) / torch.where(seen, hr_norm, one)
    angle = 2 * torch.atan2(length(u - v), length(u + v))
    angle = torch.where(seen, angle, math.pi / 2)
    return (angle * lit).sum() / lit.sum().clamp(min=1)


def length(x: Tensor) -> Tensor:
    """Norm over the bands, kept as one band; its gradient is 0 where the norm is."""
    squares = x.square().sum(dim=1, keepdim=True)
    zero = squares == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, squares).sqrt())


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": l1_loss,
    "l1+0.1*sam": lambda sr, hr: l1_loss(sr, hr) + 0.1 * spectral_angle(sr, hr),
    "mse": mse_loss,
    "0.5*mse+0.5*sam": lambda sr, hr: 0.5 * mse_loss(sr, hr) + 0.5 * spectral_angle(sr, hr),
    "mse+0.1*sam": lambda sr, hr: mse_loss(sr, hr) + 0.1 * spectral_angle(sr, hr),
}
