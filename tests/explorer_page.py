"""An open page with an explorer, as the tests see and use it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from small_explorer import HEIGHT, WIDTH


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
