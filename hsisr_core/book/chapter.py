"""What a chapter declares in its `parameters` cell; an unknown name or a value of the wrong type is refused.

That is before it starts (`assign_parameters`) and in its first cell (`open_chapter`); papermill would only warn.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import GenericAlias
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from hsisr_core.base import AnyPath, atomic_path, book_folder, read_json
from hsisr_core.errors import HsisrError, NotAtHandError

if TYPE_CHECKING:
    from hsisr_core.runs import Plan, Run, RunConfig

_PLAIN: dict[str, Any] = {"int": int, "float": float, "str": str, "bool": bool, "list": list, "dict": dict}
_REQUIRED = _PLAIN | {f"list[{name}]": GenericAlias(list, (item,)) for name, item in _PLAIN.items()}
#: By their names in a parameters cell. papermill knows `Optional[int]`, but not `int | None`.
TYPES = _REQUIRED | {f"Optional[{name}]": item | None for name, item in _REQUIRED.items()}

#: Environment variable: chapters keep the pictures they draw beside the results.
KEEP = "HSISR_KEEP_FIGURES"


@dataclass(frozen=True)
class Parameter:
    """One line of a chapter's `parameters` cell: its value, and its type as written there."""

    default: Any
    type: str

    def accepts(self, value: Any) -> bool:
        """Whether `value` has the declared type. A whole number passes for a float, a bool not for an int."""
        try:
            TypeAdapter(TYPES[self.type]).validate_python(value, strict=True)
        except ValidationError:
            return False
        return True


@dataclass(frozen=True)
class Chapter:
    """A chapter that is running: its parameters, and the settings of a run that replace its preset's."""

    name: str
    parameters: dict[str, Any]
    overrides: dict[str, Any]

    def config(self) -> RunConfig:
        """The run this chapter shows: its preset with its overrides."""
        from hsisr_core.runs import RunConfig

        return RunConfig.from_preset(self.parameters["preset"], **self.overrides)

    def plan(self) -> Plan:
        """The plan in this chapter's preset; an override holds for all its runs, equal ones are one run."""
        from hsisr_core.runs import plan_for_chapters

        return plan_for_chapters(self.parameters["preset"], self.overrides)

    def figure(self, runs: Sequence[Run]) -> Callable[[Callable[[], Any]], None]:
        """Decorate ``draw_NAME`` and show what it draws or, without scenes and weights of `runs`, the kept picture."""
        from IPython.display import Image, Markdown, display

        from hsisr_core.runs import results_folder

        digest = hashlib.sha256(" ".join(run.folder.name for run in runs).encode()).hexdigest()[:8]

        def show(draw: Callable[[], Any]) -> None:
            name = draw.__name__.removeprefix("draw_")
            path = results_folder() / "figures" / f"{self.name}-{name}-{digest}.png"
            try:
                drawn = draw()
            except NotAtHandError as error:
                drawn = Image(path) if path.is_file() else Markdown(f"*Not drawn here. {error}*")
            if os.environ.get(KEEP) and hasattr(drawn, "savefig"):
                from PIL import Image as Picture

                drawn.savefig(pixels := BytesIO(), dpi=100)
                with atomic_path(path) as temporary:
                    # 256 colours: less than half the bytes
                    Picture.open(pixels).convert("RGB").quantize().save(temporary, "PNG", optimize=True)
            display(drawn)

        return show


def chapter_parameters(notebook: AnyPath) -> dict[str, Parameter]:
    """Read the parameters that a chapter declares, in the order of its cell, without running anything.

    The one cell tagged ``parameters`` holds an assignment of a literal per line, annotated or not: ``scale: int = 2``.
    A value that may be None is an ``Optional[...]``, imported in the same cell. HsisrError if `notebook` has another
    form. `papermill.inspect_notebook` finds the same, but its import takes three seconds in every kernel.
    """
    path = Path(notebook)
    try:
        cells = read_json(path)["cells"]
        tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
        statements = [statement for cell in tagged for statement in ast.parse("".join(cell["source"])).body]
    # a damaged notebook raises many types
    except Exception as error:
        said = str(error) if isinstance(error, HsisrError | SyntaxError) else f"see its cells ({error!r:.80})"
        raise HsisrError(f"{path} cannot be read as a notebook of format 4: {said}") from error
    if len(tagged) != 1:
        raise HsisrError(
            f"{path} has {len(tagged)} cells tagged 'parameters', expected exactly one: set the tag in its properties."
        )
    return dict(
        _declaration(path, statement)
        for statement in statements
        if ast.unparse(statement) != "from typing import Optional"
    )


def assign_parameters(chapters: Sequence[Path], given: Mapping[str, Any]) -> dict[Path, dict[str, Any]]:
    """Give each chapter those of the `given` parameters that it declares; HsisrError if none does."""
    declared = {chapter: chapter_parameters(chapter) for chapter in chapters}
    known = {name: parameter for parameters in declared.values() for name, parameter in parameters.items()}
    for name in given:
        if name not in known:
            raise HsisrError(f"No chapter has a parameter {name!r}. Valid parameters: {_listing(known)}.")
    assigned = {}
    for chapter, parameters in declared.items():
        assigned[chapter] = {name: value for name, value in given.items() if name in parameters}
        _check(chapter.stem, parameters, assigned[chapter])
    return assigned


def open_chapter(name: str, namespace: Mapping[str, Any]) -> Chapter:
    """Check the parameters of chapter `name`, whose `globals()` are `namespace`, in the cell after its parameters.

    What papermill injected is found in IPython's history: it may name the chapter's own parameters and, because a
    preset file is passed with ``papermill -f``, any setting of a run. HsisrError for an unknown name, a value of the
    wrong type, or a parameters cell that has not run.
    """
    from hsisr_core.runs import RunConfig

    escape_names()
    declared = chapter_parameters(book_folder() / f"{name}.ipynb")
    settings = [item for item in RunConfig.model_fields if item not in ("preset", "source")]
    injected = _injected_names(namespace.get("In", ()))
    # A preset's file brings also its name and, if it is a plan, its `runs`.
    for unknown in (item for item in injected if item not in (*declared, *settings, "preset", "runs")):
        close = difflib.get_close_matches(unknown, [*declared, *settings], n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise HsisrError(
            f"{name} has no parameter {unknown!r}.{hint} Valid parameters: {_listing(declared)}. "
            f"Also valid, from a preset: {', '.join(settings)}."
        )
    try:
        values = {item: namespace[item] for item in declared}
    except KeyError as error:
        raise HsisrError(f"{name}: {error.args[0]} has no value. Run the parameters cell first.") from None
    _check(name, declared, values)
    overrides = {
        # None in a chapter's own parameter means "as the preset says"; in a preset file it is a value.
        item: namespace[item]
        for item in settings
        if (item in declared and namespace[item] is not None) or (item in injected and item not in declared)
    }
    return Chapter(name, values, overrides)


def escape_names() -> None:
    """Show names from files as text: in all of pandas' styled tables, as in its others, and in Markdown."""
    from IPython import get_ipython
    from IPython.display import Markdown
    from pandas.io.formats.style import Styler

    pages: Any = Styler.env
    template = pages.loader.get_source(pages, "html_table.tpl")[0]
    for value in ("c.display_value", "caption", "caption[0]"):
        # pandas' own mark of an empty heading stays
        escaped = value + "|e|replace('&amp;nbsp;', '&nbsp;')"
        template = template.replace("{{" + value + "}}", "{{" + escaped + "}}")
    Styler.template_html_table = pages.from_string(template)
    if shell := get_ipython():

        def escape(shown: Markdown) -> str:
            # a block of code is text already
            code = shown.data.startswith("```")
            return shown.data if code else re.sub("<(?=[A-Za-z/!?])", "&lt;", shown.data)

        shell.display_formatter.formatters["text/markdown"].for_type(Markdown, escape)


def _declaration(path: Path, statement: ast.stmt) -> tuple[str, Parameter]:
    """Name and declaration in one statement of the parameters cell."""
    wrong = f"{path}: `{ast.unparse(statement).splitlines()[0]}` in the parameters cell"
    declared = ""
    try:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=ast.expr() as value):
                declared = ast.unparse(annotation)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                pass
            case _:
                raise ValueError
        default = ast.literal_eval(value)
    except (ValueError, TypeError) as error:
        raise HsisrError(f"{wrong}: expected only lines like `scale: int = 2  # what it means`.") from error
    parameter = Parameter(default, declared or type(default).__name__)
    if parameter.type not in TYPES:
        kinds = f"{', '.join(_PLAIN)}, list[...] and Optional[...] of any of them"
        raise HsisrError(f"{wrong}: expected a type that is one of {kinds}.")
    if not parameter.accepts(default):
        raise HsisrError(f"{wrong}: the default is not of type {parameter.type}.")
    return name, parameter


def _check(chapter: str, declared: Mapping[str, Parameter], given: Mapping[str, Any]) -> None:
    """Refuse a value that has another type than declared, with the list of what is valid."""
    for name, value in given.items():
        if not declared[name].accepts(value):
            expected = declared[name].type
            if isinstance(value, str) and "float" in expected:
                expected += " (YAML reads 1e-4 as a text: write 1.0e-4)"
            raise HsisrError(
                f"{chapter}: {name}={value!r}, expected {expected}. Valid parameters: {_listing(declared)}."
            )


def _listing(declared: Mapping[str, Parameter]) -> str:
    return ", ".join(f"{name}: {item.type} = {item.default!r}" for name, item in declared.items()) or "none"


def _injected_names(history: Iterable[str]) -> list[str]:
    """Names that papermill's injected cell assigns, or [] when no such cell has run."""
    cells = [cell for cell in history if cell.lstrip().split("\n", 1)[0].rstrip() == "# Parameters"]
    statements = ast.parse(cells[-1]).body if cells else []
    targets = [target for item in statements if isinstance(item, ast.Assign) for target in item.targets]
    return [target.id for target in targets if isinstance(target, ast.Name)]
