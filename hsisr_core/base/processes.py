"""Worker processes that do not outlive the process that started them, and the threads that each may use."""

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

from hsisr_core.base.console import to_stderr


@contextmanager
def worker_pool(processes: int, at_once: int | None = None) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of `processes`, each with its share of the threads where `at_once` (default: these) are at work.

    They end with the block, whatever they are at, and with this process, however it ends.
    """
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    share = {"OMP_NUM_THREADS": str(max(1, cores() // (at_once or processes)))}
    pool = ProcessPoolExecutor(processes, context, _start_worker, (reader, share))
    try:
        yield pool
    finally:
        writer.close()
        pool.shutdown(cancel_futures=True)
        reader.close()


def _start_worker(parent: Connection, environment: dict[str, str]) -> None:
    """In a new worker: leave Ctrl-C to the process that started it, and end when the pipe from there is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(environment | dict(os.environ))
    warnings.showwarning = lambda message, *_: to_stderr(f"warning: {message}")
    from tqdm import tqdm  # a tenth of a second to import

    tqdm.set_lock(threading.RLock())  # its own is a semaphore, which outlives a process that ends at once

    def end_with_parent() -> None:
        with suppress(EOFError, OSError):
            parent.recv_bytes()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def thread_count() -> int:
    """Threads that this process may use: OMP_NUM_THREADS, else its cores. Asks no library, so that none is loaded."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) else cores()


def cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
