"""The built pages in a real browser: nothing from other hosts, mathematics drawn, readable on any screen."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from chromium import LUMINANCE, served
from small_book import ROOT, write_notebook, write_project

from hsisr_core.book import book_pages, build_pages, execute_chapters

pytestmark = pytest.mark.slow

WIDE, NARROW = 1280, 400
MATHEMATICS = r"""# Mathematics and tables

The score is {eq}`eq:psnr`, with $\hat{X}\in\mathbb{R}^{B\times H\times W}$.

$$
\mathrm{PSNR} = 10\log_{10}\frac{L^2}{\frac{1}{BHW}\sum_{b,i,j}\left(\hat{X}_{b,i,j}-X_{b,i,j}\right)^2}
$$ (eq:psnr)

$$
\begin{aligned} \mathcal{L}_1 &= \frac1N\sum_n\lVert Y_n - X_n\rVert_1 \\
k(x) &= \begin{cases} \tfrac32|x|^3 - \tfrac52|x|^2 + 1 & |x|\le 1 \\ 0 & \text{otherwise}\end{cases}
\end{aligned}
$$

| method | scale | PSNR | SSIM | SAM | ours | difference | what it means for a reader of the book |
|---|---|---|---|---|---|---|---|
| bicubic | 2 | 40.33 | 0.98 | 2.7 | 39.1 | -1.2 | a note that takes a lot of room on a line |

A path that is long: `book/results/a-folder-with-a-very-long-name/and-another-one/that-does-not-end/metrics.json`.
"""
TABLE = """import pandas as pd

table = pd.DataFrame({f"a column {i}": [i / 7, "text"] for i in range(20)})
table"""
STYLED = "table.style.set_caption('A table with a style')"
FIGURE = """import matplotlib.pyplot as plt

plt.figure(figsize=(16, 4))
plt.plot([1, 2, 3]);"""
LONG_LINE = (
    "a_name = 'a line of code that is wider than a narrow screen, and its output too ' * 3\nprint(a_name)"
)


@dataclass
class Book:
    """A built book, by file and over http, and the browser."""

    folder: Path
    address: str
    browser: Any
    pages: list[str] = field(default_factory=list)

    def url(self, scheme: str, page: str) -> str:
        return f"{self.address}/{page}" if scheme == "http" else (self.folder / page).as_uri()


def small_pages(folder: Path) -> Path:
    """Pages with one of everything, made with the project's own configuration."""
    book = write_project(folder, "index", "mathematics")
    (book / "index.md").write_text("# A small book\n\nIt has [one chapter](mathematics.ipynb).\n")
    cells = ("#!scale = 2", TABLE, STYLED, FIGURE, LONG_LINE)
    chapter = write_notebook(book / "mathematics.ipynb", MATHEMATICS, *cells)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return build_pages(execute_chapters([chapter], {}), strict=True).parent


def project_pages(folder: Path) -> Path:
    """The project's own book from nothing, trained for seconds; Sphinx's warnings are errors."""
    command = [sys.executable, "-m", "hsisr_core", "book", "--preset", "tests/tiny.yaml", "--strict"]
    environment = os.environ | {"HSISR_RUNS": str(folder / "runs"), "HSISR_CACHE": str(folder / "cache")}
    done = subprocess.run(
        [*command, "--out", str(folder / "out")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert str(folder / "out" / "html" / "index.html") in done.stdout
    return folder / "out" / "html"


@pytest.fixture(scope="module", params=[small_pages, project_pages], ids=["small", "project"])
def book(
    browser: Any, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Book]:
    folder = request.param(tmp_path_factory.mktemp("book"))
    made = [path.name for path in folder.glob("*.html") if path.stem not in ("genindex", "search")]
    with served(folder) as address:
        yield Book(folder, address, browser, sorted(made))


def visit(book: Book, url: str, width: int = WIDE, theme: str = "light") -> tuple[Any, list[str]]:
    """Open a page and wait for its mathematics; returns it and everything that goes wrong on it."""
    context = book.browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    page, wrong = context.new_page(), list[str]()

    def note(what: str, happened: bool = True) -> None:
        if happened:
            wrong.append(what)

    own = ("file://", "data:", "blob:", book.address)
    page.on("request", lambda asked: note(f"asked {asked.url}", not asked.url.startswith(own)))
    page.on("requestfailed", lambda failed: note(f"failed {failed.url}"))
    page.on("response", lambda got: note(f"{got.status} {got.url}", got.status >= 400))
    page.on("pageerror", lambda error: note(f"error {error}"))
    page.on("console", lambda said: note(f"console {said.text}", said.type in ("error", "warning")))
    page.goto(url, wait_until="load")
    page.evaluate("document.querySelector('.math') ? MathJax.startup.promise.then(() => 0) : 0")
    return page, wrong


# what each page is asked once it is open, at these widths; a page is loaded once for all of it
VIEWS = [("http", "light", (1300, 1920)), ("file", "dark", (NARROW,))]


@pytest.mark.parametrize(("scheme", "theme", "widths"), VIEWS, ids=["http-light", "file-dark"])
def test_pages_are_whole_and_readable(book: Book, scheme: str, theme: str, widths: tuple[int, ...]) -> None:
    assert "index.html" in book.pages
    drawn = 0
    for name in book.pages:
        page, wrong = visit(book, book.url(scheme, name), widths[0], theme)
        # a reader scrolls; pictures below the fold load then
        page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        page.wait_for_load_state("networkidle")
        assert wrong == [], f"{name} asks another host, or has errors"
        assert page.evaluate("[...document.images].filter(i => !(i.complete && i.naturalWidth)).length") == 0
        drawn += check_mathematics(page, name)
        check_theme(page, name, theme)
        for width in widths:
            page.set_viewport_size({"width": width, "height": 900})
            check_widths(page, f"{name} at {width} pixels", "mathematics.html" in book.pages)
        page.context.close()
    assert drawn >= 3


def check_mathematics(page: Any, name: str) -> int:
    """All of it is drawn; returns how much there is."""
    sizes = page.evaluate(
        """[...document.querySelectorAll('.math')].map(math => {
             const box = math.querySelector('mjx-container')?.getBoundingClientRect();
             return [math.textContent.slice(0, 60), box?.width ?? 0, box?.height ?? 0]; })"""
    )
    assert [text for text, width, height in sizes if width < 3 or height < 5] == [], name
    wrong = "mjx-merror, [data-mml-node=merror], mjx-container mtext[style*=red], mjx-mtext[style*=red]"
    assert page.locator(wrong).count() == 0, f"{name}: an equation with an unknown command"
    return len(sizes)


# Elements of the article that reach beyond it, unless they lie in what a reader can scroll: tables, code, the explorer.
WIDER = """[...document.querySelectorAll('.bd-article *')].filter(part => {
  const edge = document.querySelector('.bd-article').getBoundingClientRect().right + 1;
  return part.getBoundingClientRect().right > edge && !part.closest(
    '.pst-scrollable-table-container, .cell_output, pre, .math, .hsisr-explorer'); })
  .map(part => part.outerHTML.slice(0, 80))"""
# Equations, code and tables that must be scrolled to be read.
SCROLLED = """[...document.querySelectorAll('.bd-article :is(div.math, pre, .pst-scrollable-table-container)')]
  .filter(part => part.scrollWidth > part.clientWidth + 1 && getComputedStyle(part).overflowX !== 'visible')
  .map(part => part.innerText.slice(0, 80))"""


def check_widths(page: Any, name: str, is_small: bool) -> None:
    """The page does not scroll sideways, nothing leaves the article, and on a wide screen nothing of it is cut."""
    for part in ("html", "body", ".bd-article-container", ".bd-article"):
        inner, outer = page.evaluate(
            f"(e => [e.scrollWidth, e.clientWidth])(document.querySelector('{part}'))"
        )
        assert inner <= outer, f"{name}: {part} is {inner} pixels wide on a screen of {outer}"
    assert page.evaluate(WIDER) == [], name
    if page.viewport_size["width"] > NARROW and not is_small:
        assert page.evaluate(SCROLLED) == [], name


TEXTS = ".bd-article :is(p, h1, h2, td, th, caption, pre), .bd-sidebar-primary a"


def check_theme(page: Any, name: str, theme: str) -> None:
    """Text stands out from what is behind it, in the theme of the system."""
    ((_, ground),) = page.evaluate(LUMINANCE, "body")
    assert ground < 0.05 if theme == "dark" else ground > 0.9
    for text, behind in page.evaluate(LUMINANCE, TEXTS):
        contrast = (max(text, behind) + 0.05) / (min(text, behind) + 0.05)
        assert contrast >= 4.5, f"{name}: text {text:.2f} on {behind:.2f}"  # WCAG AA
        assert behind < 0.2 if theme == "dark" else behind > 0.5, f"{name}: a patch of the other theme"
    filters = page.evaluate(
        "[...document.querySelectorAll('.bd-article img:not(.drawing)')].map(i => getComputedStyle(i).filter)"
    )
    assert set(filters) <= {"none"}, "the theme changes the colours of pictures"


def test_labelled_equations_are_numbered_and_linked(book: Book) -> None:
    if "mathematics.html" not in book.pages:
        pytest.skip("the page with the known label is in the small book")
    page, _ = visit(book, book.url("file", "mathematics.html"))
    assert page.locator("#equation-eq-psnr .eqno").inner_text().startswith("(1.1)")
    assert page.locator("a[href='#equation-eq-psnr']").first.inner_text() == "(1.1)"
    page.context.close()


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_search_box_stands_once_and_finds(book: Book, scheme: str) -> None:
    for width in (NARROW, WIDE):
        page, _ = visit(book, book.url(scheme, "index.html"), width)
        visible = page.locator(".search-button__button:visible, .search-button-field:visible").count()
        assert visible == 1, f"{visible} search boxes at {width} pixels"
        page.context.close()
    page, _ = visit(book, book.url(scheme, "index.html"))
    word = max(re.findall(r"[A-Za-z]+", page.locator(".bd-article h1").inner_text()), key=len)
    page.context.close()
    page, wrong = visit(book, book.url(scheme, "search.html") + f"?q={word}")
    page.locator("#search-results li a[href^='index.html']").first.wait_for(timeout=10_000)
    assert wrong == []
    page.context.close()


def test_theme_button_works(book: Book) -> None:
    page, _ = visit(book, book.url("file", "index.html"))
    seen = {page.evaluate("document.documentElement.dataset.theme")}
    for _ in range(3):
        page.locator(".theme-switch-button:visible").first.click()
        seen.add(page.evaluate("document.documentElement.dataset.theme"))
    assert seen == {"light", "dark"}
    page.context.close()


class Addresses(HTMLParser):
    """Every address in a page: what it loads, and what it links to."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values["id"]} if "id" in values else set()
        self.loads += [values["src"]] if "src" in values else []
        if "href" in values:
            (self.links if tag == "a" else self.loads).append(values["href"])


def test_every_address_in_the_pages_is_there(book: Book) -> None:
    pages = {}
    for path in book.folder.glob("*.html"):
        pages[path.name] = Addresses()
        pages[path.name].feed(path.read_text())
    broken = []
    for name, found in pages.items():
        broken += [f"{name} loads {url}" for url in found.loads if re.match(r"(https?:)?//", url)]
        for url in (*found.loads, *found.links):
            parts = urlsplit(url)
            if parts.scheme:
                continue
            target = unquote(parts.path) or name
            if not (book.folder / target).is_file():
                broken.append(f"{name} points to {url}")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                broken.append(f"{name} points to {url}, where nothing has that name")
    assert broken == []


def test_every_page_of_the_project_is_built(book: Book, request: pytest.FixtureRequest) -> None:
    if "mathematics.html" in book.pages:
        pytest.skip("of the project's own book")
    assert {f"{page.stem}.html" for page in book_pages()} <= set(book.pages)
    notebooks = {page.name for page in book_pages() if page.suffix == ".ipynb"}
    assert notebooks <= {path.name for path in (book.folder / "_sources").iterdir()}, (
        "the download button's files"
    )
