"""How a command ends: exit codes, and what it prints where."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings

import pytest

from hsisr_core.base import printable, run_app, run_command, to_stderr
from hsisr_core.errors import HsisrError


@pytest.fixture(autouse=True)
def _restore() -> object:
    show, ignored = warnings.showwarning, sys.unraisablehook
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)}
    yield
    warnings.showwarning, sys.unraisablehook = show, ignored
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_users_mistake_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise HsisrError("There is no such cube.")

    with pytest.raises(SystemExit) as end:
        run_app(command)
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: There is no such cube.\n"


def test_an_error_can_have_an_exit_code_of_its_own() -> None:
    class OtherError(HsisrError):
        exit_code = 1

    def command() -> None:
        raise OtherError

    with pytest.raises(SystemExit) as end:
        run_app(command)
    assert end.value.code == 1


def test_a_single_command_reads_its_arguments_and_warns_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def command(name: str, times: int = 1) -> None:
        warnings.warn("look out", stacklevel=1)
        print(name * times)

    monkeypatch.setattr(sys, "argv", ["command", "ab", "--times", "2"])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.raises(SystemExit) as end:
            run_command(command)
    assert end.value.code == 0
    assert capsys.readouterr() == ("abab\n", "warning: look out\n")


def test_one_of_several_processes_prints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for rank in ("0", "1", "2"):
        monkeypatch.setenv("RANK", rank)
        to_stderr(f"from {rank}")
    assert capsys.readouterr().err == "from 0\n"


def test_sigterm_ends_as_ctrl_c() -> None:
    text = """
import time
from hsisr_core.base import run_command
def command():
    print("ready", flush=True)
    time.sleep(60)
run_command(command)
"""
    with subprocess.Popen(
        [sys.executable, "-c", text],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        _, printed = process.communicate(timeout=30)
    assert process.returncode == 130
    assert printed.strip().splitlines()[-1].startswith("stopped; nothing is left half-written")


def test_control_characters_are_written_out() -> None:
    assert printable("a\x1b[2Jb\x07\x9b\tc\nd") == "a\\x1b[2Jb\\x07\\x9b\tc\nd"


def test_an_interrupt_that_the_interpreter_ignores_comes_again() -> None:
    class Closed:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    def command() -> None:
        held = Closed()
        del held
        for _ in range(500):
            time.sleep(0.01)
        raise AssertionError("it went on")

    with pytest.raises(KeyboardInterrupt):
        run_app(command)
