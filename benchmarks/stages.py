"""Which operations an inference spends its time in, and how near each comes to the machine's best convolution rate."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from benchmarks.plain import fold
from benchmarks.work import BANDS, network
from hsisr_core.fast import runner

__all__ = ["best_bandwidth", "best_rate", "stages"]

# (images, channels, height, width, kernel): what convolution libraries are tuned for
CONVOLUTIONS = ((8, 64, 128, 128, 3), (31, 64, 64, 64, 3), (4, 128, 64, 64, 3), (8, 256, 32, 32, 3))


class OperationTimes(TorchDispatchMode):
    """Seconds, floating-point operations and bytes of every operation inside the block, by kind and weight shape."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = defaultdict(float)
        self.flop: dict[str, float] = defaultdict(float)
        self.bytes: dict[str, float] = defaultdict(float)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]  # PyTorch has no types for it
        started = time.perf_counter()
        result = function(*args, **(kwargs or {}))
        seconds = time.perf_counter() - started
        counter = flop_registry.get(function.overloadpacket)
        label = describe(function.overloadpacket.__name__, args) if counter else "everything else"
        self.seconds[label] += seconds
        if counter:
            self.flop[label] += counter(*args, **(kwargs or {}), out_val=result)
            tensors = [leaf for leaf in tree_leaves((args, result)) if isinstance(leaf, Tensor)]
            self.bytes[label] += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return result


def describe(name: str, arguments: tuple[Any, ...]) -> str:
    """A convolution by its kernel and channels; a matrix product by its inner sizes."""
    tensors = [value for value in arguments if isinstance(value, Tensor)]
    if "convolution" in name:
        weight = tensors[1]
        transposed = len(arguments) > 6 and bool(arguments[6])
        inputs, outputs = weight.shape[:2] if transposed else (weight.shape[1], weight.shape[0])
        kind = "transposed " if transposed else ""
        return f"{kind}{'x'.join(map(str, weight.shape[2:]))}, {inputs} to {outputs}"
    matrices = [tensor for tensor in tensors if tensor.ndim >= 2][-2:]
    return f"product, {matrices[-1].shape[-2]} to {matrices[-1].shape[-1]}"


def stages(scale: int, features: int, height: int, width: int) -> list[dict[str, float | str]]:
    """Our inference on an LR cube of height x width, operation by operation, slowest first.

    Keys: stage, seconds, gflop, gflops (per second), flop_per_byte (of the tensors read and written once). What
    does no multiply-adds (activations, additions, copies) is one row.
    """
    run = runner(fold(network(scale, features).eval()))
    cube = torch.rand(1, BANDS, height, width)
    # in inference mode conv3d would arrive undivided, and nobody counts its operations
    with one_thread(), torch.no_grad():
        run(cube[..., :16, :16])
        with OperationTimes() as times:
            run(cube)
    rows: list[dict[str, float | str]] = []
    for label in sorted(times.seconds, key=lambda key: -times.seconds[key]):
        seconds, flop, moved = times.seconds[label], times.flop[label], times.bytes[label]
        rows.append(
            {
                "stage": label,
                "seconds": seconds,
                "gflop": flop / 1e9,
                "gflops": flop / seconds / 1e9,
                "flop_per_byte": flop / moved if moved else 0.0,
            }
        )
    return rows


@contextmanager
def one_thread() -> Iterator[None]:
    """Times are taken where an operation is called, so all must be called by this thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@one_thread()
@torch.inference_mode()
def best_rate(seconds: float = 1.0) -> float:
    """GFLOP/s of one thread in the fastest of a few large 2-D convolutions, channels last, each tried for `seconds`."""
    best = 0.0
    for images, channels, height, width, kernel in CONVOLUTIONS:
        shape = (images, channels, height, width)
        x = torch.rand(shape).contiguous(memory_format=torch.channels_last)
        weight = torch.rand(channels, channels, kernel, kernel).contiguous(memory_format=torch.channels_last)
        flop = 2 * x.numel() * weight[0].numel()
        until = time.perf_counter() + seconds
        while (started := time.perf_counter()) < until:
            F.conv2d(x, weight, padding=kernel // 2)
            best = max(best, flop / (time.perf_counter() - started) / 1e9)
    return best


@one_thread()
def best_bandwidth(megabytes: int = 256) -> float:
    """GB/s, read and written, of copying a tensor of this size, the fastest of five."""
    source = torch.zeros(megabytes * 250_000)
    target = torch.zeros_like(source)
    times = []
    for _ in range(5):
        started = time.perf_counter()
        target.copy_(source)
        times.append(time.perf_counter() - started)
    return 2 * megabytes / 1e3 / min(times)
