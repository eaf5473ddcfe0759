"""A web server on the loopback that serves files well or badly, and tiny archives in the layouts of the datasets."""

from __future__ import annotations

import io
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import numpy as np
import scipy.io
from PIL import Image


@dataclass
class Page:
    """What is served at one path, and how badly.

    Attributes
    ----------
    data
        The bytes of the file.
    drop
        How many bytes of each of the first answers are sent before the connection breaks.
    status
        Answers with these codes come first.
    silent
        Whether nothing follows half of the file, for a second.
    length
        What Content-Length says beyond the truth.
    ranges
        Whether ranges are served.
    headers
        More of them.
    asked
        The Range of each request, for the test.
    """

    data: bytes = b""
    drop: list[int] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    silent: bool = False
    length: int = 0
    ranges: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[str | None] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    pages: dict[str, Page]

    def do_GET(self) -> None:
        self.close_connection = True
        page = self.pages.get(self.path)
        if page is None:
            self.send_error(404, "Not Found")
            return
        wanted = self.headers.get("Range")
        page.asked.append(wanted)
        if page.status:
            self.send_error(page.status.pop(0))
            return
        headers = dict(page.headers)
        start = 0
        if wanted and page.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            headers["Content-Range"] = f"bytes {start}-{len(page.data) - 1}/{len(page.data)}"
        headers["Content-Length"] = str(len(page.data) - start + page.length)
        self.send_response(206 if start else 200)
        for name, value in (headers | {"Connection": "close"}).items():
            self.send_header(name, value)
        self.end_headers()
        body = page.data[start : start + page.drop.pop(0) if page.drop else None]
        # the client may have gone away
        with suppress(OSError):
            if page.silent:
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                time.sleep(1)
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(pages: dict[str, Page]) -> Iterator[str]:
    """Serve `pages` (path: page); yield the address of the server, without a slash at its end."""
    handler = type("Handler", (_Handler,), {"pages": pages})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def counts(seed: int, shape: tuple[int, int, int] = (31, 8, 8)) -> np.ndarray:
    """Integers (bands, height, width) for a scene."""
    return np.random.default_rng(seed).integers(1, 65536, shape, dtype=np.uint16)


def cave_zip(names: tuple[str, ...] = ("balloons", "cloth")) -> bytes:
    """An archive as CAVE's: X_ms/X_ms/ with 31 PNGs, a BMP, sometimes Thumbs.db, and colourful watercolors."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for seed, name in enumerate((*names, "watercolors")):
            inner = f"{name}_ms/{name}_ms/"
            archive.writestr(f"{name}_ms/", b"")
            for band, image in enumerate(counts(seed), start=1):
                coloured = name == "watercolors"
                pixels = np.repeat((image >> 8).astype(np.uint8)[..., None], 4, 2) if coloured else image
                archive.writestr(f"{inner}{name}_ms_{band:02d}.png", _image(pixels, "PNG"))
            archive.writestr(
                f"{inner}{name}_RGB.bmp", _image((counts(seed)[:3] >> 8).astype(np.uint8).T, "BMP")
            )
            archive.writestr(f"{inner}Thumbs.db", b"\xd0\xcf\x11\xe0 not a scene")
    return buffer.getvalue()


def harvard_tgz(folder: str = "CZ_hsdb", names: tuple[str, ...] = ("imga1", "imgb2")) -> bytes:
    """An archive as Harvard's: v5 .mat files with ref and lbl, and calib.txt beside them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        _add(archive, f"{folder}/calib.txt", b"0.1 " * 31)
        for name in names:
            saved = io.BytesIO()
            scipy.io.savemat(saved, harvard_arrays(name), do_compression=True)
            _add(archive, f"{folder}/{name}.mat", saved.getvalue())
    return buffer.getvalue()


def harvard_arrays(name: str) -> dict[str, np.ndarray]:
    """The variables of one of Harvard's files."""
    rng = np.random.default_rng([ord(letter) for letter in name])
    label = np.ones((10, 9), np.uint8)
    label[2:4, 5] = 0
    return {"ref": rng.random((10, 9, 31)) * 0.03, "lbl": label}


def foster_zip(name: str, folder: Path) -> bytes:
    """An archive as Foster's of 2015: one v7.3 .mat file with hsi, (bands, width, height) in HDF5."""
    path = folder / "made.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        item = file.create_dataset("hsi", data=foster_array(name).T, chunks=(4, 5, 6), compression="gzip")
        item.attrs["MATLAB_class"] = np.bytes_("double")
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    data = path.read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"hsi_{name.lower()}.mat", header + data[len(header) :])
    path.unlink()
    return buffer.getvalue()


def foster_array(name: str) -> np.ndarray:
    """The radiances (height, width, bands) of one of Foster's scenes."""
    return np.random.default_rng([ord(letter) for letter in name]).random((11, 9, 33)) * 0.7


def _image(pixels: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, kind)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    item = tarfile.TarInfo(name)
    item.size = len(data)
    archive.addfile(item, io.BytesIO(data))
