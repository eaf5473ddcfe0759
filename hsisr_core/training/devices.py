"""The devices of a training: a CPU, a GPU, or the group of processes that `accelerate launch` or `torchrun` starts.

Each process takes its share of every batch; PyTorch averages the gradients (DistributedDataParallel). Only the main
process writes and scores, in `together` blocks, where the others wait and learn of its errors: all stop, or none.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, distributed, nn

from hsisr_core.errors import HsisrError
from hsisr_core.runs import RunConfig


class OneDevice:
    """One device, in float32: what a training asks of the package accelerate elsewhere."""

    is_main_process, process_index, num_processes = True, 0, 1
    autocast, clip_grad_norm_ = staticmethod(nullcontext), staticmethod(nn.utils.clip_grad_norm_)

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def prepare(self, model: nn.Module, optimizer: Any) -> tuple[nn.Module, Any]:
        # accelerate puts its own around it
        optimizer.optimizer = optimizer
        return model.to(self.device), optimizer

    def gather(self, value: Tensor, _how: str = "") -> Tensor:
        return value

    reduce = gather

    def backward(self, loss: Tensor) -> None:
        loss.backward()


def launched_processes() -> int:
    """Processes that a launcher started for this training, over all machines; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def make_accelerator(config: RunConfig) -> OneDevice:
    """Device, precision and processes of a run; HsisrError for what is not here, or a batch that cannot be shared."""
    cuda = torch.cuda.is_available()
    cpu = config.device == "cpu" or not cuda
    if config.device == "cuda" and not cuda:
        raise HsisrError("device='cuda', but PyTorch finds no CUDA GPU here: use device='auto' or 'cpu'.")
    if config.precision == "fp16" and cpu:
        raise HsisrError("precision='fp16' needs a CUDA GPU: use 'bf16' or 'no' on a CPU.")
    processes, here = launched_processes(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if config.batch % processes:
        raise HsisrError(f"batch={config.batch} cannot be shared by {processes} processes: give a multiple.")
    if not cpu:
        if here > torch.cuda.device_count():
            raise HsisrError(f"{here} processes, but {torch.cuda.device_count()} GPU(s): start one per GPU.")
        # as PyTorch's convolutions do by default
        torch.backends.cuda.matmul.allow_tf32 = True
    if processes == 1 and config.precision == "no":
        return OneDevice(torch.device("cpu" if cpu else "cuda"))
    if not find_spec("accelerate"):
        raise HsisrError("Several devices and lower precision need accelerate: pip install 'hsisr[devices]'.")
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import InitProcessGroupKwargs

    # accelerate keeps device and precision of the run before; the group of processes stays
    AcceleratorState._reset_state(True)
    # scoring, or waiting for another worker, may take longer than PyTorch's limit; the launcher notices a death
    handlers = [InitProcessGroupKwargs(timeout=timedelta(days=7))] if processes > 1 else None
    return Accelerator(cpu=cpu, mixed_precision=config.precision, kwargs_handlers=handlers)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`; to a GPU from pinned memory, so that the copy runs beside the work queued before."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


@contextmanager
def together(accelerator: OneDevice | None) -> Iterator[None]:
    """Leave the block when every process has: without an error, or all with one, raised in the others as HsisrError."""
    if accelerator is None or accelerator.num_processes == 1:
        yield
        return
    failure: Exception | None = None
    try:
        yield
    except Exception as error:
        failure = error
    text = None if failure is None else str(failure)
    if failure is not None and not isinstance(failure, HsisrError):
        text = f"Process {accelerator.process_index} stopped: {type(failure).__name__}: {failure}"
    from accelerate.utils import gather_object

    texts = [text for text in gather_object([text]) if text is not None]
    if failure is not None:
        raise failure
    if texts:
        raise HsisrError(texts[0])


def leave_group() -> None:
    """End the group of processes, where there is one, at the end of a program."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
