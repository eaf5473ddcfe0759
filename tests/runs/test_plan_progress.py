"""What a plan shows while it runs: a few plain lines in a log, bars in a terminal."""

from __future__ import annotations

import pytest

from hsisr_core.runs.plan_progress import Bars, Lines, open_display


def test_a_log_gets_a_line_for_each_fifth(capsys: pytest.CaptureFixture[str]) -> None:
    display = Lines(total=3, done=1)
    display.start("seed=1", 1000, 0)
    for step in range(0, 1001, 10):
        display.step("seed=1", step)
    display.end("seed=1", "done, 5 s", 1000)
    display.start("seed=2", 1000, 500)
    display.step("unknown", 3)
    display.end("seed=2", "failed: no luck")
    display.close()
    assert capsys.readouterr().err.splitlines() == [
        "1 of 3 runs were done before",
        "seed=1: started of 1,000 steps",
        "seed=1: step 200 of 1,000",
        "seed=1: step 400 of 1,000",
        "seed=1: step 600 of 1,000",
        "seed=1: step 800 of 1,000",
        "seed=1: done, 5 s [2/3]",
        "seed=2: resumed at step 500 of 1,000 steps",
        "seed=2: failed: no luck [2/3]",
    ]


def test_a_brief_log_says_what_ended_and_breaks_a_long_silence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    display = open_display(2, 0, brief=True)
    display.start("seed=1", 1000, 0)
    display.start("seed=2", 1000, 500)
    for step in range(0, 1001, 100):
        now += 6
        display.step("seed=1", step)
    display.end("seed=1", "done", 1000)
    assert capsys.readouterr().err.splitlines() == [
        "seed=2: resumed at step 500 of 1,000 steps",
        "seed=1: step 300 of 1,000",
        "seed=1: step 700 of 1,000",
        "seed=1: done [1/2]",
    ]


def test_bars_follow_and_end(capsys: pytest.CaptureFixture[str]) -> None:
    display = Bars(total=2, done=0)
    display.start("seed=1", 100, 20)
    display.step("seed=1", 60)
    assert display.runs["seed=1"].n == 60
    display.end("seed=1", "done", 100)
    assert display.plan.n == 1
    assert not display.runs
    display.end("seed=2", "failed: no luck")
    assert display.plan.n == 1
    display.close()
    text = capsys.readouterr().err
    assert "seed=1: done\n" in text
    assert "seed=2: failed: no luck\n" in text


def test_a_terminal_gets_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(open_display(1, 0), Lines)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    display = open_display(1, 0)
    display.close()
    assert isinstance(display, Bars)
