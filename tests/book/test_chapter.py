"""Parameters of chapters, with real kernels where papermill takes part."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pandas as pd
import papermill
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import Markdown
from matplotlib.figure import Figure
from small_book import ROOT, write_notebook, write_project

from hsisr_core.book.chapter import (
    KEEP,
    Chapter,
    Parameter,
    assign_parameters,
    chapter_parameters,
    escape_names,
    open_chapter,
)
from hsisr_core.errors import HsisrError, NotAtHandError

CELL = """#!from typing import Optional
scale: int = 2  # the factor r: 2, 3 or 4
preset = "demo"
data: Optional[str] = None  # a folder of scenes  # or a dataset
# a line of its own is no help text
rate: float = 1e-4
steps: Optional[int] = None
places: list[int] = [0, 15]
verbose: bool = False
offset: float = -0.5  # negative
"""


@pytest.fixture
def chapter(tmp_path: Path) -> Path:
    return write_notebook(tmp_path / "book" / "04-training.ipynb", "# Training", CELL, "1 + 1")


def test_chapter_parameters_reads_defaults_and_types(chapter: Path) -> None:
    assert chapter_parameters(chapter) == {
        "scale": Parameter(2, "int"),
        "preset": Parameter("demo", "str"),
        "data": Parameter(None, "Optional[str]"),
        "rate": Parameter(1e-4, "float"),
        "steps": Parameter(None, "Optional[int]"),
        "places": Parameter([0, 15], "list[int]"),
        "verbose": Parameter(False, "bool"),
        "offset": Parameter(-0.5, "float"),
    }


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("scale = 1 + 1", "`scale = 1 + 1` in the parameters cell: expected only lines like"),
        ("data: str | None = None", "expected a type that is one of int, float"),
        ("import os", "`import os` in the parameters cell: expected only lines like"),
        ("scale: int", "expected only lines like"),
        ("a = b = 1", "expected only lines like"),
        ("a, b = 1, 2", "expected only lines like"),
        ("data = None", "expected a type that is one of int, float"),
        ("data: Path = 'x'", "expected a type that is one of int, float"),
        ("scale: int = 2.5", "the default is not of type int"),
        ("scale: int = True", "the default is not of type int"),
        ("scale = open('x')", "expected only lines like"),
        ("scale = (", "was never closed"),
    ],
)
def test_parameters_cell_holds_literals_only(tmp_path: Path, cell: str, message: str) -> None:
    path = write_notebook(tmp_path / "x.ipynb", f"#!{cell}")
    with pytest.raises(HsisrError) as raised:
        chapter_parameters(path)
    assert message in str(raised.value)
    assert str(path) in str(raised.value)


def test_exactly_one_parameters_cell(tmp_path: Path) -> None:
    none = write_notebook(tmp_path / "none.ipynb", "scale = 2")
    with pytest.raises(HsisrError, match=r"none.ipynb has 0 cells tagged 'parameters', expected exactly one"):
        chapter_parameters(none)
    two = write_notebook(tmp_path / "two.ipynb", "#!scale = 2", "#!data = 'x'")
    with pytest.raises(HsisrError, match=r"two.ipynb has 2 cells"):
        chapter_parameters(two)


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "[" * 100_000, '{"worksheets": []}', '{"cells": 3}',
        '{"cells": [{"metadata": null, "source": "a=1"}]}',
        '{"cells": [{"metadata": {"tags": 3}}]}', '{"cells": [{"metadata": {"tags": ["parameters"]}, "source": 3}]}',
        "\x89PNG",
    ],
)  # fmt: skip
def test_a_file_that_is_no_notebook(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.ipynb"
    path.write_text(text)
    with pytest.raises(HsisrError, match=r"x.ipynb cannot be read as a notebook of format 4"):
        chapter_parameters(path)
    with pytest.raises(HsisrError, match=r"absent.ipynb cannot be read .* is missing"):
        chapter_parameters(tmp_path / "absent.ipynb")


@pytest.mark.parametrize(
    "given",
    [
        {"scale": 4},
        {"rate": 1},  # a whole number is a float
        {"data": None},
        {"data": "scenes"},
        {"steps": None, "places": [1, 2, 3], "verbose": True},
        {"places": []},
        {},
    ],
)
def test_a_chapter_accepts(chapter: Path, given: dict[str, Any]) -> None:
    assert assign_parameters([chapter], given) == {chapter: given}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scal": 4}, "No chapter has a parameter 'scal'. Valid"),
        ({"scale": "4"}, "04-training: scale='4', expected int."),
        ({"scale": 4.0}, "scale=4.0, expected int."),
        ({"scale": True}, "scale=True, expected int."),
        ({"scale": None}, "scale=None, expected int."),
        ({"rate": True}, "rate=True, expected float."),
        ({"rate": "1e-4"}, "rate='1e-4', expected float (YAML reads 1e-4 as a text: write 1.0e-4)."),
        ({"data": 3}, "data=3, expected Optional[str]."),
        ({"places": [1, 2.5]}, "places=[1, 2.5], expected list[int]."),
        ({"places": "12"}, "places='12', expected list[int]."),
        ({"verbose": 1}, "verbose=1, expected bool."),
    ],
)
def test_a_chapter_refuses_and_lists_what_is_valid(
    chapter: Path, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(HsisrError) as raised:
        assign_parameters([chapter], given)
    assert message in str(raised.value)
    assert "Valid parameters: scale: int = 2, preset: str = 'demo', data: Optional[str] = None" in str(
        raised.value
    )


def test_assign_parameters_gives_each_chapter_its_own(tmp_path: Path) -> None:
    first = write_notebook(tmp_path / "a.ipynb", "#!scale = 2\npreset = 'demo'")
    second = write_notebook(tmp_path / "b.ipynb", "#!preset = 'demo'")
    assert assign_parameters([first, second], {"scale": 3, "preset": "paper"}) == {
        first: {"scale": 3, "preset": "paper"},
        second: {"preset": "paper"},
    }
    with pytest.raises(
        HsisrError, match=r"^No chapter has a parameter 'sale'. Valid parameters: scale: int = 2, pre"
    ):
        assign_parameters([first, second], {"sale": 3})
    with pytest.raises(HsisrError, match="b: preset=3, expected str"):
        assign_parameters([second], {"preset": 3})


def run(chapter: Path, *arguments: str) -> tuple[int, str, list[str]]:
    """Execute a chapter with the papermill command from the project's folder: status, stderr, text of the outputs."""
    out = chapter.parent.parent / "out.ipynb"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(out.parent / "ipython")}
    command = [
        sys.executable,
        "-m",
        "papermill",
        str(chapter),
        str(out),
        "-k",
        "python3",
        "--no-progress-bar",
    ]
    done = subprocess.run(
        [*command, *arguments], cwd=out.parent, env=environment, capture_output=True, text=True, check=False
    )
    outputs = [output for cell in nbformat.read(out, 4).cells for output in cell.get("outputs", [])]
    texts = ["\n".join(item["traceback"]) if "traceback" in item else item["text"] for item in outputs]
    return done.returncode, done.stderr, texts


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose one chapter opens itself and says what it was given."""
    book = write_project(tmp_path, "04-training")
    opening = (
        "from hsisr_core.chapter import open_chapter\n\nchapter = open_chapter('04-training', globals())"
    )
    show = "print(sorted(chapter.overrides.items()), chapter.parameters['rate'], chapter.name)"
    return write_notebook(book / "04-training.ipynb", CELL, opening, show)


@pytest.mark.slow
def test_papermill_alone_runs_a_chapter(project: Path) -> None:
    status, _, texts = run(project)
    assert status == 0
    assert texts == ["[('scale', 2)] 0.0001 04-training\n"]


@pytest.mark.slow
def test_papermill_alone_with_a_preset_file(project: Path) -> None:
    """Settings of a run that the chapter does not declare are valid; their types are checked by `RunConfig`."""
    preset = project.parent / "presets" / "mine.yaml"
    preset.write_text("preset: demo\nscale: 3\nlearning_rate: 1e-3\nimage_sizes: [1.0]\nclip: null\n")
    status, _, texts = run(project, "-f", "book/presets/mine.yaml", "-p", "scale", "4", "-p", "rate", "1")
    assert status == 0
    assert len(texts) == 1, "open_chapter prints nothing"
    assert texts[0] == (
        "[('clip', None), ('image_sizes', [1.0]), ('learning_rate', '1e-3'), ('scale', 4)] 1 04-training\n"
    )


@pytest.mark.slow
def test_papermill_alone_with_a_plan(project: Path) -> None:
    """`papermill -f` injects the plan's `runs` and its defaults; neither undoes what the plan varies."""
    preset = project.parent / "presets" / "demo.yaml"
    defaults = preset.read_text().partition("\nruns:")[0]
    preset.write_text(defaults + "\nruns: [{product: {scale: [2, 3], seed: [1, 2]}}]\n")
    notebook = nbformat.read(project, 4)
    notebook.cells[-1].source = "print(sorted((c.scale, c.seed, c.steps) for c in chapter.plan().configs))"
    nbformat.write(notebook, project)
    file = ("-f", "book/presets/demo.yaml")
    status, log, texts = run(project, *file, "-p", "steps", "7")
    assert status == 0, log
    assert texts == ["[(2, 1, 7), (2, 2, 7), (3, 1, 7), (3, 2, 7)]\n"]
    status, _, texts = run(project, *file, "-p", "scale", "3")
    assert texts == ["[(3, 1, 2000), (3, 2, 2000)]\n"]


@pytest.mark.slow
def test_papermill_alone_refuses_in_one_line(project: Path) -> None:
    status, errors, texts = run(project, "-p", "sclae", "3")
    assert status == 1
    message = (
        "HsisrError: 04-training has no parameter 'sclae'. Did you mean 'scale'? Valid parameters: scale: int"
    )
    assert len(texts) == 1
    assert texts[0].startswith(message)
    assert "\n" not in texts[0]
    assert "from a preset: method, data" in texts[0]
    assert message in errors


def namespace(*history: str, **values: Any) -> dict[str, Any]:
    given = {
        "scale": 2,
        "preset": "demo",
        "data": None,
        "rate": 0.1,
        "steps": None,
        "places": [],
        "offset": 0.0,
    }
    return given | {"verbose": False, "In": ["", *history]} | values


def test_open_chapter_without_papermill(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.parent)  # JupyterLab's working folder is the notebook's
    chapter = open_chapter("04-training", namespace("%matplotlib inline", scale=3, steps=10))
    assert chapter.overrides == {"scale": 3, "steps": 10}
    assert chapter.parameters["data"] is None
    assert list(chapter.parameters)[:3] == ["scale", "preset", "data"]
    with pytest.raises(
        HsisrError, match=r"04-training: scale=2.5, expected int\. Valid parameters: scale: int"
    ):
        open_chapter("04-training", namespace(scale=2.5))
    with pytest.raises(HsisrError, match=r"features='x': expected a valid integer"):
        open_chapter("04-training", namespace("# Parameters\nfeatures = 'x'", features="x")).config()
    unset = namespace()
    del unset["places"]
    with pytest.raises(HsisrError, match=r"04-training: places has no value. Run the parameters cell first"):
        open_chapter("04-training", unset)
    with pytest.raises(HsisrError, match=r"05-x.ipynb cannot be read .* is missing"):
        open_chapter("05-x", namespace())


def test_open_chapter_reads_the_last_injected_cell(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.parent)
    wrong, right = "# Parameters\nunknown = 3\n", "# Parameters\nscale = 3\nfeatures = 8\n"
    chapter = open_chapter("04-training", namespace(wrong, "1 + 1", right, scale=3, features=8))
    assert chapter.overrides == {"scale": 3, "features": 8}
    with pytest.raises(HsisrError, match="has no parameter 'unknown'"):
        open_chapter("04-training", namespace(right, wrong))
    open_chapter("04-training", namespace("# Parameters of my own\nunknown = 3"))


CHAPTERS = sorted((ROOT / "book").glob("*.ipynb"))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_every_chapter_declares_its_parameters_and_opens_itself(chapter: Path) -> None:
    """papermill must know each parameter, or it would leave it out of `papermill --help-notebook`."""
    declared = chapter_parameters(chapter)
    known = papermill.inspect_notebook(str(chapter))
    assert {name: item["inferred_type_name"] for name, item in known.items()} == {
        name: parameter.type for name, parameter in declared.items()
    }
    assert {name: ast.literal_eval(item["default"]) for name, item in known.items()} == {
        name: parameter.default for name, parameter in declared.items()
    }
    cells = [cell for cell in nbformat.read(chapter, 4).cells if cell.cell_type == "code"]
    tagged = next(i for i, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", []))
    # at most the imports come before
    opening = "\n".join(cell.source for cell in cells[tagged + 1 : tagged + 3])
    assert f'open_chapter("{chapter.stem}", globals())' in opening
    assert declared


def test_notebooks_are_committed_without_outputs() -> None:
    keys = "metadata.papermill cell.metadata.papermill"
    command = [sys.executable, "-m", "nbstripout", "--verify", "--extra-keys", keys]
    files = [*map(str, CHAPTERS), str(ROOT / "colab.ipynb")]
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_figure_of_scenes_is_drawn_or_the_kept_one_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    monkeypatch.setattr("hsisr_core.runs.results_folder", lambda: tmp_path)
    here = Figure(figsize=(1, 1))
    missing = NotAtHandError("The dataset cave is not prepared.")

    def show(result: Figure | NotAtHandError, run: str = "ssrnet-x2-cave-1") -> Any:
        @Chapter("05-results", {}, {}).figure([SimpleNamespace(folder=Path(run))])  # type: ignore[list-item]
        def draw_errors() -> Figure:
            if isinstance(result, NotAtHandError):
                raise result
            return result

        return shown.pop()

    assert show(here) is here
    assert show(missing).data == "*Not drawn here. The dataset cave is not prepared.*"
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv(KEEP, "1")
    assert show(here) is here
    (kept,) = (tmp_path / "figures").iterdir()
    assert kept.name.startswith("05-results-errors-")
    assert show(missing).data == kept.read_bytes()
    assert "Not drawn" in show(missing, run="ssrnet-x2-cave-2").data, "a picture of other runs is not shown"


def test_names_from_files_are_shown_as_text() -> None:
    """Where pandas styles a table: in its cells, headings, index and caption; and in Markdown, but for code."""
    script = "<img src=x onerror=alert(1)>"
    shell = InteractiveShell.instance()
    try:
        escape_names()
        show: Any = shell.display_formatter
        table = pd.DataFrame({script: [script, "a & b"]}, index=pd.Index([script, "b"], name=script))
        styles = table.style, table.style.format(precision=3), table.style.format_index("x{}").format("{}")
        for styled in styles:
            shown = show.format(styled.set_caption(script))[0]["text/html"]
            assert "<img" not in shown
            assert shown.count("&lt;img src=x onerror=alert(1)&gt;") == 5
            assert "a &amp; b" in shown
        pairs = pd.DataFrame(
            [[1]], columns=pd.MultiIndex.from_tuples([("a", "b")]), index=pd.Index([0], name="c")
        )
        assert "nbsp;" in (shown := show.format(pairs.style)[0]["text/html"])
        assert "&amp;nbsp;" not in shown
        text = show.format(Markdown(f"**{script}** 1 < 2"))[0]["text/markdown"]
        assert text == "**&lt;img src=x onerror=alert(1)>** 1 < 2"
        code = "```python\nif a <b: pass\n```"
        assert show.format(Markdown(code))[0]["text/markdown"] == code
    finally:
        InteractiveShell.clear_instance()
