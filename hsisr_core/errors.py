"""The one exception a user is meant to see: it says what is wrong, where, and what to do."""

from collections.abc import Mapping
from typing import Any


class HsisrError(ValueError):
    """A mistake of the user: the message names the file or value, what was expected, and the remedy.

    The command line prints it as one line and exits with code 2; in a notebook it is shown without a traceback.
    """

    def _render_traceback_(self) -> list[str]:
        """Lines that IPython prints instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class RunLockedError(HsisrError):
    """Another process is training this run, and the caller did not want to wait."""


class NotAtHandError(HsisrError):
    """A dataset that is not prepared here, or the weights of a run that came with the book without them."""


# packages that only an extra of the installation brings
_EXTRAS = {
    "IPython": "explorer", "anywidget": "explorer", "matplotlib": "explorer", "traitlets": "explorer",
    "nbformat": "book", "papermill": "book", "sphinx_external_toc": "book",
}  # fmt: skip


def describe_missing(error: ModuleNotFoundError) -> Exception:
    """The error that says how to install the missing package, where it is one of an extra."""
    package = str(error.name).partition(".")[0]
    extra = _EXTRAS.get(package)
    return HsisrError(f"{package} is missing. Run: pip install 'hsisr[{extra}]'.") if extra else error


def describe_mistake(mistake: Mapping[str, Any]) -> str:
    """One of the mistakes in pydantic's `ValidationError.errors()`: "expected a valid integer"."""
    if mistake["type"] == "string_pattern_mismatch":
        return "expected letters, digits, '.', '_', '-' and spaces"
    return str(mistake["msg"]).replace("Input should be", "expected").replace("valid tuple", "valid list")
