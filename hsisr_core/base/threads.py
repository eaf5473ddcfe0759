"""How many threads a process may use."""

from __future__ import annotations

import os


def thread_count() -> int:
    """Threads that this process may use: OMP_NUM_THREADS, else its cores. Asks no library, so that none is loaded."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) else cores()


def cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
