"""Each "Try this: `-p name value`" of a chapter changes what the chapter shows.

Chapters that train nothing are executed with and without; of those that train, the runs that they show change.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hsisr_core.book import chapter_parameters
from hsisr_core.models import SSRNet
from hsisr_core.runs import RunConfig, plan_for_chapters
from hsisr_core.study.anatomy import layer_table
from hsisr_core.training import training_flop

BOOK = Path(__file__).parents[2] / "book"
# nothing is trained or timed there; the numbers of 03 are in a test of their own
QUICK = ("02-degradation-and-metrics", "11-paper-against-itself")
# trained for seconds instead of minutes
TINY = "tests/tiny.yaml"


def cells(name: str) -> list[dict[str, Any]]:
    return list(json.loads((BOOK / f"{name}.ipynb").read_text())["cells"])


def hints(name: str) -> list[dict[str, Any]]:
    """What the chapter's hints set, one after the other; those that need data of the reader's are left out."""
    text = "\n".join("".join(cell["source"]) for cell in cells(name) if cell["cell_type"] == "markdown")
    found = []
    for line in text.partition("## Try this")[2].splitlines():
        for command in re.findall(r"`(-p [^`]+)`", line):
            pairs = re.findall(r"-p (\w+) (\S+)", command)
            if not any(value.startswith(("path/", "my.")) for _, value in pairs):
                found.append({key: int(value) if value.isdigit() else value for key, value in pairs})
    return found


def shown(name: str, values: dict[str, Any]) -> str:
    """What the cells of a chapter print and return, as text, with these parameters."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    text = io.StringIO()
    with (
        contextlib.redirect_stdout(text),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        for cell in cells(name):
            if cell["cell_type"] != "code":
                continue
            body = ast.parse("".join(cell["source"])).body
            last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
            exec(compile(ast.Module(body, []), name, "exec"), namespace)
            if "parameters" in cell["metadata"].get("tags", []):
                namespace |= {key: value for key, value in values.items() if key in namespace}
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), name, "eval"), namespace)
                for form in ("_repr_markdown_", "_repr_html_", "__repr__"):
                    if hasattr(value, form):
                        text.write(f"{getattr(value, form)()}\n")
                        break
    # identifiers of tables and times differ from call to call
    return re.sub(r"T_[0-9a-f]+|\d+(\.\d+)? (m?s|min)\b|0x[0-9a-f]+", "", text.getvalue())


ALL = [path.stem for path in sorted(BOOK.glob("*.ipynb")) if hints(path.stem)]
# the others show their runs in a widget; 08 measures times, which change by themselves
TRAINED = [
    name
    for name in ALL
    if name[0].isdigit()
    and name != "08-separable-or-standard"
    and {"preset", "steps"} <= set(chapter_parameters(BOOK / f"{name}.ipynb"))
]


@pytest.mark.parametrize("name", ALL)
def test_a_hint_names_a_parameter_and_another_value(name: str) -> None:
    """Of settings of runs, one that gives other runs than the chapter shows without it."""
    declared = chapter_parameters(BOOK / f"{name}.ipynb")
    for hint in hints(name):
        assert set(hint) <= set(declared)
        assert all(declared[key].default != value for key, value in hint.items())
        settings = {key: value for key, value in hint.items() if key in RunConfig.model_fields}
        preset = settings.pop("preset", None)
        if settings and {"preset", "steps"} <= set(declared):
            preset = preset or declared["preset"].default
            plan = plan_for_chapters(preset, {}).shown()
            assert set(plan_for_chapters(preset, settings).shown().configs) != set(plan.configs), hint


@pytest.mark.slow
def test_the_numbers_that_hints_name() -> None:
    shares = []
    for scale in (2, 4):
        costs = layer_table(SSRNet(scale), 31, 16, 16)["multiply_adds"]
        shares.append(round(100 * costs.iloc[-2:].sum() / costs.sum()))
    assert shares == [16, 31]
    by_modules = [sum(layer_table(SSRNet(2, modules=n), 4, 8, 8)["parameters"]) for n in (3, 4)]
    assert by_modules[1] - by_modules[0] == 358_272
    demo = RunConfig.from_preset("demo")
    work = [training_flop(demo.changed(**changes), 31, 1) for changes in ({}, {"features": 32}, {"scale": 4})]
    assert work[1] / work[0] == pytest.approx(4, abs=0.1)
    assert work[2] > work[0]
    assert RunConfig.from_preset("demo").features == 16


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_what_a_hint_changes_is_seen(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(BOOK.parent)
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("HSISR_CACHE", str(tmp_path))
    plain = shown(name, {})
    assert all(shown(name, hint) != plain for hint in hints(name))
    assert shown(name, {}) == plain


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One folder of runs for all chapters, which share some."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(BOOK.parent)
        patch.setenv("MPLBACKEND", "agg")
        # figures show no numbers here, and take half the time
        patch.setattr("matplotlib.figure.Figure.draw_without_rendering", lambda _: None)
        for variable in ("HSISR_CACHE", "HSISR_RUNS"):
            patch.setenv(variable, str(tmp_path_factory.mktemp(variable)))
        yield


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_what_a_hint_trains_changes_a_number(name: str, trained: None) -> None:
    def numbers(values: dict[str, Any]) -> list[str]:
        steps = {"steps": 12} if "steps" in values else {}
        text = shown(name, {**values, "preset": TINY, **steps})
        # a caption names the settings themselves
        return re.findall(r"\d+\.\d+", re.sub(r"<caption>.*?</caption>", "", text, flags=re.DOTALL))

    plain = numbers({})
    for hint in hints(name):
        assert numbers(hint) != plain, hint
