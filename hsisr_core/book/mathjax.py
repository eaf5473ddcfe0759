"""Sphinx extension: MathJax, from the package `sphinx-mathjax-offline`, comes with the pages, not from another host."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

SCRIPT = "tex-chtml.js"
#: What it loads on demand, 1.7 of the 24 MB: fonts and TeX packages.
FOLDERS = ("output/chtml/fonts/woff-v2", "input/tex/extensions")
BINDER = {"notebook_interface": "jupyterlab", "binderhub_url": "https://mybinder.org"}


def copy_mathjax(app: Sphinx, exception: Exception | None) -> None:
    """Put the MathJax files beside the page's other static files, once the pages are written."""
    if exception is not None:
        return
    distribution = importlib.metadata.distribution("sphinx-mathjax-offline")
    (script,) = (file for file in distribution.files or () if file.name == SCRIPT)
    source = Path(str(distribution.locate_file(script))).parent
    target = Path(app.outdir) / "_static" / "mathjax"
    for folder in FOLDERS:
        shutil.copytree(source / folder, target / folder, dirs_exist_ok=True)
    shutil.copy2(source / SCRIPT, target)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.setup_extension("sphinx.ext.mathjax")
    app.config["mathjax_path"] = f"mathjax/{SCRIPT}"
    app.connect("build-finished", copy_mathjax)
    # A fork has another address, so `_config.yml` cannot hold it; without it the theme refuses launch buttons.
    if address := os.environ.get("HSISR_REPOSITORY"):
        options = {"repository_url": address, "use_repository_button": True, "launch_buttons": BINDER}
        app.config["html_theme_options"] |= options
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
