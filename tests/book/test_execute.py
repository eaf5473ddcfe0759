"""Executing chapters: with real papermill and real kernels; and what is taken from the last build instead."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest
from small_book import ROOT, write_notebook, write_project

from hsisr_core.book import execute
from hsisr_core.book.execute import BookError, chapter_digest, execute_chapters
from hsisr_core.errors import HsisrError

PARAMETERS = (
    "#!from typing import Optional\npreset: str = 'demo'\ndata: Optional[str] = None\nmore: list = []"
)


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("HSISR_RUNS", "HSISR_DATASETS", "HSISR_CACHE"):
        monkeypatch.delenv(name, raising=False)
    return write_project(tmp_path, "index", "a", "b")


def texts(notebook: Path) -> list[str]:
    outputs = [item for cell in nbformat.read(notebook, 4).cells for item in cell.get("outputs", [])]
    return [item["text"] for item in outputs]


@pytest.mark.slow
def test_each_chapter_gets_its_parameters_and_this_python(
    book: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # of the caller: pictures would be missing
    monkeypatch.setenv("MPLBACKEND", "agg")
    show = "import os, sys\n\nprint(os.getcwd(), sys.executable, os.environ.get('MPLBACKEND', 'inline')[-6:])"
    first = write_notebook(
        book / "a.ipynb", "# A", "#!scale = 2\ntext = ''", "print(scale, repr(text))", show
    )
    second = write_notebook(book / "b.ipynb", "#!scale = 2", "print(scale)")
    (book / "index.md").write_text("# Index\n")
    odd = 'it\'s {a: b} # \\ "x"\nü'
    executed = execute_chapters([first, second], {"scale": 3, "text": odd}, tmp_path / "out")

    assert executed == tmp_path / "out" / "executed"
    shown = "".join(texts(executed / "a.ipynb")).splitlines()
    assert shown == [f"3 {odd!r}", f"{tmp_path} {sys.executable} inline"]
    assert texts(executed / "b.ipynb") == ["3\n"]
    names = {path.relative_to(executed).as_posix() for path in executed.rglob("*") if path.is_file()}
    others = {name for name in names if not name.startswith("_assets/")}
    assert others == {"a.ipynb", "b.ipynb", "index.md", "references.bib", "_toc.yml", "executed.json"}
    assert "_assets/book.css" in names
    lines = sorted(line.split(":")[1].split(",")[0] for line in capfd.readouterr().err.splitlines())
    assert lines == [" a", " b"], "one line a chapter"
    assert "papermill" not in json.dumps(nbformat.read(executed / "a.ipynb", 4).metadata)
    assert str(tmp_path / "out") not in (executed / "a.ipynb").read_text()


@pytest.mark.slow
def test_a_failing_cell_fails_the_build(book: Path, tmp_path: Path) -> None:
    good = write_notebook(book / "a.ipynb", "#!scale = 2", "print('good')")
    executed = execute_chapters([good], {}, tmp_path / "out")
    first = "\n# a comment first\nvalue = 1 / 0"
    bad = write_notebook(book / "b.ipynb", "#!scale = 2", "print('so far')", first, "print('never')")
    with pytest.raises(BookError) as raised:
        execute_chapters([good, bad], {}, tmp_path / "out")
    kept = tmp_path / "out" / "executed" / "b.ipynb"
    assert str(raised.value) == (
        "b stopped at the cell that begins with `# a comment first`: ZeroDivisionError: division by zero\n"
        f"The notebook as far as it ran: {kept}"
    )
    assert raised.value.exit_code == 1
    assert "so far" in kept.read_text()
    assert texts(executed / "a.ipynb") == ["good\n"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"executed"}

    mistake = (
        "from hsisr_core.errors import HsisrError\n\nraise HsisrError('scale=7: expected one of 2, 3, 4.')"
    )
    write_notebook(book / "b.ipynb", "#!scale = 2", mistake)
    with pytest.raises(BookError, match=r"HsisrError: scale=7: expected one of 2, 3, 4\.\nThe notebook"):
        execute_chapters([bad], {}, tmp_path / "out")

    write_notebook(book / "b.ipynb", "#!scale = 2", "import os\n\nos.kill(os.getpid(), 9)")
    with pytest.raises(BookError, match=r"^b stopped outside its cells: DeadKernelError: Kernel died"):
        execute_chapters([bad], {}, tmp_path / "out")

    write_notebook(book / "b.ipynb", "#!scale = 2", "print('repaired')")
    execute_chapters([good, bad], {}, tmp_path / "out")
    assert texts(executed / "a.ipynb") == ["good\n"]
    assert texts(executed / "b.ipynb") == ["repaired\n"]


BEAT = """import pathlib, time

for count in range(3000):
    pathlib.Path('beat').write_text(str(count))
    time.sleep(0.05)
"""
BUILD = """from pathlib import Path
from hsisr_core.base import run_command
from hsisr_core.book import execute_chapters

if __name__ == "__main__":
    run_command(lambda: execute_chapters([Path("book/a.ipynb")], {}) and None)
"""


def assert_beat_stops(path: Path) -> None:
    last = ""
    for _ in range(20):
        # a kernel looks for its parent once a second
        time.sleep(1)
        before, last = last, path.read_text()
        if last == before:
            return
    pytest.fail("the kernel is still at work")


@pytest.mark.slow
def test_the_other_chapters_stop_when_one_fails(book: Path, tmp_path: Path) -> None:
    beating = write_notebook(book / "a.ipynb", "#!scale = 2", BEAT)
    wait = "import pathlib, time\n\nwhile not pathlib.Path('beat').exists():\n    time.sleep(0.1)\n1 / 0"
    failing = write_notebook(book / "b.ipynb", "#!scale = 2", wait)
    with pytest.raises(BookError, match=r"^b stopped"):
        execute_chapters([beating, failing], {}, tmp_path / "out", jobs=2)
    assert_beat_stops(tmp_path / "beat")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_kernels_end_with_the_build(book: Path, tmp_path: Path, how: signal.Signals) -> None:
    write_notebook(book / "a.ipynb", "#!scale = 2", BEAT)
    (tmp_path / "build.py").write_text(BUILD)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    # a group of its own, which gets a Ctrl-C as a whole
    with subprocess.Popen(
        [sys.executable, "build.py"],
        env=environment,
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    ) as build:
        while not (tmp_path / "beat").exists():
            time.sleep(0.1)
            assert build.poll() is None
        os.killpg(build.pid, how) if how == signal.SIGINT else build.send_signal(how)
        said = build.communicate(timeout=60)[1]
    assert_beat_stops(tmp_path / "beat")
    assert "Traceback" not in said
    assert build.returncode == (-9 if how == signal.SIGKILL else 130)
    assert [path.name for path in (tmp_path / "_build").iterdir()] == ["executed"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sale": 3}, "No chapter has a parameter 'sale'. Valid parameters: scale: int = 2."),
        ({"scale": "3"}, "a: scale='3', expected int."),
    ],
)
def test_nothing_runs_with_wrong_parameters(
    book: Path, tmp_path: Path, parameters: dict[str, Any], message: str
) -> None:
    chapter = write_notebook(book / "a.ipynb", "#!scale = 2", "open('ran', 'w')")
    with pytest.raises(HsisrError) as raised:
        execute_chapters([chapter], parameters, tmp_path / "out")
    assert str(raised.value).startswith(message)
    assert not isinstance(raised.value, BookError)
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written(book: Path, tmp_path: Path) -> None:
    chapter = write_notebook(book / "a.ipynb", "#!scale = 2")
    (tmp_path / "file").touch()
    with pytest.raises(HsisrError, match=f"Cannot write to {tmp_path / 'file' / 'out'}: "):
        execute_chapters([chapter], {}, tmp_path / "file" / "out")
    assert (tmp_path / "file").stat().st_size == 0


def run_all(chapters: Mapping[Path, object], pages: Path, jobs: int) -> Iterator[tuple[str, float]]:
    """Execute chapters without a kernel, which takes seconds."""
    for chapter in chapters:
        for cell in nbformat.read(chapter, 4).cells:
            try:
                exec(cell.source, {"done": json.loads((pages / "executed.json").read_text())})
            except ZeroDivisionError as error:
                raise BookError("failed") from error
        shutil.copy(chapter, pages)
        yield chapter.stem, 1.5


def test_builds_execute_what_changed_and_no_more(
    book: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three chapters count their executions; `b` also trains a run."""
    monkeypatch.setattr(execute, "_run_all", run_all)
    count = "with open('count-{0}', 'a') as file:\n    _ = file.write('x')"
    run = (
        "import pathlib\n\nrun = pathlib.Path('runs/new/metrics.json')\nif not run.exists():\n"
        "    run.parent.mkdir(parents=True)\n    run.touch()"
    )
    a = write_notebook(book / "a.ipynb", PARAMETERS, count.format("a"))
    b = write_notebook(book / "b.ipynb", PARAMETERS, count.format("b"), run)
    c = write_notebook(book / "c.ipynb", PARAMETERS, count.format("c"))

    def build(*, force: bool = False) -> list[int]:
        execute_chapters([c, a, b], {"data": "scenes"}, tmp_path / "_build", force=force)
        return [len((tmp_path / f"count-{name}").read_text()) for name in "abc"]

    assert build() == [1, 1, 1]
    capfd.readouterr()
    assert build() == [2, 2, 2], "all were begun before there was the run"
    assert capfd.readouterr().err.splitlines()[-1] == "chapter 3/3: b, 2 s"
    assert build() == [2, 2, 2]
    said = capfd.readouterr().err
    assert said.startswith("3 of 3 chapters taken from the last build: nothing has changed")

    good = a.read_text()
    write_notebook(a, PARAMETERS, count.format("a"), "1 / 0")
    with pytest.raises(BookError):
        build()
    a.write_text(good)
    assert build() == [4, 2, 2], "the others are taken from the build that failed"
    (tmp_path / "_build" / "executed" / "b.ipynb").write_text("{}")
    assert build() == [4, 3, 2], "an executed notebook that was touched is made again"
    assert build(force=True) == [5, 4, 3]


def changes() -> dict[str, Callable[[Path, pytest.MonkeyPatch], object]]:
    """What a user may do between two builds, of which each must be noticed."""

    def create(name: str) -> Callable[[Path, pytest.MonkeyPatch], object]:
        def change(root: Path, _: pytest.MonkeyPatch) -> None:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            with (root / name).open("a") as file:
                file.write("\n")

        return change

    def install(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        others = [*importlib.metadata.distributions()][1:]
        monkeypatch.setattr(execute.importlib.metadata, "distributions", lambda: others)
        execute._software.cache_clear()

    return {
        "notebook": create("book/a.ipynb"),
        "code": create("package/plots.py"),
        "code: new file": create("package/explorer/view.js"),
        "preset": create("book/presets/demo.yaml"),
        "results": create("book/results/cpu/config.yaml"),
        "a scene": create("scenes/one_ms/one_ms_01.png"),
        "a scene through a link": create("elsewhere/two_ms/two_ms_01.png"),
        "a scene's time": lambda root, _: os.utime(root / "scenes/one_ms/one_ms_01.png", (1, 1)),
        "a dataset": create("data/cave/scenes.h5"),
        "a preset's data": create("of-the-preset/scene.mat"),
        "a run finished": create("runs/ssrnet-x3/metrics.json"),
        "a run under way": create("runs/ssrnet-x4/history.csv"),
        "a run gone": lambda root, _: (root / "runs/ssrnet-x2/metrics.json").unlink(),
        "runs elsewhere": lambda root, patch: patch.setenv("HSISR_RUNS", str(root / "others")),
        "HSISR_DATA": lambda root, patch: patch.setenv("HSISR_DATA", str(root)),
        "threads": lambda root, patch: patch.setenv("OMP_NUM_THREADS", "7"),
        "packages": install,
    }


@pytest.fixture
def chapter(book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A chapter with data, a finished run, a preset of its own and a package."""
    for name in ("scenes/one_ms/one_ms_01.png", "elsewhere/two_ms/a.png", "runs/ssrnet-x2/metrics.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"12345")
    (tmp_path / "scenes" / "two_ms").symlink_to(tmp_path / "elsewhere" / "two_ms")
    (tmp_path / "package").mkdir()
    (tmp_path / "of-the-preset").mkdir()
    (tmp_path / "mine.yaml").write_text("preset: mine\nruns:\n- data: of-the-preset\n")
    monkeypatch.setattr(execute, "PACKAGE", tmp_path / "package")
    return write_notebook(book / "a.ipynb", PARAMETERS)


@pytest.mark.parametrize("change", changes())
def test_each_thing_that_decides_the_output_is_noticed(
    chapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    given = {"data": "scenes", "preset": "mine.yaml"}
    before = chapter_digest(chapter, given)
    assert chapter_digest(chapter, given) == before
    changes()[change](tmp_path, monkeypatch)
    after = chapter_digest(chapter, given)
    execute._software.cache_clear()
    assert after != before


def test_other_parameters_are_noticed(chapter: Path, tmp_path: Path) -> None:
    given: tuple[dict[str, Any], ...] = (
        {},
        {"data": "scenes"},
        {"data": str(tmp_path / "scenes")},
        {"more": ["scenes"]},
    )
    assert len({chapter_digest(chapter, values) for values in given}) == 4


def test_what_shows_nothing_is_left_out(chapter: Path, tmp_path: Path) -> None:
    """Other pages and styles, the settings file of a run that has not begun, Python's caches."""
    before = chapter_digest(chapter, {})
    write_notebook(chapter.with_name("b.ipynb"), PARAMETERS)
    (chapter.parent / "index.md").write_text("# Index\n")
    for name in ("runs/new/config.yaml", "runs/ssrnet-x2/.lock", "package/__pycache__/plots.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert chapter_digest(chapter, {}) == before
