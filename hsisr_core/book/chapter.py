"""What a chapter declares in its `parameters` cell, and the check that nothing else is passed to it.

papermill injects any name it is given and only warns when a chapter has no such parameter. Here an
unknown name or a value of the wrong type is refused with the list of valid ones, both before a
chapter starts (`check_parameters`) and, for a chapter run by itself, in its first cell (`open_chapter`).
"""

from __future__ import annotations

import ast
import difflib
import io
import json
import os
import tokenize
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsisr_core.base.paths import book_folder
from hsisr_core.errors import HsisrError
from hsisr_core.runs import Plan, RunConfig, plan_for_chapters

__all__ = [
    "Chapter",
    "Parameter",
    "assign_parameters",
    "chapter_parameters",
    "check_parameters",
    "open_chapter",
]

TYPES: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool, "list": list, "dict": dict}
TYPES_ALLOWED = f"{', '.join(TYPES)}, list[...], and Optional[...] of any of them"


@dataclass(frozen=True)
class Parameter:
    """One line of a chapter's `parameters` cell."""

    default: Any
    type: str  # as annotated, e.g. "int" or "Optional[str]"; without an annotation, the default's
    help: str  # the comment behind it

    def accepts(self, value: Any) -> bool:
        """Whether `value` has the declared type. A whole number passes for a float, a bool not for an int."""
        return _matches(value, ast.parse(self.type, mode="eval").body)


@dataclass(frozen=True)
class Chapter:
    """A chapter that is running, with the parameters it runs with."""

    name: str
    parameters: dict[str, Any]  # every declared one
    overrides: dict[str, Any]  # settings of a run (fields of RunConfig) that replace the preset's

    def config(self) -> RunConfig:
        """The run this chapter shows: its preset with its overrides."""
        overrides = {name: value for name, value in self.overrides.items() if name != "preset"}
        return RunConfig.from_preset(self.parameters["preset"], **overrides)

    def plan(self) -> Plan:
        """The plan in this chapter's preset; an override holds for all its runs, equal ones are one run."""
        overrides = {name: value for name, value in self.overrides.items() if name != "preset"}
        return plan_for_chapters(self.parameters["preset"], overrides)


def chapter_parameters(notebook: str | os.PathLike[str]) -> dict[str, Parameter]:
    """Read the parameters that a chapter declares, without running anything.

    The one cell tagged ``parameters`` holds an assignment of a literal per line, annotated or not,
    with its meaning in a comment behind it: ``scale: int = 2  # the factor r``. A value that may be None is an
    ``Optional[...]``, imported in the same cell: papermill does not know a parameter with ``| None``.

    Parameters
    ----------
    notebook : path
        A chapter's ``.ipynb`` file.

    Returns
    -------
    dict
        Name to `Parameter`, in the order of the cell.

    Raises
    ------
    HsisrError
        The file is no notebook, has no such cell or several, or the cell holds anything else.
    """
    path = Path(notebook)
    cells = [cell for cell in _cells(path) if "parameters" in cell.get("metadata", {}).get("tags", [])]
    if len(cells) != 1:
        raise HsisrError(
            f"{path} has {len(cells)} cells tagged 'parameters', expected exactly one: "
            "set the tag in the cell's properties."
        )
    source = "".join(cells[0]["source"])
    try:
        statements = ast.parse(source).body
        comments = _comments(source)
    except (SyntaxError, tokenize.TokenError) as error:
        raise HsisrError(f"{path}: the parameters cell is no valid Python ({error}).") from error
    return dict(
        _parameter(path, statement, comments)
        for statement in statements
        if ast.unparse(statement) != "from typing import Optional"
    )


def check_parameters(notebook: str | os.PathLike[str], given: Mapping[str, Any]) -> None:
    """Refuse what a chapter does not declare.

    Parameters
    ----------
    notebook : path
        A chapter's ``.ipynb`` file.
    given : mapping
        Values by name.

    Raises
    ------
    HsisrError
        A name is not declared or a value has another type. The message lists the valid parameters.
    """
    _check(Path(notebook).stem, chapter_parameters(notebook), given)


def assign_parameters(chapters: Sequence[Path], given: Mapping[str, Any]) -> dict[Path, dict[str, Any]]:
    """Give each chapter those of the `given` parameters that it declares.

    Raises
    ------
    HsisrError
        No chapter declares a name, or a value has another type than declared. Lists what is valid.
    """
    declared = {chapter: chapter_parameters(chapter) for chapter in chapters}
    known = {name: parameter for parameters in declared.values() for name, parameter in parameters.items()}
    for name in given:
        if name not in known:
            raise HsisrError(f"No chapter has a parameter {name!r}. Valid parameters: {_listing(known)}.")
    assigned = {
        chapter: {name: value for name, value in given.items() if name in parameters}
        for chapter, parameters in declared.items()
    }
    for chapter, values in assigned.items():
        check_parameters(chapter, values)
    return assigned


def open_chapter(name: str, namespace: Mapping[str, Any]) -> Chapter:
    """Check the parameters of the chapter that calls this, in the cell after its parameters.

    What papermill injected is found in IPython's history: it may name the chapter's own parameters
    and, because a preset file is passed with ``papermill -f``, any setting of a run.

    Parameters
    ----------
    name : str
        The chapter's file in ``book/``, without ``.ipynb``.
    namespace : mapping
        The chapter's ``globals()``.

    Returns
    -------
    Chapter

    Raises
    ------
    HsisrError
        An unknown name was injected, a value has the wrong type, or the parameters cell has not run.
    """
    book = book_folder()
    path = book / f"{name}.ipynb"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in book.glob("*.ipynb")))
        raise HsisrError(f"{path} does not exist: open_chapter takes one of {known}.")
    declared = chapter_parameters(path)
    settings = list(RunConfig.model_fields)
    injected = _injected_names(namespace.get("In", ()))
    # a preset that is a plan brings its `runs`; Chapter.plan reads them from the file
    for unknown in (item for item in injected if item not in (*declared, *settings, "runs")):
        raise HsisrError(
            f"{_unknown(name, unknown, declared, settings)} Also valid, from a preset: {', '.join(settings)}."
        )
    missing = [item for item in declared if item not in namespace]
    if missing:
        raise HsisrError(f"{name}: {missing[0]} has no value. Run the parameters cell first.")
    values = {item: namespace[item] for item in declared}
    _check(name, declared, values)
    overrides = {
        # None in a chapter's own parameter means "as the preset says"; in a preset file it is a value.
        item: namespace[item]
        for item in settings
        if (item in declared and namespace[item] is not None) or (item in injected and item not in declared)
    }
    return Chapter(name, values, overrides)


def _cells(path: Path) -> list[dict[str, Any]]:
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    except OSError as error:
        raise HsisrError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise HsisrError(f"{path} is no notebook of format 4 ({type(error).__name__}: {error}).") from error
    return list(cells)


def _comments(source: str) -> dict[int, str]:
    """The comment on each line of `source`, by line number."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}


def _parameter(path: Path, statement: ast.stmt, comments: Mapping[int, str]) -> tuple[str, Parameter]:
    """Name and declaration in one statement of the parameters cell."""
    wrong = f"{path}: `{ast.unparse(statement).splitlines()[0]}` in the parameters cell"
    target: ast.expr
    match statement:
        case ast.AnnAssign(target=target, annotation=annotation, value=value):
            declared = ast.unparse(annotation)
        case ast.Assign(targets=[target], value=value):
            declared = ""
        case _:
            raise HsisrError(f"{wrong}: expected only lines like `scale: int = 2  # what it means`.")
    try:
        if not isinstance(target, ast.Name) or value is None:
            raise ValueError
        default = ast.literal_eval(value)
    except (ValueError, TypeError) as error:
        raise HsisrError(f"{wrong}: expected one name and one literal value.") from error
    declared = declared or type(default).__name__
    if not _is_type(ast.parse(declared, mode="eval").body):
        raise HsisrError(f"{wrong}: expected a type that is one of {TYPES_ALLOWED}.")
    parameter = Parameter(default, declared, comments.get(statement.end_lineno or 0, ""))
    if not parameter.accepts(default):
        raise HsisrError(f"{wrong}: the default is no {declared}.")
    return target.id, parameter


def _is_type(node: ast.expr) -> bool:
    match node:
        case ast.Name(id=name):
            return name in TYPES
        case ast.Subscript(value=ast.Name(id="list" | "Optional"), slice=item):
            return _is_type(item)
    return False


def _matches(value: Any, node: ast.expr) -> bool:
    """Whether `value` has the type that `node` spells (one that `_is_type` accepts)."""
    match node:
        case ast.Name(id=name):
            if isinstance(value, bool) or name == "bool":
                return name == "bool" and isinstance(value, bool)
            return isinstance(value, TYPES[name]) or (name == "float" and isinstance(value, int))
        case ast.Subscript(value=ast.Name(id="Optional"), slice=item):
            return value is None or _matches(value, item)
        case ast.Subscript(slice=item):
            return isinstance(value, list) and all(_matches(element, item) for element in value)
    return False


def _check(chapter: str, declared: Mapping[str, Parameter], given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if name not in declared:
            raise HsisrError(_unknown(chapter, name, declared, ()))
        if not declared[name].accepts(value):
            expected = declared[name].type
            if _is_number_text(value, declared[name]):
                expected += " (YAML reads 1e-4 as a text: write 1.0e-4)"
            raise HsisrError(
                f"{chapter}: {name}={value!r}, expected {expected}. Valid parameters: {_listing(declared)}."
            )


def _unknown(chapter: str, name: str, declared: Mapping[str, Parameter], others: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, [*declared, *others], n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"{chapter} has no parameter {name!r}.{hint} Valid parameters: {_listing(declared)}."


def _listing(declared: Mapping[str, Parameter]) -> str:
    return ", ".join(f"{name}: {item.type} = {item.default!r}" for name, item in declared.items()) or "none"


def _is_number_text(value: Any, parameter: Parameter) -> bool:
    try:
        return parameter.accepts(float(value)) and isinstance(value, str)
    except (TypeError, ValueError):
        return False


def _injected_names(history: Iterable[str]) -> list[str]:
    """Names that papermill's injected cell assigns, or [] when no such cell has run."""
    cells = [cell for cell in history if cell.lstrip().split("\n", 1)[0].rstrip() == "# Parameters"]
    try:
        statements = ast.parse(cells[-1] if cells else "").body
    except SyntaxError:  # not papermill's: a cell that someone typed
        return []
    targets = [target for item in statements if isinstance(item, ast.Assign) for target in item.targets]
    return [target.id for target in targets if isinstance(target, ast.Name)]
