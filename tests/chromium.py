"""How the tests find Chromium, and serve it a folder; the fixture `browser` is in conftest.py."""

from __future__ import annotations

import functools
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # what asks another host fails, and so is seen
]


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address at which `folder` is served over http, from this machine only."""
    handler = functools.partial(QuietHandler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


# Luminance (WCAG 2) of an element's text and of what lies behind it, half-transparent colours laid over each other.
LUMINANCE = """selector => [...document.querySelectorAll(selector)].map(element => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  let mixed = [0, 0, 0], left = 1;
  for (let at = element; at && left > 0; at = at.parentElement) {
    const [r, g, b, alpha = 1] = rgb(getComputedStyle(at).backgroundColor);
    mixed = mixed.map((v, i) => v + left * alpha * [r, g, b][i]);
    left *= 1 - alpha;
  }
  return [light(rgb(getComputedStyle(element).color)), light(mixed.map(v => v + left * 255))]; })"""
