"""The explorer in a real browser: on a page without a kernel, and live in JupyterLab."""

from __future__ import annotations

import functools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from numpy.typing import NDArray
from small_book import ROOT, write_notebook, write_project
from small_explorer import HEIGHT, NM, WIDTH, scene, small_explorer
from test_pages_browser import CHROMIUM, FLAGS, LUMINANCE, QuietHandler

from hsisr_core.book import build_pages
from hsisr_core.execute import execute_chapters
from hsisr_core.explorer import SpectralExplorer
from hsisr_core.metrics import rmse, sam

sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.slow

TEST_PATH = os.pathsep.join([str(ROOT), str(ROOT / "tests")])  # for kernels
TEXTS = (
    "button:enabled, select, output, th, td, .hsx-note, .hsx-unit, .hsx-striptext, .hsx-status, .hsx-values"
)


class Page:
    """An open page with an explorer, and everything that went wrong on it."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.context = browser.new_context(**({"viewport": {"width": 900, "height": 1300}} | options))
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.page.on("requestfailed", lambda failed: self.wrong.append(f"failed {failed.url[:200]}"))
        self.page.on("pageerror", lambda error: self.wrong.append(f"error {error}"))
        self.page.on("console", lambda said: self.note(said.type, said.text))
        self.asked: list[str] = []
        self.page.on("request", lambda asked: self.asked.append(asked.url))
        self.page.goto(url)
        self.page.locator(".hsx").first.wait_for()
        self.settle()

    def note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.wrong.append(f"console {text}")

    def settle(self) -> None:
        """Wait until what has changed is drawn."""
        self.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def state(self, name: str) -> Any:
        return self.page.evaluate(
            f"document.querySelector('.hsisr-explorer').explorer.model.get({json.dumps(name)})"
        )

    def set(self, **state: Any) -> None:
        self.page.evaluate(
            "state => document.querySelector('.hsisr-explorer').explorer.set(state)",
            {name: json.loads(json.dumps(value)) for name, value in state.items()},
        )
        self.settle()

    def slide(self, label: str, value: float) -> None:
        self.page.get_by_label(label, exact=True).fill(str(value))
        self.settle()

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()
        self.settle()

    def key(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
        self.settle()

    def stage(self, index: int = 0) -> Any:
        return self.page.locator(".hsx-stage").nth(index)

    def spot(self, row: float, column: float, index: int = 0) -> tuple[float, float]:
        """Where the middle of a pixel of the unzoomed view stands on the screen."""
        box = self.stage(index).bounding_box()
        x, y = (column + 0.5) * box["width"] / WIDTH, (row + 0.5) * box["height"] / HEIGHT
        return box["x"] + x, box["y"] + y

    def click(self, row: int, column: int, index: int = 0) -> None:
        self.page.mouse.click(*self.spot(row, column, index))
        self.settle()

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.page.mouse.move(*start)
        self.page.mouse.down()
        self.page.mouse.move(*end, steps=4)
        self.page.mouse.up()
        self.settle()

    def pixels(self, index: int = 0) -> NDArray[np.uint8]:
        """The bytes (height, width, 3) of one view's canvas."""
        got = self.page.evaluate(
            """index => { const c = document.querySelectorAll('.hsx-image')[index];
                const image = c.getContext('2d').getImageData(0, 0, c.width, c.height);
                return [c.height, c.width, [...image.data]]; }""",
            index,
        )
        return np.array(got[2], np.uint8).reshape(got[0], got[1], 4)[..., :3]

    def values(self, panel: int = 0) -> dict[str, float]:
        """What stands below a panel's curves, by cube."""
        spans = self.page.locator(".hsx-panel").nth(panel).locator(".hsx-values span").all_inner_texts()
        return {text.split()[0]: float(text.split()[1]) for text in spans}

    def close(self) -> None:
        self.context.close()


def grey(cube: NDArray[Any], band: int, stretch: str = "percentile", gamma: float = 1) -> NDArray[np.uint8]:
    """What a view of `band` must look like, from the 16-bit integers."""
    counts = explorer_counts()
    low, high = np.percentile(counts["HR"][band], (2, 98) if stretch == "percentile" else (0, 100))
    level = np.clip((cube[band].astype(float) - low) / (high - low), 0, 1) ** (1 / gamma)
    return np.repeat(np.floor(255 * level + 0.5).astype(np.uint8)[..., None], 3, axis=2)


@functools.cache
def explorer_counts() -> dict[str, NDArray[np.uint16]]:
    return {name: cube.counts for name, cube in small_explorer().cubes.cubes.items()}


@contextmanager
def served(folder: Path) -> Iterator[str]:
    handler = functools.partial(QuietHandler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        message = "chromium is not installed (Debian and Ubuntu: apt install chromium), nor named by CHROMIUM"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    head = '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>An explorer</title>'
    page = small_explorer(band=0, pixels=[[3, 4]]).html()
    (folder / "one.html").write_text(head + page, encoding="utf-8")
    single = SpectralExplorer.from_cubes({"HR": scene()["HR"]}, NM).html()
    (folder / "two.html").write_text(head + page + single, encoding="utf-8")
    return folder


@pytest.fixture
def opened(browser: Any, folder: Path) -> Iterator[Page]:
    page = Page(browser, (folder / "one.html").as_uri())
    yield page
    assert page.wrong == []
    page.close()


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_slider_shows_the_right_band_and_a_click_the_right_spectrum(
    browser: Any, folder: Path, scheme: str
) -> None:
    with served(folder) as address:
        url = f"{address}/one.html" if scheme == "http" else (folder / "one.html").as_uri()
        page = Page(browser, url)
        for band in (0, 5, 6):
            page.slide("Band", band)
            for index, cube in enumerate(explorer_counts().values()):
                assert (page.pixels(index) == grey(cube, band)).all(), f"view {index} at band {band}"
        page.click(17, 9, index=2)
        assert page.state("pixels") == [[3, 4], [17, 9]]
        for panel, (row, column) in enumerate([(3, 4), (17, 9)]):
            for name, value in page.values(panel).items():
                values = scene()[name]
                ratio = HEIGHT // values.shape[1]
                assert value == pytest.approx(values[6, row // ratio, column // ratio], abs=6e-5)
        assert page.wrong == []
        assert [asked for asked in page.asked if not asked.startswith("data:")] == [url]
        page.close()


def test_false_colour_error_stretch_and_gamma(opened: Page) -> None:
    counts = explorer_counts()
    opened.press("False colour")
    opened.press("natural")
    red, green, blue = opened.state("channels")
    assert [NM[band] for band in (red, green, blue)] == [630, 550, 470]
    expected = np.stack([grey(counts["A"], band)[..., 0] for band in (red, green, blue)], axis=2)
    assert (opened.pixels(1) == expected).all()
    opened.slide("Green: band", 0)
    assert (opened.pixels(1)[..., 1] == grey(counts["A"], 0)[..., 0]).all()

    opened.press("Band")
    opened.page.get_by_label("Stretch from black to white").select_option("linear")
    opened.slide("Gamma", 2)
    assert np.abs(opened.pixels(2) - grey(counts["B"], 0, "linear", 2).astype(int)).max() <= 1

    opened.press("Error")
    opened.slide("Band", 4)
    errors = {name: np.abs(counts[name][4].astype(int) - counts["HR"][4]) for name in ("A", "B")}
    limit = np.percentile(np.stack(list(errors.values())), 99.5)
    colours = (mpl.colormaps["cividis"](np.arange(256), bytes=True))[:, :3]
    for index, error in enumerate(errors.values(), start=1):
        at = np.minimum(np.floor(255 * error / limit + 0.5).astype(int), 255)
        assert (opened.pixels(index) == colours[at]).all()
    assert opened.pixels(0).shape == (HEIGHT, WIDTH, 3), "the error of LR is seen at full resolution"
    assert (opened.pixels(3) == grey(counts["HR"], 4, "linear", 2)).mean() > 0.99, "the reference has none"
    bar = opened.page.locator("[data-bar=error]").inner_text().split()
    shown = limit * small_explorer().cubes.step
    assert float(bar[2]) == pytest.approx(shown, rel=0.01), "in real units"


def test_drag_gives_mean_and_spread_of_a_box(opened: Page) -> None:
    opened.set(pixels=[])
    assert opened.page.locator(".hsx-hint").is_visible()
    opened.drag(opened.spot(4, 6), opened.spot(9, 15))
    assert opened.state("pixels") == [[4, 6, 10, 16]]
    texts = opened.page.locator(".hsx-values span").all_inner_texts()
    box = scene()["A"][0, 4:10, 6:16]
    _, mean, _, spread = next(text.split() for text in texts if text.startswith("A "))
    assert (float(mean), float(spread)) == pytest.approx((box.mean(), box.std()), abs=6e-5)
    for _ in range(7):
        opened.click(1, 1)
    assert opened.state("pixels") == [[1, 1]] * 6, "six at most, the first ones go"


def test_scores_of_a_spectrum(opened: Page) -> None:
    cells = opened.page.locator(".hsx-scores tbody tr").all_inner_texts()
    assert [row.split()[0] for row in cells] == ["A", "B"]
    for row in cells:
        name, angle, error = row.split()
        own, truth = (scene()[cube][:, 3:4, 4:5] for cube in (name, "HR"))
        assert float(angle) == pytest.approx(sam(own, truth), abs=2e-3)
        assert float(error) == pytest.approx(rmse(own, truth), abs=2e-5)


def test_hover_reads_values_and_legend_toggles_curves(opened: Page) -> None:
    opened.page.mouse.move(*opened.spot(20, 30, index=3))
    status = opened.page.locator(".hsx-status").inner_text()
    assert status.startswith("row 20, column 30, 430 nm: LR ")
    assert f"HR {scene()['HR'][0, 20, 30]:.4f}" in status

    chart = opened.page.locator(".hsx-panel .hsx-chart")
    chart.hover(position={"x": chart.bounding_box()["width"] - 12, "y": 80})
    assert opened.page.locator(".hsx-values b").inner_text() == "670 nm"
    assert opened.values()["HR"] == pytest.approx(scene()["HR"][6, 3, 4], abs=6e-5)
    chart.click(position={"x": chart.bounding_box()["width"] - 12, "y": 80})
    opened.settle()
    assert opened.state("band") == 6

    legend = opened.page.locator(".hsx-legend").get_by_role("button", name="A", exact=True)
    assert opened.page.locator(".hsx-curve[data-cube=A]").count() == 2  # spectrum and PSNR
    legend.click()
    opened.settle()
    assert opened.page.locator(".hsx-curve[data-cube=A]").count() == 0
    assert (opened.state("hidden"), legend.get_attribute("aria-pressed")) == (["A"], "false")
    assert "A" not in opened.values()
    legend.click()
    opened.settle()
    assert opened.page.locator(".hsx-curve[data-cube=A]").count() == 2


def test_psnr_strip_says_and_sets_the_band(opened: Page) -> None:
    strip = opened.page.locator(".hsx-strip svg")
    scores = small_explorer().cubes.cubes["B"].psnr
    assert scores is not None
    assert f"B {scores[0]:.2f} dB" in opened.page.locator(".hsx-striptext").inner_text()
    box = strip.bounding_box()
    strip.click(position={"x": 8 + (box["width"] - 16) * 4 / 6, "y": 30})
    opened.settle()
    assert opened.state("band") == 4


def test_keyboard(opened: Page) -> None:
    opened.stage().focus()
    opened.key("ArrowRight", "ArrowDown", "Shift+ArrowDown", "PageUp", "PageUp", "PageDown")
    assert (opened.state("pixels"), opened.state("band")) == ([[14, 5]], 1)
    assert opened.page.locator(".hsx-status").inner_text().startswith("row 14, column 5, 470 nm")
    opened.key("Enter", "ArrowUp")
    assert opened.state("pixels") == [[14, 5], [13, 5]]
    opened.key("Delete", "+", "+")
    assert opened.state("pixels") == [[14, 5]]
    assert opened.state("view")[2] == pytest.approx(2.25)
    opened.key("-", "0")
    assert opened.state("view") == [HEIGHT / 2, WIDTH / 2, 1]
    opened.page.get_by_label("Band", exact=True).focus()
    opened.key("ArrowRight")
    assert opened.state("band") == 2


def test_zoom_and_pan_are_one_for_all_views(opened: Page) -> None:
    opened.page.mouse.move(*opened.spot(5, 7))
    opened.page.keyboard.down("Control")
    opened.page.mouse.wheel(0, -200)
    opened.page.keyboard.up("Control")
    opened.settle()
    zoom = opened.state("view")[2]
    assert zoom == pytest.approx(np.e, rel=1e-3)
    assert len({image.get_attribute("style") for image in opened.page.locator(".hsx-image").all()}) == 1
    opened.page.mouse.click(*opened.spot(5, 7))
    opened.settle()
    assert opened.state("pixels")[-1] == [5, 7], "zooming keeps the pixel under the pointer"
    opened.press("Pan")
    before = opened.state("view")
    opened.drag(opened.spot(12, 16), opened.spot(12, 10))
    row, column, _ = opened.state("view")
    assert row == pytest.approx(before[0])
    assert column - before[1] == pytest.approx(6 / zoom, rel=0.02)
    opened.press("Fit")
    assert opened.state("view") == [HEIGHT / 2, WIDTH / 2, 1]


def test_pinch_zooms(browser: Any, folder: Path) -> None:
    page = Page(browser, (folder / "one.html").as_uri(), has_touch=True, is_mobile=True)
    page.page.touchscreen.tap(*page.spot(10, 20))
    page.settle()
    assert page.state("pixels")[-1] == [10, 20]
    client = page.context.new_cdp_session(page.page)
    x, y = page.spot(12, 16)
    for kind, apart in (("touchStart", 20), ("touchMove", 30), ("touchMove", 40), ("touchEnd", 0)):
        points = [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}] if apart else []
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    page.settle()
    assert page.state("view")[2] == pytest.approx(2, rel=0.05)
    assert len(page.state("pixels")) == 2, "a pinch adds no pixel"
    assert page.wrong == []
    page.close()


def test_curtain_divides_two_views(opened: Page) -> None:
    opened.set(views=["A", "HR"])
    opened.press("Curtain")
    assert opened.page.locator(".hsx-stage").count() == 1
    clips = "[...document.querySelectorAll('.hsx-image')].map(c => c.style.clipPath)"
    assert opened.page.evaluate(clips) == ["inset(0px 50% 0px 0px)", "inset(0px 0px 0px 50%)"]
    handle = opened.page.get_by_role("slider", name="Curtain between the two views")
    x, y = opened.spot(5, 15.5)
    opened.drag((x, y), (opened.spot(5, 23.5)[0], y))
    assert opened.state("split") == pytest.approx(0.75, abs=0.01)
    assert handle.get_attribute("aria-valuenow") == "75"
    handle.focus()
    opened.key("Home")
    assert opened.state("split") == 0
    assert opened.page.evaluate(clips)[1] == "inset(0px 0px 0px 0%)"
    opened.press("Curtain")
    assert opened.page.locator(".hsx-stage").count() == 2


def test_magnifier_shows_the_same_pixel_in_every_view(opened: Page) -> None:
    opened.press("Magnifier")
    opened.page.mouse.move(*opened.spot(12, 20, index=3))
    middle = """[...document.querySelectorAll('.hsx-lens')].map(c => c.hidden ? null :
        c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data[0])"""
    seen = opened.page.evaluate(middle)
    for index, level in enumerate(seen):
        image = opened.pixels(index)
        ratio = HEIGHT // len(image)
        assert level == image[12 // ratio, 20 // ratio, 0]
    opened.press("Magnifier")
    assert opened.page.evaluate(middle) == [None] * 4


def test_views_are_added_changed_and_removed(opened: Page) -> None:
    opened.press("Add view")
    assert opened.state("views") == ["LR", "A", "B", "HR", "HR"]
    opened.page.get_by_label("View 5: cube").select_option("A")
    opened.settle()
    opened.page.get_by_label("View 5: mode").select_option("error")
    opened.settle()
    assert opened.state("views")[4] == "A:error"
    assert (opened.pixels(1) == grey(explorer_counts()["A"], 0)).all()
    for _ in range(4):
        opened.press("Remove view 1")
    assert opened.state("views") == ["A:error"]
    assert opened.page.get_by_role("button", name="Remove view 1").count() == 0


def test_numbers_of_places_stay_inside_the_view(opened: Page) -> None:
    corners = [[row, column] for row in (0, HEIGHT - 1) for column in (0, WIDTH - 1)]
    opened.set(pixels=corners)
    outside = """[...document.querySelectorAll('.hsx-marker span')].filter(span => {
        const [own, all] = [span.getBoundingClientRect(), span.closest('.hsx-stage').getBoundingClientRect()];
        return own.left < all.left || own.right > all.right || own.top < all.top || own.bottom > all.bottom; }).length"""
    assert opened.page.evaluate(outside) == 0


def test_two_explorers_on_one_page_are_apart(browser: Any, folder: Path) -> None:
    page = Page(browser, (folder / "two.html").as_uri())
    assert page.page.locator(".hsx").count() == 2
    page.page.get_by_label("Band", exact=True).nth(1).fill("5")
    page.settle()
    states = "[...document.querySelectorAll('.hsisr-explorer')].map(e => e.explorer.model.get('band'))"
    assert page.page.evaluate(states) == [0, 5]
    second = page.page.locator(".hsx").nth(1)
    assert second.get_by_role("button", name="Error").count() == 0, "no reference, no error"
    assert page.wrong == []
    page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 900])
def test_nothing_is_cut_off_and_all_is_readable(browser: Any, folder: Path, width: int, theme: str) -> None:
    viewport = {"width": width, "height": 900}
    page = Page(browser, (folder / "one.html").as_uri(), viewport=viewport, color_scheme=theme)
    page.set(views=["LR", "A", "B:error", "HR:colour"], pixels=[[3, 4], [5, 6, 9, 9]])
    assert page.page.evaluate("document.documentElement.scrollWidth") <= width
    cut = page.page.evaluate(
        """[...document.querySelectorAll('.hsx :is(button, select, span, th, td, div)')].filter(e =>
             e.checkVisibility() && !e.closest('.hsx-stage') && e.scrollWidth > e.clientWidth + 1 &&
             getComputedStyle(e).display !== 'inline').map(e => e.className + e.textContent.slice(0, 40))"""
    )
    assert cut == []
    texts = page.page.evaluate(
        """[...document.querySelectorAll('.hsx-chart text')].filter(t => {
             const [own, all] = [t.getBoundingClientRect(), t.ownerSVGElement.getBoundingClientRect()];
             return own.left < all.left - 1 || own.right > all.right + 1 || own.bottom > all.bottom + 1 ||
               own.top < all.top - 1; }).map(t => t.textContent)"""
    )
    assert texts == []
    for text, behind in page.page.evaluate(LUMINANCE, f".hsx :is({TEXTS})"):
        assert (max(text, behind) + 0.05) / (min(text, behind) + 0.05) >= 4.5  # WCAG AA
    ((_, ground),) = page.page.evaluate(LUMINANCE, ".hsx-note")
    assert ground < 0.05 if theme == "dark" else ground > 0.9
    nameless = page.page.evaluate(
        """[...document.querySelectorAll('.hsx :is(button, input, select, [tabindex], svg[role=img])')].filter(e =>
             !(e.getAttribute('aria-label') || e.textContent.trim())).length"""
    )
    assert nameless == 0
    page.close()


def test_in_a_built_book_it_works_without_a_kernel(browser: Any, tmp_path: Path) -> None:
    book = write_project(tmp_path, "index", "explore")
    (book / "index.md").write_text("# A small book\n")
    cells = ("#!preset = 'demo'", "from small_explorer import small_explorer", "small_explorer(band=2)")
    chapter = write_notebook(book / "explore.ipynb", "# Explore", *cells)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setenv("PYTHONPATH", TEST_PATH)
        html = build_pages(execute_chapters([chapter], {}), strict=True).parent
    for scheme, theme in (("http", "light"), ("file", "dark")):
        with served(html) as address:
            url = f"{address}/explore.html" if scheme == "http" else (html / "explore.html").as_uri()
            page = Page(browser, url, color_scheme=theme)
            assert page.page.locator(".hsx").count() == 1
            assert page.page.locator(".hsx").get_attribute("data-scheme") == theme
            grounds = page.page.evaluate(LUMINANCE, ".text_html:has(> .hsisr-explorer)")
            assert (grounds[0][1] < 0.1) == (theme == "dark"), "no frame of the other theme"
            page.slide("Band", 4)
            assert (page.pixels(3) == grey(explorer_counts()["HR"], 4)).all()
            page.click(17, 9, index=1)
            assert page.state("pixels")[-1] == [17, 9]
            assert page.wrong == []
            assert all(asked.startswith((address, "file:", "data:", "blob:")) for asked in page.asked)
            page.close()
    plain = browser.new_context(java_script_enabled=False).new_page()
    plain.goto((html / "explore.html").as_uri())
    assert plain.locator(".hsisr-explorer img").bounding_box()["width"] > 300, "without scripts, a picture"
    plain.context.close()


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
        page.locator(".hsx").wait_for(timeout=30_000)
        assert page.locator(".hsx").count() == 1

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
