"""The doors to the engine, the same for every network, whether there is an engine for it or not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hsisr_core.fast.ssrnet import bytes_of_rows, super_resolve_rows, super_resolve_whole
from hsisr_core.models import SSRNet, SuperResolver


class Trainer(nn.Module):
    """What training calls in place of the network `net`: its SR and its gradients, sooner and with less memory."""

    def __init__(self, net: SuperResolver) -> None:
        super().__init__()
        self.net = net

    def forward(self, lr: Tensor) -> Tensor:
        """SR of a batch, as the network gives it."""
        net = self.net
        return net.around_mean(partial(super_resolve_whole, net), lr) if has_engine(net) else net(lr)


def runner(net: SuperResolver, progress: Callable[[float], None] | None = None) -> Callable[[Tensor], Tensor]:
    """What inference calls in place of the network: a function from a batch of LR to SR, without gradients.

    `progress` is called with the share of the rows that are done, where they come piece by piece.
    """

    @torch.no_grad()
    def run(lr: Tensor) -> Tensor:
        # weight normalisation once, not for every piece
        with parametrize.cached():
            if not has_engine(net):
                return net(lr)
            if lr.is_cuda:
                return net.around_mean(partial(super_resolve_whole, net), lr)
            return net.around_mean(partial(super_resolve_rows, net, progress=progress), lr)

    return run


def bytes_needed(net: SuperResolver, bands: int, height: int, width: int) -> int:
    """Bytes that a `runner` holds at once for an LR scene of this shape, about."""
    if has_engine(net):
        return bytes_of_rows(net, bands, height, width)
    # channels of the widest layer, at HR size; a 3-D convolution has them for every band
    widths = [len(p) * (bands if p.ndim == 5 else 1) for p in net.parameters() if p.ndim in (4, 5)]
    return 4 * max([bands, *widths]) * net.scale**2 * height * width


def has_engine(net: SuperResolver) -> TypeGuard[SSRNet]:
    """Whether `net` is an SSRNet as it stands in models/; a subclass may compute something else."""
    return type(net) is SSRNet
