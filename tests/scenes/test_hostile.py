"""Damaged and hostile files end in one error: no traceback, no hang, no other file read."""

from __future__ import annotations

import os
import signal
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile
from PIL import Image

from hsisr_core.errors import HsisrError
from hsisr_core.scenes import is_scene_file, open_scene, read_scene

COUNTS = np.random.default_rng(3).integers(100, 6000, (6, 20, 24), dtype=np.uint16)


def test_a_text_on_which_libhdf5_loops_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["cube"] = COUNTS
        file["cube"].attrs["wavelength_units"] = "nanometers"
    data = bytearray(path.read_bytes())
    # a free piece of no bytes in the heap of the texts, which libhdf5 does not get past
    heap = data.index(b"GCOL")
    data[heap + 16 : heap + 32] = bytes(16)
    path.write_bytes(data)
    with pytest.raises(HsisrError, match="a text in it cannot be read"):
        open_scene(path)


def test_an_attribute_of_another_type_or_name_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["cube"] = COUNTS
        numbers = np.empty(1, object)
        numbers[0] = np.array([1, 2])
        file["cube"].attrs.create("wavelength_units", numbers, dtype=h5py.vlen_dtype(int))
        file["cube"].attrs["divisor"] = h5py.Empty("f")
        file["cube"].attrs["wavelengths"] = np.arange(6.0) + 400
        scalar = h5py.h5s.create(h5py.h5s.SCALAR)
        h5py.h5a.create(file["cube"].id, "Größe".encode("latin-1"), h5py.h5t.NATIVE_INT32, scalar)
    assert open_scene(path).wavelengths.tolist() == [400, 401, 402, 403, 404, 405]


@pytest.mark.parametrize("said", ['{"divisor": {}}', '{"nodata": "none"}', '{"geotransform": "x"}'])
def test_what_is_said_of_an_array_must_be_numbers(tmp_path: Path, said: str) -> None:
    np.save(tmp_path / "a.npy", np.ones((8, 40, 40), np.float32))
    (tmp_path / "a.npy.json").write_text(said)
    with pytest.raises(HsisrError, match="expected numbers"):
        read_scene(tmp_path / "a.npy")


def test_a_broken_chain_of_pages_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    pages = [Image.fromarray(band) for band in COUNTS]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    with tifffile.TiffFile(path) as file:
        second = file.pages[1].offset
    data = bytearray(path.read_bytes())
    (entries,) = struct.unpack_from("<H", data, second)
    for there in (8, len(data) + 8):
        struct.pack_into("<I", data, second + 2 + 12 * entries, there)
        path.write_bytes(data)
        with pytest.raises(HsisrError, match="damaged"):
            open_scene(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [("bbl = {1, 1, a, 1, 1, 1}", "bbl is '{1, 1, a.*expected numbers"), ("rotation=1e400", "not finite")],
)
def test_lists_and_places_of_a_header_that_are_no_numbers_are_refused(
    tmp_path: Path, line: str, message: str
) -> None:
    place = f"map info = {{UTM, 1, 1, 500000, 5000000, 30, 30, 33, North, WGS-84, {line}}}"
    sizes = "ENVI\nsamples = 24\nlines = 20\nbands = 6\ndata type = 12\ninterleave = bsq\n"
    (tmp_path / "a.hdr").write_text(sizes + (place if "rotation" in line else line))
    COUNTS.tofile(tmp_path / "a.img")
    with pytest.raises(HsisrError, match=message):
        open_scene(tmp_path / "a.hdr")


GEO_KEYS = (34735, "H", 8, (1, 1, 0, 1, 3072, 0, 1, 32633), True)


@pytest.mark.parametrize(
    "tags",
    [
        # a code of a coordinate system and a kind of pixels in the types of other keys, a scale that is a text, and
        # metadata with a hole
        [(34735, "H", 8, (1, 1, 0, 1, 3072, 34736, 1, 0), True), (34736, "d", 1, (32633.0,), True)],
        [(34735, "H", 8, (1, 1, 0, 1, 1025, 34737, 3, 0), True), (34737, "s", 0, "abc|", True)],
        [(33550, "s", 0, "abcdef", True), (33922, "d", 6, (0.0, 0, 0, 5, 6, 0), True), GEO_KEYS],
        [(42112, "s", 0, b'<GDALMetadata><Item name="a">\0</Item></GDALMetadata>', True)],
    ],
)
def test_metadata_of_a_tiff_file_that_gdal_leaves_out_are_an_error(tmp_path: Path, tags: list[Any]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", COUNTS, photometric="minisblack", extratags=tags)
    with pytest.raises(HsisrError, match=r"truncated or damaged \(.*(Expected key|ignored|truncated)"):
        open_scene(tmp_path / "a.tif")


def test_what_gdal_says_in_another_encoding_is_not_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = '<GDALMetadata><Item name="a" \u00a8b>500</Item></GDALMetadata>'.encode("latin-1")
    tags = [(42112, "s", 0, text, True)]
    tifffile.imwrite(tmp_path / "a.tif", COUNTS, photometric="minisblack", extratags=tags)
    assert open_scene(tmp_path / "a.tif").shape == COUNTS.shape
    assert capfd.readouterr().err == ""


def test_a_structure_that_claims_more_elements_than_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"cube": COUNTS.transpose(1, 2, 0), "hsi": {"note": "x"}})
    sizes = struct.pack("<2i", 1, 1)
    data = path.read_bytes()
    place = data.index(sizes, data.index(b"hsi") - 24)
    path.write_bytes(data[:place] + struct.pack("<2i", 2**25 + 1, 1) + data[place + 8 :])
    assert open_scene(path).shape == COUNTS.shape


def test_an_element_in_a_structure_that_does_not_fit_or_is_unknown_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"cube": COUNTS.transpose(1, 2, 0), "hsi": {"note": "x"}})
    data = path.read_bytes()
    # the text x, a small element of UTF-8: of a type that crashes scipy, then of 4 GB, which scipy takes
    place = data.index(struct.pack("<2H", 16, 1) + b"x")
    for element in (struct.pack("<2H", 0, 1), struct.pack("<I", 1)):
        path.write_bytes(data[:place] + element + b"\xff" * 4 + data[place + 8 :])
        with pytest.raises(HsisrError, match=f"element at byte {place} "):
            open_scene(path)


def test_a_scene_larger_than_the_free_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "a.npy", COUNTS)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=4000))
    with pytest.raises(HsisrError, match=r"takes 1\.15e-05 GB of memory, and 4e-06 GB are free"):
        read_scene(tmp_path / "a.npy")


def test_a_pipe_among_scenes_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.h5")
    # ends the tests where it is opened: nobody writes
    signal.alarm(20)
    assert not is_scene_file(tmp_path / "a.h5")
    signal.alarm(0)
