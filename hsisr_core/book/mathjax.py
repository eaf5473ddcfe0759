"""Sphinx extension: the book's equations are drawn by MathJax served from the book's own folder.

Sphinx's default is a script on another host. The files come from the PyPI package
`sphinx-mathjax-offline`, used as a carrier only: of its 24 MB the pages need 1.7 MB.
"""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["MATHJAX_PARTS", "mathjax_folder", "setup"]

#: What is copied: the script, the fonts it draws with, and the TeX packages it loads on demand.
MATHJAX_PARTS = ("tex-chtml.js", "output/chtml/fonts/woff-v2", "input/tex/extensions")


def mathjax_folder() -> Path:
    """Folder of the installed MathJax files.

    Raises
    ------
    FileNotFoundError
        `sphinx-mathjax-offline` is installed without its files.
    """
    distribution = importlib.metadata.distribution("sphinx-mathjax-offline")
    for file in distribution.files or ():
        if file.name == MATHJAX_PARTS[0]:
            return Path(str(distribution.locate_file(file))).parent
    raise FileNotFoundError(f"sphinx-mathjax-offline holds no {MATHJAX_PARTS[0]}")


def copy_mathjax(app: Sphinx, exception: Exception | None) -> None:
    """Put the MathJax files beside the page's other static files, once the pages are written."""
    if exception is not None or app.builder.format != "html":
        return
    source, target = mathjax_folder(), Path(app.outdir) / "_static" / "mathjax"
    for part in MATHJAX_PARTS:
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, dirs_exist_ok=True)
        else:
            shutil.copy2(source / part, target / part)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.setup_extension("sphinx.ext.mathjax")
    app.config["mathjax_path"] = f"mathjax/{MATHJAX_PARTS[0]}"
    app.connect("build-finished", copy_mathjax)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
