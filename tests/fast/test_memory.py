"""The C library keeps what was freed."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# ten arrays of 4 MB made and dropped, twenty times; prints the pages that the last ten times were handed anew
LOOP = """
import resource
import numpy as np
from hsisr_core.fast import reuse_memory
{call}
for turn in range(20):
    if turn == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(1_000_000, np.float32) for _ in range(10)]
    del arrays
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def new_pages(call: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", LOOP.format(call=call)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is about glibc's allocator")
@pytest.mark.slow
def test_freed_memory_is_used_again() -> None:
    without, found = new_pages(""), new_pages("reuse_memory()")
    assert without > 10_000, "the C library does so by itself: reuse_memory can go"
    assert found < without / 20
