"""Fixtures shared by the tests: the real scenes, and a tiny CAVE-like folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import CHROMIUM, FLAGS
from numpy.typing import NDArray
from PIL import Image


@pytest.fixture(scope="session")
def hsisr_data() -> Path:
    """Folder of the real scenes, which are not part of the project."""
    value = os.environ.get("HSISR_DATA", "")
    if not value:
        pytest.skip("HSISR_DATA is not set: it names a folder with cave_sample/ and other/, the real scenes")
    folder = Path(value).absolute()
    if not (folder / "cave_sample").is_dir():
        pytest.skip(f"HSISR_DATA is {folder}, which has no folder cave_sample/")
    return folder


def _counts(bands: int = 31, height: int = 12, width: int = 9, seed: int = 0) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(0, 65536, (bands, height, width), dtype=np.uint16)


@pytest.fixture
def cave_counts() -> Callable[..., NDArray[np.uint16]]:
    """`cave_counts(bands=31, height=12, width=9, seed=0)`: the integers that `cave_folder` writes."""
    return _counts


@pytest.fixture
def cave_folder(tmp_path: Path) -> Callable[..., Path]:
    """`cave_folder(name="toy_ms", height=12, width=9, bands=31, seed=0, parent=None)`: write a scene.

    A CAVE-like folder of 16-bit gray PNGs, `name` in `parent` or the test's own folder; returns its path.
    """

    def write(
        name: str = "toy_ms",
        height: int = 12,
        width: int = 9,
        bands: int = 31,
        seed: int = 0,
        parent: Path | None = None,
    ) -> Path:
        folder = (parent or tmp_path) / name
        folder.mkdir(parents=True)
        for band, image in enumerate(_counts(bands, height, width, seed), start=1):
            Image.fromarray(image).save(folder / f"{folder.name}_{band:02d}.png")
        return folder

    return write


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder of its own: a book without splits, an empty cache, and the current folder in it."""
    root = tmp_path / "project"
    (root / "book" / "splits").mkdir(parents=True)
    (root / "book" / "_toc.yml").write_text("format: jb-book\nroot: index\n")
    monkeypatch.chdir(root)
    monkeypatch.delenv("HSISR_RUNS", raising=False)
    monkeypatch.setenv("HSISR_CACHE", str(tmp_path / "cache"))
    return root


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium, for the tests of one file."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        message = "chromium is not installed (Debian and Ubuntu: apt install chromium), nor named by CHROMIUM"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
