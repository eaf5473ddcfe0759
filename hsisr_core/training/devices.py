"""One training on several devices: the group of processes that `accelerate launch` or `torchrun` starts.

Each process holds a copy of the network and takes its share of every batch; PyTorch averages the gradients
(DistributedDataParallel), so all copies stay equal. Only the main process writes and scores. What it does alone
stands in a `together` block, where the others wait and learn of its errors: all processes stop, or none.
"""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs, broadcast, gather_object
from torch import distributed

from hsisr_core.errors import HsisrError
from hsisr_core.runs.config import RunConfig

__all__ = [
    "agree",
    "check_share",
    "free_port",
    "is_main",
    "launched_processes",
    "leave_group",
    "make_accelerator",
    "reset_accelerate",
    "together",
]

# PyTorch's 10 to 30 minutes are less than the main process may need: to score whole scenes, or to wait until
# another worker has finished the same run. A process that dies is noticed by the launcher, not by this.
PATIENCE = timedelta(days=7)


def launched_processes() -> int:
    """Processes that a launcher started for this training, over all machines; 1 without a launcher."""
    if (
        "ACCELERATE_USE_CPU" in os.environ
        and "MASTER_PORT" in os.environ
        and "WORLD_SIZE" not in os.environ
        and "OMPI_COMM_WORLD_SIZE" not in os.environ
    ):
        warnings.warn(
            "`accelerate launch` started one process only, because it knows several on CPUs under the name "
            "--multi_gpu alone: replace --cpu by --multi_gpu, which takes the CPU where there is no GPU.",
            stacklevel=2,
        )
    return int(os.environ.get("WORLD_SIZE", "1"))


def make_accelerator(config: RunConfig) -> Accelerator:
    """Device, precision and processes of a run. "auto" is CUDA where there is a GPU for it, else the CPU.

    Raises
    ------
    HsisrError
        No GPU for device="cuda" or precision="fp16", fewer GPUs than processes on this machine, or a batch
        that the processes cannot share equally.
    """
    cuda = torch.cuda.is_available()
    if config.device == "cuda" and not cuda:
        raise HsisrError("device='cuda', but PyTorch finds no CUDA GPU here: use device='auto' or 'cpu'.")
    if config.precision == "fp16" and (config.device == "cpu" or not cuda):
        raise HsisrError("precision='fp16' needs a CUDA GPU: use 'bf16' or 'no' on a CPU.")
    cpu = config.device == "cpu" or not cuda
    processes = launched_processes()
    check_share(config.batch, processes)
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if not cpu and here > torch.cuda.device_count():
        raise HsisrError(
            f"{here} processes on this machine, but {torch.cuda.device_count()} GPU(s): start one process a GPU."
        )
    reset_accelerate()
    handlers = [InitProcessGroupKwargs(timeout=PATIENCE)] if processes > 1 else None
    return Accelerator(cpu=cpu, mixed_precision=config.precision, kwargs_handlers=handlers)


def check_share(batch: int, processes: int) -> None:
    """Raise HsisrError when `processes` cannot share a batch of `batch` patches equally."""
    if processes < 1:
        raise HsisrError(f"processes={processes}: expected at least 1.")
    if batch % processes:
        raise HsisrError(
            f"batch={batch} cannot be shared equally by {processes} processes: `batch` is the total, so give "
            f"a multiple of {processes}, or a number of processes that divides it."
        )


def reset_accelerate() -> None:
    """Forget device and precision of the run before, which accelerate keeps; the group of processes stays."""
    AcceleratorState._reset_state(True)


def is_main(accelerator: Accelerator | None) -> bool:
    """Is this the process that writes? None stands for a training without a launcher."""
    return accelerator is None or accelerator.is_main_process


@contextmanager
def together(accelerator: Accelerator | None) -> Iterator[None]:
    """Leave the block when every process has: without an error, or all with one.

    An error in one process is raised in the others as HsisrError with its text. Without this, the others
    would wait for the failed one, or end in an error about a lost connection. One process passes straight
    through.
    """
    if accelerator is None or accelerator.num_processes == 1:
        yield
        return
    failure: Exception | None = None
    try:
        yield
    except Exception as error:  # whatever it is, the other processes must hear of it
        failure = error
    failed = accelerator.gather(torch.tensor([failure is not None], device=accelerator.device))
    if not failed.any():
        return
    texts = gather_object([_text(failure, accelerator.process_index)])
    if failure is not None:
        raise failure
    raise HsisrError(next(text for text in texts if text))


def _text(failure: Exception | None, process: int) -> str:
    if failure is None or isinstance(failure, HsisrError):
        return str(failure or "")
    return f"Process {process} stopped: {type(failure).__name__}: {failure}"


def agree(accelerator: Accelerator | None, value: int) -> int:
    """The main process's `value`, in every process."""
    if accelerator is None or accelerator.num_processes == 1:
        return value
    return int(broadcast(torch.tensor([value], device=accelerator.device)).item())


def leave_group() -> None:
    """End the group of processes, where there is one, at the end of a program."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def free_port() -> int:
    """A TCP port that nobody uses at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
