"""Small files of YAML, JSON and text: regular ones only, within limits, and no error quotes their content."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from hsisr_core.base.files import AnyPath
from hsisr_core.errors import HsisrError

# of YAML: bytes, and values with every alias written out
_BYTES, _VALUES = 1_000_000, 50_000
# but for tabs and ends of lines
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class _Loader(yaml.SafeLoader):
    """YAML without control characters, and without aliases that grow beyond the limit."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.values, self.sizes = 0, dict[int, int]()

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        alias, before = self.check_event(yaml.AliasEvent), self.values
        node = super().compose_node(parent, index)
        self.values += self.sizes.get(id(node), 1)
        if self.values > _VALUES or (alias and id(node) not in self.sizes):
            raise yaml.YAMLError("too many values, or an alias inside its own anchor")
        self.sizes.setdefault(id(node), self.values - before)
        return node

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        text = super().construct_scalar(node)
        if CONTROL.search(text):
            raise yaml.YAMLError("a control character")
        return text


def read_text(path: AnyPath, limit: int = 100 * _BYTES) -> str:
    """The text of a regular file of at most `limit` bytes, in UTF-8; HsisrError otherwise."""
    path = Path(path)
    try:
        if not path.is_file():
            raise HsisrError(f"{path} is missing, or not a regular file.")
        with path.open("rb") as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise HsisrError(f"{path} is larger than {limit / 1e6:g} MB: it is not read.")
        return content.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise HsisrError(f"{path} cannot be read: {reason}.") from error


def read_yaml(path: AnyPath) -> dict[str, Any]:
    """The mapping in a YAML file; HsisrError if it is not one, or is larger than 1 MB or 50,000 values."""
    return _parse(path, read_text(path, _BYTES), "YAML", lambda text: yaml.load(text, _Loader))


def read_json(path: AnyPath) -> dict[str, Any]:
    """The mapping in a JSON file; HsisrError if it is not one."""
    return _parse(path, read_text(path), "JSON", json.loads)


def printable(text: str) -> str:
    """`text` with its control characters written out, so that a terminal does not obey them."""
    return CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def _parse(path: AnyPath, text: str, kind: str, parse: Callable[[str], Any]) -> dict[str, Any]:
    try:
        values = parse(text)
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        # PyYAML raises all of these, and quotes the file in its own
        line = getattr(error, "lineno", 0) or getattr(getattr(error, "problem_mark", None), "line", -1) + 1
        own = str(error) if type(error) is yaml.YAMLError else "a value cannot be read, or is nested too deep"
        reason = f"see line {line}" if line else own
        raise HsisrError(f"{path} is not valid {kind}: {reason}.") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise HsisrError(f"{path} is not a {kind} mapping of names to values.")
    return values
