"""The explorer live: a JupyterLab of the test's own, its kernel, and a reader in a browser."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from small_book import TEST_PATH, write_notebook
from small_explorer import HEIGHT, WIDTH

pytestmark = pytest.mark.slow


@contextmanager
def jupyterlab(folder: Path) -> Iterator[str]:
    """A JupyterLab of its own in `folder`; gives the address of a notebook there, to be completed by its name."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {
        "ServerApp.port": port,
        "ServerApp.open_browser": False,
        "ServerApp.root_dir": folder,
        "IdentityProvider.token": "secret",
        "LabApp.expose_app_in_browser": True,
        "LabApp.news_url": "",
    }
    own = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    environment = os.environ | {name: str(folder / "jupyter") for name in own} | {"PYTHONPATH": TEST_PATH}
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--allow-root",
        *(f"--{k}={v}" for k, v in options.items()),
    ]
    with (folder / "lab.log").open("wb") as log:
        lab = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait(lambda: f"127.0.0.1:{port}/lab?token" in (folder / "lab.log").read_text(), "JupyterLab to start")
        yield f"http://127.0.0.1:{port}/lab/tree/%s?token=secret"
    finally:
        lab.terminate()
        lab.wait(20)


def wait(until: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := until()):
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.1)
    return found


LAB_CELLS = (
    """from pathlib import Path
import ipywidgets
from small_explorer import small_explorer
shown = small_explorer(band=1)
seen = Path("seen.txt")
shown.observe(lambda change: seen.write_text(f"{shown.band} {shown.pixels}"), ["band", "pixels"])
slider = ipywidgets.IntSlider(description="linked", max=6)
link = ipywidgets.jslink((slider, "value"), (shown, "band"))
display(slider, shown)""",
    "shown.band, shown.pixels, shown.mode = 5, [[2, 3], [4, 4, 8, 8]], 'error'",
)


def test_in_jupyterlab_kernel_and_view_follow_each_other(browser: Any, tmp_path: Path) -> None:
    write_notebook(tmp_path / "live.ipynb", *LAB_CELLS)
    seen = tmp_path / "seen.txt"
    with jupyterlab(tmp_path) as address:
        context = browser.new_context(viewport={"width": 1280, "height": 1400})
        page = context.new_page()
        page.goto(address % "live.ipynb")
        page.locator(".jp-Notebook .jp-CodeCell").nth(1).wait_for(timeout=60_000)
        kernel = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status"
        wait(lambda: page.evaluate(kernel) == "idle", "a kernel")
        run = "command => window.jupyterapp.commands.execute('notebook:' + command)"
        page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 0; }")
        page.evaluate(run, "run-cell")
        page.locator("[data-live] .hsx").wait_for(timeout=30_000)
        wait(lambda: page.locator(".hsx").count() == 1, "the page without a kernel to go")

        page.locator(".hsx").get_by_label("Band", exact=True).fill("3")
        wait(lambda: seen.is_file() and seen.read_text() == "3 [[12, 16]]", "the kernel to see the band")
        wait(lambda: page.locator(".widget-readout").inner_text() == "3", "the linked slider to follow")
        stage = page.locator(".hsx-stage").nth(1)
        box = stage.bounding_box()
        stage.click(position={"x": 7.5 * box["width"] / WIDTH, "y": 20.5 * box["height"] / HEIGHT})
        wait(lambda: seen.read_text() == "3 [[12, 16], [20, 7]]", "the kernel to see the pixel")
        page.keyboard.press("ArrowDown")
        wait(lambda: seen.read_text() == "3 [[12, 16], [21, 7]]", "an arrow key to reach the explorer")

        page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1; }")
        page.evaluate(run, "run-cell")
        page.locator(".hsx-panel[data-place='[2,3]']").wait_for()
        wait(lambda: page.locator(".hsx-bandtext").inner_text().startswith("Band 6 of 7"), "the band")
        wait(lambda: page.locator(".hsx-image[data-mode=error]").count() == 3, "the mode")
        assert page.locator(".hsx-panel").count() == 2
        context.close()
