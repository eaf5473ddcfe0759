"""`train_on`: two processes from a notebook, forked after this process has computed with threads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hsisr_core.errors import HsisrError
from hsisr_core.runs.folder import RunConfig, open_run
from hsisr_core.training.launch import train_on
from hsisr_core.training.loop import train

TINY = RunConfig.from_preset(str(Path(__file__).parents[1] / "tiny.yaml"))

forks = pytest.mark.skipif(
    torch.cuda.is_initialized(), reason="this process has used the GPU: it cannot fork"
)


@forks
@pytest.mark.slow
def test_train_on_two_processes(tmp_path: Path) -> None:
    one = train(TINY, tmp_path / "one", progress=False)
    two = train_on(TINY, 2, tmp_path / "two")
    assert two.folder.name == one.folder.name
    assert (two.metrics["processes"], two.metrics["threads"]) == (2, 1)
    loss = [list(run.history()["loss"][1:]) for run in (one, two)]
    assert loss[1] == pytest.approx(loss[0], rel=1e-5)
    before = (two.folder / "metrics.json").stat().st_mtime_ns
    assert train_on(TINY, 2, tmp_path / "two").folder == two.folder
    assert (two.folder / "metrics.json").stat().st_mtime_ns == before


@forks
@pytest.mark.slow
def test_an_error_in_the_processes_is_raised_here(tmp_path: Path) -> None:
    config = TINY.changed(learning_rate=1e30, clip=None)
    with pytest.raises(HsisrError, match=r"^ssrnet-x2-indian-pines-\w+: the loss is nan at step"):
        train_on(config, 2, tmp_path)
    assert not open_run(config, tmp_path).finished


def test_one_process_is_train_itself(tmp_path: Path) -> None:
    assert train_on(TINY.changed(steps=1), 1, tmp_path).metrics["processes"] == 1


def test_a_batch_that_cannot_be_shared(tmp_path: Path) -> None:
    with pytest.raises(HsisrError, match="batch=2 cannot be shared equally by 3"):
        train_on(TINY, 3, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_gpu_in_use_cannot_be_forked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(HsisrError, match="restart the kernel"):
        train_on(TINY, 2, tmp_path)
