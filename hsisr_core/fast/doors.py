"""The doors to the engine, the same for every network, whether there is an engine for it or not."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeGuard, get_args

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils import parametrize

from hsisr_core.errors import HsisrError
from hsisr_core.fast.networks import Progress, Served, bytes_of_rows, super_resolve_rows, super_resolve_whole
from hsisr_core.fast.threads import in_threads
from hsisr_core.models import Repeated, SSRChain, SSRNet, SuperResolver

Forward = Callable[[Tensor], Tensor]
# values of a batch's widest layer from where sharing pays (two threads: 130,000 no gain, 460,000 a quarter)
PAYS = 250_000


class Trainer(nn.Module):
    """What training calls in place of the network `net`: its SR and its gradients, sooner and with less memory.

    On a CPU `threads` share a batch that is large enough; by default as many as PyTorch may use. Gradients are added in
    the order of the batch, so the same number of threads gives the same bits.
    """

    def __init__(self, net: SuperResolver, threads: int | None = None) -> None:
        super().__init__()
        self.net = net
        self.threads = threads or torch.get_num_threads()
        # a user's own network may depend on the whole batch, or draw random numbers
        packages = {type(module).__module__.partition(".")[0] for module in net.modules()}
        self.known = packages <= {"hsisr_core", "torch"}

    def forward(self, lr: Tensor) -> Tensor:
        """SR of a batch, as the network gives it."""
        shares = min(self.threads, len(lr))
        pays = lr.device.type == "cpu" and lr.numel() * max([1, *_widths(self.net)]) >= PAYS
        if shares == 1 or lr.requires_grad or not (pays and self.known and torch.is_grad_enabled()):
            return self.super_resolve(lr)
        trained = [parameter for parameter in self.net.parameters() if parameter.requires_grad]
        return _Shares.apply(self.super_resolve, shares, lr, *trained)

    def super_resolve(self, lr: Tensor) -> Tensor:
        net = self.net
        return net.around_mean(partial(super_resolve_whole, net), lr) if has_engine(net) else net(lr)


class _Shares(torch.autograd.Function):
    """A batch in shares, each forward and backward in a thread of its own; LR has no gradient."""

    @staticmethod
    def forward(ctx: Any, super_resolve: Forward, shares: int, lr: Tensor, *parameters: Tensor) -> Tensor:
        def call(part: Tensor) -> Tensor:
            with torch.enable_grad():
                return super_resolve(part)

        ctx.parts, ctx.parameters = in_threads(call, lr.tensor_split(shares)), parameters
        return torch.cat([part.detach() for part in ctx.parts])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        def differentiate(sr: Tensor, gradient: Tensor) -> tuple[Tensor, ...]:
            return torch.autograd.grad(sr, ctx.parameters, gradient)

        gradients = gradient.split([len(part) for part in ctx.parts])
        found = in_threads(differentiate, ctx.parts, gradients)
        return None, None, None, *(sum(parts[1:], parts[0]) for parts in zip(*found, strict=True))


def runner(net: SuperResolver, progress: Progress = None, precision: str = "float32") -> Forward:
    """What inference calls in place of the network: a function from a batch of LR to SR, without gradients.

    `progress` is called with the share of the rows that are done, where they come piece by piece.
    """
    check_precision(net, precision)
    half = precision == "bf16"

    @torch.no_grad()
    def run(lr: Tensor) -> Tensor:
        # weight normalisation once, not for every piece
        with parametrize.cached():
            if not has_engine(net):
                return net(lr)
            if lr.is_cuda:
                return net.around_mean(partial(super_resolve_whole, net, half=half), lr)
            by_rows = partial(super_resolve_rows, net, half=half, progress=progress)
            return net.around_mean(by_rows, lr, fresh=True)

    return run


def check_precision(net: SuperResolver, precision: str) -> None:
    """Raise HsisrError unless SR of `net` can be made in this `precision` on its device: "float32" or "bf16"."""
    if precision not in ("float32", "bf16"):
        raise HsisrError(f"precision={precision!r} is unknown: choose one of float32, bf16.")
    if precision == "bf16" and type(net) not in (SSRNet, SSRChain):
        raise HsisrError(f"bf16 is for SSRNet and SSRChain, not for {type(net).__name__}: use 'float32'.")
    if precision == "bf16" and not (net.mean.is_cuda or computes_bf16()):
        raise HsisrError("precision='bf16' needs a GPU or a CPU with AVX512-BF16 or AMX: use 'float32'.")


def computes_bf16() -> bool:
    """Whether this processor multiplies bfloat16; others would do so in software, far slower than float32."""
    found = torch.cpu.get_capabilities()
    return any(found.get(name) for name in ("avx512_bf16", "amx_bf16"))


def bytes_needed(net: SuperResolver, bands: int, height: int, width: int) -> int:
    """Bytes that a `runner` holds at once for an LR scene of this shape, about."""
    if isinstance(net, Repeated):
        # LR and SR of the last pass, and one of its tiles
        grown, most = net.scale // net.network.scale, tile_of_pass(bands) + 2 * net.network.halo
        lr = 4 * bands * grown**2 * height * width
        sides = (min(grown * side, most) for side in (height, width))
        return lr * (1 + net.network.scale**2) + bytes_needed(net.network, bands, *sides)
    if has_engine(net):
        return bytes_of_rows(net, bands, height, width)
    # at HR size
    return 4 * max([bands, *_widths(net, bands)]) * net.scale**2 * height * width


def tile_of_pass(bands: int) -> int:
    """LR pixels a side of the tiles in which each pass of a `Repeated` network takes its scene."""
    return max(16, 8192 // bands)


def _widths(net: SuperResolver, bands: int = 1) -> list[int]:
    """Channels of each layer; a 3-D convolution has them for every band."""
    return [len(p) * (bands if p.ndim == 5 else 1) for p in net.parameters() if p.ndim in (4, 5)]


def has_engine(net: SuperResolver) -> TypeGuard[Served]:
    """Whether `net` is one that the engine knows as it stands in models/; a subclass may compute something else."""
    return type(net) in get_args(Served)
