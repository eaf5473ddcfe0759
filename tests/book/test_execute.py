"""Executing chapters: real papermill, real kernels."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
from filelock import FileLock
from small_book import write_notebook, write_project

from hsisr_core.book.execute import BookError, execute_chapters, work_folder
from hsisr_core.errors import HsisrError

pytestmark = pytest.mark.slow


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_project(tmp_path, "index", "a", "b")


def texts(notebook: Path) -> list[str]:
    outputs = [item for cell in nbformat.read(notebook, 4).cells for item in cell.get("outputs", [])]
    return [item["text"] for item in outputs]


def test_each_chapter_gets_its_parameters_and_this_python(
    book: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")  # of the caller: pictures would be missing
    show = "import os, sys\n\nprint(os.getcwd(), sys.executable, os.environ.get('MPLBACKEND', 'inline')[-6:])"
    first = write_notebook(
        book / "a.ipynb", "# A", "#!scale = 2\ntext = ''", "print(scale, repr(text))", show
    )
    second = write_notebook(book / "b.ipynb", "#!scale = 2", "print(scale)")
    (book / "index.md").write_text("# Index\n")
    odd = 'it\'s {a: b} # \\ "x"\nü'
    executed = execute_chapters([first, second], {"scale": 3, "text": odd}, tmp_path / "out")

    assert executed == tmp_path / "out" / "executed"
    assert texts(executed / "a.ipynb")[0].splitlines()[0] == f"3 {odd!r}"
    assert str(tmp_path) in "".join(texts(executed / "a.ipynb"))
    assert f"{sys.executable} inline" in "".join(texts(executed / "a.ipynb"))
    assert texts(executed / "b.ipynb") == ["3\n"]
    names = {path.relative_to(executed).as_posix() for path in executed.rglob("*") if path.is_file()}
    assert {name for name in names if not name.startswith("_assets/")} == {
        "a.ipynb",
        "b.ipynb",
        "index.md",
        "_toc.yml",
        "executed.json",
    }
    assert "_assets/book.css" in names
    lines = sorted(line.split(":")[1].split(",")[0] for line in capfd.readouterr().err.splitlines())
    assert lines == [" a", " b"], "one line a chapter"
    assert "papermill" not in json.dumps(nbformat.read(executed / "a.ipynb", 4).metadata)
    assert str(tmp_path / "out") not in (executed / "a.ipynb").read_text()


def test_a_failing_cell_fails_the_build_and_the_last_good_one_stays(book: Path, tmp_path: Path) -> None:
    good = write_notebook(book / "a.ipynb", "#!scale = 2", "print('good')")
    executed = execute_chapters([good], {}, tmp_path / "out")
    bad = write_notebook(
        book / "b.ipynb",
        "#!scale = 2",
        "print('so far')",
        "\n# a comment first\nvalue = 1 / 0",
        "print('never')",
    )
    write_notebook(book / "a.ipynb", "#!scale = 2", "print('new')")
    with pytest.raises(BookError) as raised:
        execute_chapters([good, bad], {}, tmp_path / "out")
    kept = tmp_path / "out" / "failed" / "b.ipynb"
    assert str(raised.value) == (
        "b stopped at the cell that begins with `# a comment first`: ZeroDivisionError: division by zero\n"
        f"The notebook as far as it ran: {kept}"
    )
    assert raised.value.exit_code == 1
    assert "so far" in kept.read_text()
    assert texts(executed / "a.ipynb") == ["good\n"]
    assert not (executed / "b.ipynb").exists()
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".execute-")] == []

    write_notebook(book / "b.ipynb", "#!scale = 2", "print('mended')")
    execute_chapters([good, bad], {}, tmp_path / "out")
    assert texts(executed / "a.ipynb") == ["new\n"]
    assert texts(executed / "b.ipynb") == ["mended\n"]
    assert not kept.exists()


def test_a_mistake_of_the_user_is_one_line(book: Path, tmp_path: Path) -> None:
    opening = (
        "from hsisr_core.errors import HsisrError\n\nraise HsisrError('scale=7: expected one of 2, 3, 4.')"
    )
    bad = write_notebook(book / "a.ipynb", "#!scale = 2", opening)
    with pytest.raises(BookError, match=r"HsisrError: scale=7: expected one of 2, 3, 4\.\nThe notebook"):
        execute_chapters([bad], {}, tmp_path / "out")


def test_a_kernel_that_dies_is_named(book: Path, tmp_path: Path) -> None:
    bad = write_notebook(book / "a.ipynb", "#!scale = 2", "import os\n\nos.kill(os.getpid(), 9)")
    with pytest.raises(BookError, match=r"^a stopped outside its cells: .*DeadKernelError: Kernel died"):
        execute_chapters([bad], {}, tmp_path / "out")


def test_the_other_chapters_stop_when_one_fails(book: Path, tmp_path: Path) -> None:
    beat = (
        "import pathlib, time\n\nfor count in range(3000):\n    pathlib.Path('beat').write_text(str(count))"
    )
    beating = write_notebook(book / "a.ipynb", "#!scale = 2", f"{beat}\n    time.sleep(0.05)")
    wait = "import pathlib, time\n\nwhile not pathlib.Path('beat').exists():\n    time.sleep(0.1)\n1 / 0"
    failing = write_notebook(book / "b.ipynb", "#!scale = 2", wait)
    with pytest.raises(BookError, match=r"^b stopped"):
        execute_chapters([beating, failing], {}, tmp_path / "out", jobs=2)
    last = ""
    for _ in range(20):
        time.sleep(1)  # a kernel looks for its parent once a second
        before, last = last, (tmp_path / "beat").read_text()
        if last == before:
            return
    pytest.fail("the kernel of the other chapter is still at work")


@pytest.mark.parametrize(
    ("parameters", "jobs", "message"),
    [
        ({"sale": 3}, 2, "No chapter has a parameter 'sale'. Valid parameters: scale: int = 2."),
        ({"scale": "3"}, 2, "a: scale='3', expected int."),
        ({"scale": 3}, 0, "jobs=0: expected at least 1."),
    ],
)
def test_nothing_runs_with_wrong_parameters(
    book: Path, tmp_path: Path, parameters: dict[str, Any], jobs: int, message: str
) -> None:
    chapter = write_notebook(book / "a.ipynb", "#!scale = 2", "open('ran', 'w')")
    with pytest.raises(HsisrError) as raised:
        execute_chapters([chapter], parameters, tmp_path / "out", jobs)
    assert str(raised.value).startswith(message)
    assert not isinstance(raised.value, BookError)
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "out").exists()


def test_work_folder_is_for_one_build_at_a_time(tmp_path: Path) -> None:
    left = tmp_path / "out" / ".execute-killed"
    left.mkdir(parents=True)
    with work_folder(tmp_path / "out", "execute") as (folder, work):
        assert folder == tmp_path / "out"
        assert list(work.iterdir()) == []
        assert not left.exists()
    assert not work.exists()
    with (
        FileLock(tmp_path / "out" / ".execute.lock"),
        pytest.raises(HsisrError, match="Another build is at work in"),
        work_folder(tmp_path / "out", "execute"),
    ):
        pytest.fail("two builds at once")


def test_work_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = f"Cannot write to {tmp_path / 'file' / 'out'}: "
    with pytest.raises(HsisrError, match=message), work_folder(tmp_path / "file" / "out", "execute"):
        pytest.fail("written")
    assert (tmp_path / "file").stat().st_size == 0
