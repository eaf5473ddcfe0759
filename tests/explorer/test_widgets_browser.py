"""The explorer in a real browser, on a page without a kernel; test_widgets_jupyterlab.py has the live one."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from chromium import LUMINANCE, served
from explorer_page import Page
from numpy.typing import NDArray
from small_book import TEST_PATH, write_notebook, write_project
from small_explorer import HEIGHT, NM, WIDTH, scene, small_explorer

from hsisr_core.book import build_pages, execute_chapters
from hsisr_core.explorer import SpectralExplorer
from hsisr_core.metrics import rmse, sam

pytestmark = pytest.mark.slow

TEXTS = (
    "button:enabled, select, output, th, td, .hsx-note, .hsx-unit, .hsx-striptext, .hsx-status, .hsx-values"
)


def grey(cube: NDArray[Any], band: int, stretch: str = "percentile", gamma: float = 1) -> NDArray[np.uint8]:
    """What a view of `band` must look like, from the 16-bit integers."""
    counts = explorer_counts()
    low, high = np.percentile(counts["HR"][band], (2, 98) if stretch == "percentile" else (0, 100))
    level = np.clip((cube[band].astype(float) - low) / (high - low), 0, 1) ** (1 / gamma)
    return np.repeat(np.floor(255 * level + 0.5).astype(np.uint8)[..., None], 3, axis=2)


@functools.cache
def explorer_counts() -> dict[str, NDArray[np.uint16]]:
    return {name: cube.counts for name, cube in small_explorer().cubes.cubes.items()}


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
        return own.left < all.left || own.right > all.right || own.top < all.top || own.bottom > all.bottom;
        }).length"""
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


def test_nan_is_shown_as_no_data(browser: Any, tmp_path: Path) -> None:
    cubes = scene()
    cubes["HR"][:, :6] = cubes["A"][:, 2:4, 20:] = np.nan
    explorer = SpectralExplorer.from_cubes(
        cubes, NM, reference="HR", pixels=[[0, 0], [0, 0, 12, 12]], mode="error"
    )
    (tmp_path / "nan.html").write_text(
        f'<!doctype html><meta charset="utf-8">{explorer.html()}', encoding="utf-8"
    )
    opened = Page(browser, (tmp_path / "nan.html").as_uri())
    alpha = """() => [...document.querySelectorAll('.hsx-image')].map(c =>
        c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter((_, i) => i % 4 == 3 && !_).length)"""
    opened.page.evaluate(alpha)
    missing = np.isnan(cubes["HR"][0]).sum()
    assert opened.page.evaluate(alpha) == [missing] * 4
    opened.set(mode="band")
    assert opened.page.evaluate(alpha) == [0, 24, 0, missing]
    assert "HR no data" in opened.page.locator(".hsx-values").first.inner_text()
    inner = scene()["HR"][3, 6:12, :12]
    assert opened.values(1)["HR"] == pytest.approx(inner.mean(), abs=1e-3)
    opened.page.mouse.move(*opened.spot(1, 1))
    opened.settle()
    assert "HR no data" in opened.page.locator(".hsx-status").inner_text()
    assert [text for text in opened.wrong if "favicon" not in text] == []
    opened.close()


def test_a_notebook_exported_by_nbconvert_is_live_without_a_network(browser: Any, tmp_path: Path) -> None:
    write_notebook(tmp_path / "mine.ipynb", "from small_explorer import small_explorer\nsmall_explorer()")
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--execute", str(tmp_path / "mine.ipynb")]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": TEST_PATH}, capture_output=True)
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto((tmp_path / "mine.html").as_uri())
    page.locator(".hsx").wait_for()
    assert page.locator(".hsx-stage").count() == 4
    context.close()


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
