"""Losses: what a training makes small.

SR and HR are batches (batch, bands, height, width) with the mean in them.
Errors are means over all voxels, the spectral angle is the mean over pixels,
in radians as in the code of GDRRN's authors: the paper's Table I has no unit.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss

# a spectrum of a smaller norm has no direction
_DARK = 1e-6


def l1(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean absolute error: mean `|SR - HR|` (paper, Eq. 8)."""
    return l1_loss(sr, hr)


def mse(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean squared error: mean (SR - HR)^2 (paper, Table I)."""
    return mse_loss(sr, hr)


def spectral_angle(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean angle between the spectra of SR and HR, in radians.

    The angle is `2 atan2(|u - v|, |u + v|)` of the unit vectors u and v: the
    arccosine of their product has no finite derivative where they are equal.
    The gradient there is 0, as that of an absolute value.

    Pixels without an HR spectrum are left out, as in `metrics.sam`; 0 if all
    are. Where SR alone is dark the angle is a right one, without a gradient.
    """
    sr_norm, hr_norm = _norm(sr), _norm(hr)  # (batch, 1, height, width)
    bright = hr_norm > _DARK
    both = bright & (sr_norm > _DARK)
    # where there is no angle, two equal vectors stand in: `where` drops their
    # angle, but the gradient of what it drops must be finite too
    one = torch.ones_like(sr_norm)
    u = torch.where(both, sr, one) / torch.where(both, sr_norm, one)
    v = torch.where(both, hr, one) / torch.where(both, hr_norm, one)
    angle = 2 * torch.atan2(_norm(u - v), _norm(u + v))
    angle = torch.where(both, angle, math.pi / 2)
    return (angle * bright).sum() / bright.sum().clamp(min=1)


def _norm(x: Tensor) -> Tensor:
    """Norm over the bands; its gradient is 0 where the norm is."""
    squares = x.square().sum(dim=1, keepdim=True)
    zero = squares == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, squares).sqrt())


def mse_with_angle(sr: Tensor, hr: Tensor) -> Tensor:
    """MSE and angle in equal parts: the third loss of the paper's Table I."""
    return 0.5 * mse(sr, hr) + 0.5 * spectral_angle(sr, hr)


def mse_with_tenth_of_angle(sr: Tensor, hr: Tensor) -> Tensor:
    """MSE + 0.1 SAM: the loss of GDRRN.

    Its authors' code sums the squared errors over a patch and halves the sum;
    with the mean, as the name says, the angle weighs far more against them.
    """
    return mse(sr, hr) + 0.1 * spectral_angle(sr, hr)


def l1_with_tenth_of_angle(sr: Tensor, hr: Tensor) -> Tensor:
    """L1 + 0.1 SAM, of this project.

    An error of a given size turns a dark spectrum further than a bright one,
    and L1 does not see that: a network trained by it alone can lose to
    interpolation in the angle while it wins in PSNR.
    """
    return l1(sr, hr) + 0.1 * spectral_angle(sr, hr)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": l1,
    "l1+0.1*sam": l1_with_tenth_of_angle,
    "mse": mse,
    "0.5*mse+0.5*sam": mse_with_angle,
    "mse+0.1*sam": mse_with_tenth_of_angle,
}
