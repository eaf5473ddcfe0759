"""The state of a run is what its folder says."""

from __future__ import annotations

from pathlib import Path

from small_plan import finish, small_plan

from hsisr_core.runs import RunState, record_failure, run_lock, run_state
from hsisr_core.runs.status import last_row


def test_every_state(tmp_path: Path) -> None:
    done, running, failed, unfinished, missing = small_plan(tmp_path, "[{product: {seed: [1, 2, 3, 4, 5]}}]")
    finish(done, psnr=31.5)
    for run in (running, failed, unfinished):
        (run.folder / "checkpoint").mkdir(parents=True)
        (run.folder / "history.csv").write_text(
            "step,loss,learning_rate,seconds,psnr,ssim,sam\n10,1,1,3.5,,,\n12,"
        )
        (run.folder / "checkpoint" / "step-00000005.safetensors").touch()
    record_failure(failed.folder, "no luck")
    (missing.folder / "checkpoint").mkdir(parents=True)
    with run_lock(running.folder):
        states = [run_state(run) for run in (done, running, failed, unfinished, missing)]
    assert states == [
        RunState("done", 20, 20, 2.0, 31.5),
        RunState("running", 10, 20, 3.5),
        RunState("failed", 5, 20, 3.5, error="no luck"),
        RunState("unfinished", 5, 20, 3.5),
        RunState("missing", 0, 20),
    ]
    assert run_state(running).state == "unfinished", "the lock went with the process that held it"


def test_a_half_written_history_counts_to_its_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    header = "step,loss,learning_rate,seconds,psnr,ssim,sam\n"
    assert last_row(path) == (0, None)
    for text, expected in (
        ("", (0, None)),
        (header, (0, None)),
        (header + "10,1,1,2.5,,,\n20,1", (10, 2.5)),
        (header + "".join(f"{step},0.1,0.1,{step / 4},,,\n" for step in range(1, 5000)), (4999, 4999 / 4)),
    ):
        path.write_text(text)
        assert last_row(path) == expected


def test_a_failure_that_cannot_be_written_is_still_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "no luck (not recorded: " in record_failure(tmp_path / "file", "no luck")
