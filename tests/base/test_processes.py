"""Worker processes leave nothing behind."""

import subprocess
import sys
from pathlib import Path

USED = """
from tqdm.auto import tqdm
from hsisr_core.base import worker_pool

def count():
    return sum(tqdm(range(3), disable=True))

if __name__ == "__main__":
    with worker_pool(1) as pool:
        print(pool.submit(count).result())
"""


def test_a_worker_that_has_shown_progress_leaves_no_semaphore(tmp_path: Path) -> None:
    (tmp_path / "used.py").write_text(USED)
    done = subprocess.run(
        [sys.executable, "used.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("3\n", "")
