"""The group of processes: shares, errors that reach everyone, and the launcher that starts only one."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch
from torch.multiprocessing.spawn import start_processes

from hsisr_core.errors import HsisrError
from hsisr_core.runs.config import RunConfig
from hsisr_core.training.devices import (
    agree,
    check_share,
    free_port,
    is_main,
    launched_processes,
    leave_group,
    make_accelerator,
    together,
)

ERRORS = {"bad": HsisrError("scene is missing"), "disk": OSError("disk is gone")}


def member(rank: int, port: int, folder: Path) -> None:
    """One of two processes; writes down what it met."""
    here = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in here.items()} | {"MASTER_ADDR": "127.0.0.1"}
    torch.set_num_threads(1)
    accelerator = make_accelerator(RunConfig(device="cpu"))
    accelerator = make_accelerator(RunConfig(device="cpu", precision="bf16"))  # a second run, same group
    seen = [str(accelerator.num_processes), accelerator.mixed_precision, str(is_main(accelerator))]
    for failing, what in ((0, "bad"), (1, "bad"), (0, "disk"), (None, "")):
        try:
            with together(accelerator):
                if rank == failing:
                    raise ERRORS[what]
            seen.append("fine")
        except Exception as error:
            seen.append(f"{type(error).__name__}: {error}")
    seen.append(str(agree(accelerator, 10 + rank)))
    (folder / str(rank)).write_text("\n".join(seen))
    leave_group()


@pytest.mark.slow
def test_an_error_of_one_process_is_everyones(tmp_path: Path) -> None:
    group = start_processes(
        member, (free_port(), tmp_path), nprocs=2, join=False, daemon=True, start_method="spawn"
    )
    deadline = time.monotonic() + 120
    while not group.join(timeout=5):  # False until all have ended
        assert time.monotonic() < deadline, "the processes wait for each other"
    first, second = ((tmp_path / str(rank)).read_text().splitlines() for rank in (0, 1))
    bad = "HsisrError: scene is missing"
    assert first == ["2", "bf16", "True", bad, bad, "OSError: disk is gone", "fine", "10"]
    other = "HsisrError: Process 0 stopped: OSError: disk is gone"
    assert second == ["2", "bf16", "False", bad, bad, other, "fine", "10"]


def test_one_process_needs_no_group() -> None:
    assert is_main(None)
    assert agree(None, 7) == 7
    with pytest.raises(KeyError), together(None):
        raise KeyError("as it is")
    leave_group()


@pytest.mark.parametrize(
    ("batch", "processes", "error"), [(3, 2, "multiple of 2"), (2, 4, "multiple of 4"), (4, 0, "at least 1")]
)
def test_a_batch_is_shared_equally_or_not_at_all(batch: int, processes: int, error: str) -> None:
    check_share(16, 4)
    with pytest.raises(HsisrError, match=error):
        check_share(batch, processes)


def test_a_launcher_that_started_one_process_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """`accelerate launch --cpu --num_processes 2` leaves these variables and starts one process."""
    for name in ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.setenv("MASTER_PORT", "29500")
    with pytest.warns(UserWarning, match="replace --cpu by --multi_gpu"):
        assert launched_processes() == 1
