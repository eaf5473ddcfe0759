"""How a command of the terminal ends: a user's mistake is one line on stderr and exit code 2."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable

from hsisr_core.base.documents import printable
from hsisr_core.errors import HsisrError, describe_missing


def first_process() -> bool:
    """Whether this is the first of the processes that train one network: what all have to say, it prints once."""
    return os.environ.get("RANK", "0") == "0"


def to_stderr(line: str) -> None:
    """Print a line to stderr, once where several processes train one network."""
    if first_process():
        print(printable(line), file=sys.stderr)


def run_command(command: Callable[..., None]) -> None:
    """Run a function as a command of its own, such as those in data_scripts/; its parameters are the options."""
    import typer

    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command()(command)
    run_app(single)


def run_app(app: Callable[[], None]) -> None:
    """Run a typer application; an error ends it with one line and exit code 2, SIGTERM as Ctrl-C with 130."""
    warnings.showwarning = lambda message, *_: to_stderr(f"warning: {message}")
    # So that files half written are removed.
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.default_int_handler)
    sys.unraisablehook = _interrupt_again
    try:
        app()
    except (HsisrError, ModuleNotFoundError) as error:
        mistake = describe_missing(error) if isinstance(error, ModuleNotFoundError) else error
        if not isinstance(mistake, HsisrError):
            raise
        to_stderr(f"error: {mistake}")
        sys.exit(getattr(mistake, "exit_code", 2))
    except SystemExit as end:
        if end.code == 130:  # typer's for Ctrl-C
            to_stderr("stopped; nothing is left half-written, and the same command goes on where it can")
        raise


def _interrupt_again(raised: sys.UnraisableHookArgs) -> None:
    """Repeat, a little later, a Ctrl-C that came during a callback of the interpreter, which ignores what it raises."""
    if issubclass(raised.exc_type, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, 0.01)
    else:
        sys.__unraisablehook__(raised)
