"""Freed memory that is used again instead of being fetched from the system anew, page by page."""

from __future__ import annotations

import torch

LARGEST = 32 * 2**20 - 2**16  # bytes; glibc takes no block of 32 MiB or more as a measure


def reuse_memory() -> None:
    """Let the C library keep up to 64 MB of freed memory for the next tensors.

    glibc gives a block above a certain size a mapping of its own, and at most twice that size stays with the process
    when it is freed; the rest goes back to the system, which has to hand out and clear every page again. The size
    starts at 128 KB and follows the largest such block that was freed, up to 32 MiB. So one is freed here. Nobody
    has touched its pages, so it costs nothing; other systems only allocate and free.

    Source: mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD.
    """
    torch.empty(LARGEST, dtype=torch.uint8)
