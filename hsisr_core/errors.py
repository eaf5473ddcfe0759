"""The one exception a user is meant to see: it says what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class HsisrError(ValueError):
    """A mistake in the input that the user can put right.

    The message names the file or value, what was expected, and the remedy. The command line
    prints it as one line and exits with code 2; in a notebook it is shown without a traceback.
    """

    def _render_traceback_(self) -> list[str]:
        """Lines that IPython prints instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class RunLockedError(HsisrError):
    """Another process is training this run, and the caller did not want to wait."""


# what pydantic found, in the words of this project
_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "a text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
}


def describe_mistake(mistake: Mapping[str, Any]) -> str:
    """One of the mistakes in pydantic's `ValidationError.errors()`: "expected a whole number"."""
    if mistake["type"] in _EXPECTED:
        return "expected " + _EXPECTED[mistake["type"]].format(**mistake.get("ctx", {}))
    return str(mistake["msg"]).replace("Input should be", "expected")
