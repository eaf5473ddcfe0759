"""Start one training on several devices of this machine, from a notebook."""

from __future__ import annotations

import io
import logging
import os
from contextlib import redirect_stdout
from typing import Any

import torch
from accelerate import notebook_launcher
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from hsisr_core.data import Dataset, load_dataset
from hsisr_core.errors import HsisrError
from hsisr_core.runs.config import RunConfig
from hsisr_core.runs.folder import Run, open_run
from hsisr_core.training.devices import check_share, free_port, reset_accelerate
from hsisr_core.training.loop import train

__all__ = ["train_on"]


def train_on(
    config: RunConfig,
    processes: int,
    runs: str | os.PathLike[str] | None = None,
    dataset: Dataset | None = None,
) -> Run:
    """`train` with one process a GPU; on the CPU with `processes` processes of one thread each.

    accelerate's `notebook_launcher` forks the processes. In a terminal, ``accelerate launch`` does the
    same. One process is `train` itself.

    Parameters
    ----------
    config : RunConfig
        Its `batch` is the total, a multiple of `processes`.
    processes : int
    runs : path, optional
        The folder of run folders, as for `train`.
    dataset : Dataset, optional
        The data of `config`, when the caller has it open already.

    Raises
    ------
    HsisrError
        What `train` raises, a batch that cannot be shared, or this notebook has used a GPU already.
    """
    dataset = dataset or load_dataset(config.data, config.split)
    check_share(config.batch, processes)
    run = open_run(config, runs, dataset)
    if run.finished or processes == 1:
        return train(config, runs, dataset)
    if torch.cuda.is_initialized():
        raise HsisrError(
            "This notebook has used the GPU already, and such a process cannot be forked: restart the kernel "
            "and call train_on first, or run `accelerate launch -m hsisr_core train` in a terminal."
        )
    reset_accelerate()  # the launcher refuses to start after a training in this process
    log = logging.getLogger("torch.distributed.elastic.multiprocessing.api")
    level = log.level
    log.setLevel(logging.CRITICAL)  # it would print a traceback before the error that is raised here
    try:
        with redirect_stdout(io.StringIO()):  # "Launching training on 2 CUDAs", on a CPU
            notebook_launcher(
                train_forked, (config, runs, dataset), num_processes=processes, use_port=str(free_port())
            )
    except ChildFailedError as error:
        text = first_message(error)
        if text.startswith("HsisrError: "):
            raise HsisrError(text.removeprefix("HsisrError: ")) from error
        raise
    finally:
        log.setLevel(level)
    return run


def first_message(error: ChildFailedError) -> str:
    """What the process that failed first raised, as "Type: text"."""
    message: Any = error.get_first_failure()[1].message
    return str(message.get("message", "") if isinstance(message, dict) else message)


def train_forked(config: RunConfig, runs: str | os.PathLike[str] | None, dataset: Dataset) -> None:
    """One of the processes."""
    # OpenMP's threads do not survive a fork: a child that uses more than one waits for ever
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    train(config, runs, dataset)
