"""The MathJax that the pages carry. That it draws is seen in test_pages_browser.py."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hsisr_core.book.mathjax import copy_mathjax, mathjax_folder

SCRIPT = "tex-chtml.js"


@pytest.fixture
def app(tmp_path: Path) -> Any:
    return SimpleNamespace(outdir=tmp_path, builder=SimpleNamespace(format="html"))


def test_the_installed_package_holds_mathjax_3() -> None:
    assert 'VERSION="3.' in (mathjax_folder() / SCRIPT).read_text()


def test_pages_get_the_script_its_fonts_and_its_extensions_only(app: Any, tmp_path: Path) -> None:
    copy_mathjax(app, None)
    copy_mathjax(app, None)  # the pages are built again
    folder = tmp_path / "_static" / "mathjax"
    files = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert SCRIPT in files
    assert "output/chtml/fonts/woff-v2/MathJax_Main-Regular.woff" in files
    assert "input/tex/extensions/cancel.js" in files  # loaded when a page uses \cancel
    assert sum(files.values()) < 2.5e6, "the whole package has 24 MB"
    assert {name.split("/")[0] for name in files} == {SCRIPT, "input", "output"}


def test_nothing_is_copied_after_an_error_or_for_other_formats(app: Any, tmp_path: Path) -> None:
    copy_mathjax(app, ValueError("the build failed"))
    app.builder.format = "latex"
    copy_mathjax(app, None)
    assert list(tmp_path.iterdir()) == []
