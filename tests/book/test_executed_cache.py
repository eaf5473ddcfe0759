"""What is taken from the last build, and what is not: each thing that decides what a chapter shows, changed."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest
from filelock import FileLock
from small_book import ROOT, write_notebook, write_project

from hsisr_core.book import execute, executed_cache
from hsisr_core.book.executed_cache import (
    MANIFEST,
    Executed,
    chapter_state,
    execution_times,
    is_live,
    read_manifest,
    still_holds,
    write_manifest,
)

PARAMETERS = (
    "#!from typing import Optional\npreset: str = 'demo'\ndata: Optional[str] = None\nextra: list = []"
)
COUNT = "with open('count-{0}', 'a') as file:\n    _ = file.write('x')"


@pytest.fixture
def chapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A chapter in a project of its own, with data, a finished run and a copy of the package."""
    monkeypatch.chdir(tmp_path)
    for name in ("HSISR_RUNS", "HSISR_DATASETS", "HSISR_CACHE"):
        monkeypatch.delenv(name, raising=False)
    book = write_project(tmp_path, "index", "a")
    (tmp_path / "scenes" / "one_ms").mkdir(parents=True)
    (tmp_path / "scenes" / "one_ms" / "one_ms_01.png").write_bytes(b"12345")
    (tmp_path / "elsewhere" / "two_ms").mkdir(parents=True)
    (tmp_path / "scenes" / "two_ms").symlink_to(tmp_path / "elsewhere" / "two_ms")
    (tmp_path / "elsewhere" / "two_ms" / "back").symlink_to(tmp_path / "scenes")
    (tmp_path / "runs" / "ssrnet-x2").mkdir(parents=True)
    (tmp_path / "runs" / "ssrnet-x2" / "metrics.json").write_text("{}")
    package = tmp_path / "package"
    shutil.copytree(ROOT / "hsisr_core", package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(executed_cache, "PACKAGE", package)
    return write_notebook(book / "a.ipynb", PARAMETERS, COUNT.format("a"))


def changes() -> dict[str, Callable[[Path, pytest.MonkeyPatch], object]]:
    """By the digest that must change: what a user may do between two builds."""

    def append(name: str) -> Callable[[Path, pytest.MonkeyPatch], object]:
        def change(root: Path, _: pytest.MonkeyPatch) -> None:
            with (root / name).open("a") as file:
                file.write("\n")

        return change

    def create(name: str) -> Callable[[Path, pytest.MonkeyPatch], object]:
        def change(root: Path, _: pytest.MonkeyPatch) -> None:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("new")

        return change

    def installed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        others = [*importlib.metadata.distributions()][1:]
        monkeypatch.setattr(executed_cache.importlib.metadata, "distributions", lambda: others)
        executed_cache._packages.cache_clear()

    return {
        "notebook": append("book/a.ipynb"),
        "code: Python": append("package/plots.py"),
        "code: JSON": append("package/paper_tables.json"),
        "code: new file": create("package/explorer/view.js"),
        "book: preset": append("book/presets/demo.yaml"),
        "book: results": create("book/results/cpu/metrics.json"),
        "book: style": append("book/_assets/book.css"),
        "data: a scene": append("scenes/one_ms/one_ms_01.png"),
        "data: through a link": create("elsewhere/two_ms/two_ms_01.png"),
        "data: a dataset": create("data/cave/scenes.h5"),
        "data: time": lambda root, _: os.utime(root / "scenes/one_ms/one_ms_01.png", (1, 1)),
        "runs: finished": create("runs/ssrnet-x3/metrics.json"),
        "runs: under way": create("runs/ssrnet-x4/history.csv"),
        "runs: gone": lambda root, _: (root / "runs/ssrnet-x2/metrics.json").unlink(),
        "runs: elsewhere": lambda root, patch: patch.setenv("HSISR_RUNS", str(root / "others")),
        "environment: ours": lambda root, patch: patch.setenv("HSISR_DATA", str(root)),
        "environment: threads": lambda root, patch: patch.setenv("OMP_NUM_THREADS", "7"),
        "environment: GPU": lambda root, patch: patch.setenv("CUDA_VISIBLE_DEVICES", ""),
        "packages": installed,
    }


@pytest.mark.parametrize("change", changes())
def test_each_thing_that_decides_the_output_is_noticed(
    chapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(executed_cache, "_packages", executed_cache._packages)
    given = {"data": "scenes"}
    before = chapter_state(chapter, given)
    assert before is not None
    assert chapter_state(chapter, given) == before
    changes()[change](tmp_path, monkeypatch)
    after = chapter_state(chapter, given)
    executed_cache._packages.cache_clear()
    assert after is not None
    changed = {name for name in before if before[name] != after[name]}
    assert change.split(":")[0] in changed
    assert changed <= {change.split(":")[0], "environment"}


def test_parameters_and_the_paths_in_them(chapter: Path, tmp_path: Path) -> None:
    states = [
        chapter_state(chapter, given)
        for given in ({}, {"data": "scenes"}, {"data": str(tmp_path / "scenes")}, {"extra": ["scenes"]})
    ]
    texts = [json.dumps(state) for state in states]
    assert len(set(texts)) == 4
    preset = tmp_path / "mine.yaml"
    preset.write_text("preset: mine\nruns:\n- data: scenes\n")
    before = chapter_state(chapter, {"preset": "mine.yaml"})
    (tmp_path / "scenes" / "new.mat").touch()
    after = chapter_state(chapter, {"preset": "mine.yaml"})
    assert before is not None
    assert after is not None
    assert {name for name in before if before[name] != after[name]} == {"data"}, "a path in a preset's plan"
    preset.write_text("preset: mine\nruns:\n- data: scenes\n  scale: 3\n")
    assert chapter_state(chapter, {"preset": "mine.yaml"}) != after


def test_what_shows_nothing_is_left_out(chapter: Path, tmp_path: Path) -> None:
    """Other pages, the settings file of a run that has not begun, Python's caches."""
    before = chapter_state(chapter, {})
    write_notebook(chapter.with_name("b.ipynb"), PARAMETERS)
    (chapter.parent / "index.md").write_text("# Index\n")
    for name in ("runs/new/config.yaml", "runs/ssrnet-x2/.lock", "package/__pycache__/plots.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert chapter_state(chapter, {}) == before


def test_a_run_in_training_is_another_state(chapter: Path, tmp_path: Path) -> None:
    before = chapter_state(chapter, {})
    with FileLock(tmp_path / "runs" / "ssrnet-x2" / ".lock"):
        assert chapter_state(chapter, {}) != before
    assert chapter_state(chapter, {}) == before


def test_what_cannot_be_read_has_no_state(chapter: Path, tmp_path: Path) -> None:
    assert chapter_state(chapter, {"preset": "no-such"}) is None
    (tmp_path / "scenes" / "broken").symlink_to(tmp_path / "nowhere")
    assert chapter_state(chapter, {"data": "scenes"}) is None


def test_an_entry_holds_for_its_state_and_its_file(tmp_path: Path) -> None:
    notebook = tmp_path / "a.ipynb"
    notebook.write_text("executed")
    entry = Executed.of(notebook, 1.234, {"code": "1"})
    write_manifest(tmp_path, {"a": entry})
    assert read_manifest(tmp_path) == {"a": entry}
    assert still_holds(entry, notebook, {"code": "1"})
    assert not still_holds(None, notebook, {"code": "1"})
    assert not still_holds(entry, notebook, {"code": "2"})
    assert not still_holds(entry, notebook, {"code": "1", "data": "1"})
    nothing = dataclasses.replace(entry, state=None)
    assert not still_holds(nothing, notebook, None), "two unknown states are not the same"
    notebook.write_text("edited")
    assert not still_holds(entry, notebook, {"code": "1"})
    notebook.unlink()
    assert not still_holds(entry, notebook, {"code": "1"})
    for damaged in ("", "[]", "{", '{"a": 1}', '{"a": {"state": null}}', '{"a": {"unknown": 1}}'):
        (tmp_path / MANIFEST).write_text(damaged)
        assert read_manifest(tmp_path) == {}, damaged


def test_execution_times_say_what_was_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(executed_cache.TIMES_VARIABLE, str(tmp_path))
    assert execution_times().empty
    own = Executed({}, 2.5, "2026-01-02T03:04:05+00:00", "0")
    write_manifest(tmp_path, {"b": own, "a": executed_cache.reused(own)})
    assert execution_times().to_numpy().tolist() == [
        ["a", 2.5, "reused, from 2026-01-02"],
        ["b", 2.5, "in this build"],
    ]


def test_the_status_page_is_always_executed() -> None:
    live = {path.stem for path in (ROOT / "book").glob("*.ipynb") if is_live(path)}
    assert live == {"status"}


STAND_IN = """import json, shutil, sys
for cell in json.load(open(sys.argv[1], encoding="utf-8"))["cells"]:
    exec("".join(cell["source"]), {})
shutil.copy(sys.argv[1], sys.argv[2])
"""


def start(chapter: Path, output: Path, values: Mapping[str, Any], work: Path, jobs: int) -> execute.Execution:
    """Execute a chapter without papermill and a kernel, which take seconds; tests/test_execute.py has both."""
    log, state = work / f"{chapter.stem}.log", chapter_state(chapter, values)
    command = [sys.executable, "-S", "-c", STAND_IN, str(chapter), str(output)]
    environment = os.environ | {executed_cache.TIMES_VARIABLE: str(output.parent)}
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
    return execute.Execution(chapter, output, log, process, time.monotonic(), values, state)


def test_builds_execute_what_changed_and_no_more(
    chapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Three chapters: `a` counts its executions, `b` also trains a run, `c` is live."""
    monkeypatch.setattr(execute, "start", start)
    write = (
        "import pathlib\n\nrun = pathlib.Path('runs/new')\nrun.mkdir(exist_ok=True)\n"
        "if not (run / 'metrics.json').exists():\n    (run / 'metrics.json').touch()"
    )
    times = "import os, shutil\n\nshutil.copy(os.environ['HSISR_EXECUTED'] + '/executed.json', 'seen.json')"
    b = write_notebook(chapter.with_name("b.ipynb"), PARAMETERS, COUNT.format("b"), write)
    c = write_notebook(chapter.with_name("c.ipynb"), PARAMETERS, COUNT.format("c"), times)
    notebook = nbformat.read(c, 4)
    notebook.cells[-1].metadata["tags"] = ["live"]
    nbformat.write(notebook, c)

    def build(*, force: bool = False) -> list[int]:
        execute.execute_chapters([c, chapter, b], {"data": "scenes"}, tmp_path / "out", jobs=1, force=force)
        return [len((tmp_path / f"count-{name}").read_text()) for name in "abc"]

    assert build() == [1, 1, 1]
    assert build() == [2, 2, 2], "a was executed before there was the run, and b made it"
    capfd.readouterr()
    assert build() == [2, 2, 3]
    said = capfd.readouterr().err.splitlines()
    assert said[0].startswith("2 of 3 chapters taken from the last build: nothing they show has changed")
    assert said[1].startswith("chapter 3/3: c, ")
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert {name: entry["reused"] for name, entry in seen.items()} == {"a": True, "b": True}

    good = chapter.read_text()
    write_notebook(chapter, PARAMETERS, COUNT.format("a"), "1 / 0")
    for count in (3, 4):  # what failed is not remembered
        with pytest.raises(execute.BookError):
            execute.execute_chapters([chapter, b, c], {"data": "scenes"}, tmp_path / "out", jobs=1)
        assert len((tmp_path / "count-a").read_text()) == count
    chapter.write_text(good)
    assert build() == [4, 2, 4], "the last good build holds still"
    assert build(force=True) == [5, 3, 5]
    (tmp_path / "out" / "executed" / "b.ipynb").write_text("{}")
    assert build() == [5, 4, 6], "an executed notebook that was touched is made again"
    execute.execute_chapters([chapter], {}, tmp_path / "out", jobs=1)
    assert len((tmp_path / "count-a").read_text()) == 6, "other parameters"
