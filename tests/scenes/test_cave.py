from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hsisr_core.data import read_scene
from hsisr_core.errors import HsisrError

CaveFolder = Callable[..., Path]
Counts = Callable[..., NDArray[np.uint16]]


def refused(folder: Path, *parts: str) -> None:
    """Check that reading is refused with one sentence that names each of `parts`."""
    with pytest.raises(HsisrError) as caught:
        read_scene(folder)
    for part in parts:
        assert part in str(caught.value)


def test_values_are_the_pngs_divided_by_65535(cave_folder: CaveFolder, cave_counts: Counts) -> None:
    scene = read_scene(cave_folder(seed=3))
    expected = cave_counts(seed=3).astype(np.float32) / np.float32(65535)
    assert scene.name == "toy"
    assert scene.cube.dtype == np.float32
    assert np.array_equal(scene.cube, expected)
    assert scene.divisor == 65535
    assert np.array_equal(scene.wavelengths, np.arange(400, 701, 10))
    assert "65535" in scene.source


def test_a_dark_scene_is_not_stretched(tmp_path: Path) -> None:
    folder = tmp_path / "dark_ms"
    folder.mkdir()
    for band in range(1, 32):
        Image.fromarray(np.full((4, 4), 100 + band, np.uint16)).save(folder / f"dark_ms_{band:02d}.png")
    assert read_scene(folder).cube[30, 0, 0] == np.float32(131 / 65535)


def test_stray_files_are_ignored(cave_folder: CaveFolder) -> None:
    folder = cave_folder()
    Image.fromarray(np.zeros((12, 9, 3), np.uint8)).save(folder / "toy_RGB.bmp")
    Image.fromarray(np.zeros((12, 9, 3), np.uint8)).save(folder / "toy_RGB.png")
    for name in ("Thumbs.db", "._toy_ms_01.png", "._toy_ms_32.png", ".hidden_01.png", "README.txt"):
        (folder / name).write_bytes(b"stray")
    (folder / "toy_ms_40.png").mkdir()
    assert read_scene(folder).bands == 31


def test_a_nested_folder_is_found(cave_folder: CaveFolder, tmp_path: Path) -> None:
    cave_folder("toy_ms", parent=tmp_path / "toy_ms")
    cave_folder("__MACOSX", parent=tmp_path / "toy_ms", bands=2)
    scene = read_scene(tmp_path / "toy_ms")
    assert (scene.name, scene.bands) == ("toy", 31)


def test_the_current_folder_has_its_real_name(
    cave_folder: CaveFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(cave_folder("pompoms_ms"))
    assert read_scene(".").name == "pompoms"


def test_bands_are_ordered_by_number_not_by_name(cave_folder: CaveFolder, cave_counts: Counts) -> None:
    folder = cave_folder()
    for band in range(1, 10):
        (folder / f"toy_ms_{band:02d}.png").rename(folder / f"toy_ms_{band}.png")
    assert np.array_equal(np.rint(read_scene(folder).cube * 65535), cave_counts())


def test_chosen_bands_take_their_wavelengths_with_them(cave_folder: CaveFolder) -> None:
    folder = cave_folder()
    scene = read_scene(folder, bands=[0, 7, 30])
    assert np.array_equal(scene.wavelengths, [400, 470, 700])
    assert np.array_equal(scene.cube, read_scene(folder).cube[[0, 7, 30]])
    assert "3 of 31 bands" in scene.source


def test_a_folder_of_scenes_is_no_scene(cave_folder: CaveFolder, tmp_path: Path) -> None:
    cave_folder("b_ms", parent=tmp_path / "both")
    refused(tmp_path / "both", "both holds no band PNGs", "scenes in it: b_ms")
    cave_folder("a_ms", parent=tmp_path / "both")
    refused(tmp_path / "both", "scenes in it: a_ms, b_ms")


def test_missing_and_extra_bands_are_named(cave_folder: CaveFolder) -> None:
    folder = cave_folder(bands=33)
    (folder / "toy_ms_07.png").unlink()
    (folder / "toy_ms_19.png").unlink()
    refused(folder, "toy_ms", "missing: 7, 19", "extra: 32, 33", "1 to 31")


def test_a_missing_band_is_refused_even_if_it_was_not_chosen(cave_folder: CaveFolder) -> None:
    folder = cave_folder()
    (folder / "toy_ms_31.png").unlink()
    with pytest.raises(HsisrError, match="missing: 31"):
        read_scene(folder, bands=[0, 1])


def test_a_band_that_is_there_twice_is_refused(cave_folder: CaveFolder) -> None:
    folder = cave_folder()
    shutil.copy(folder / "toy_ms_05.png", folder / "toy_ms_5.png")
    refused(folder, "one PNG each; missing: none; extra: 5")


def test_bands_of_two_scenes_are_refused(cave_folder: CaveFolder) -> None:
    folder = cave_folder()
    (folder / "toy_ms_05.png").rename(folder / "other_ms_05.png")
    refused(folder, "other_ms", "toy_ms", "one scene per folder")


def test_a_folder_without_bands_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "no band PNGs", "X_01.png")


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("L", "L"),
        ("1", "1"),
        ("RGB", "RGB"),
        ("RGBA", "RGBA"),
        ("LA", "LA"),
        ("P", "P"),
    ],
)
def test_other_kinds_of_png_are_refused(cave_folder: CaveFolder, mode: str, kind: str) -> None:
    folder = cave_folder()
    Image.fromarray(np.arange(108, dtype=np.uint8).reshape(12, 9)).convert(mode).save(
        folder / "toy_ms_08.png"
    )
    refused(folder, "toy_ms_08.png", f"of the kind {kind};", "16-bit gray")


def test_a_16_bit_rgb_png_is_refused_though_pillow_reads_it(cave_folder: CaveFolder) -> None:
    folder = cave_folder()
    png = bytearray((folder / "toy_ms_08.png").read_bytes())
    png[25] = 2  # colour type in the header
    png[29:33] = zlib.crc32(png[12:29]).to_bytes(4, "big")
    (folder / "toy_ms_08.png").write_bytes(png)
    refused(folder, "toy_ms_08.png", "of the kind RGB;")


def test_bands_of_different_size_are_refused(cave_folder: CaveFolder) -> None:
    folder = cave_folder()
    Image.fromarray(np.ones((12, 10), np.uint16)).save(folder / "toy_ms_20.png")
    refused(folder, "toy_ms", "12x9, 12x10 pixels; expected one size")


def test_a_png_truncated_anywhere_is_refused(cave_folder: CaveFolder) -> None:
    folder = cave_folder()
    file = folder / "toy_ms_31.png"
    whole = file.read_bytes()
    for length in [*range(0, 60, 3), len(whole) // 2, *range(len(whole) - 20, len(whole))]:
        file.write_bytes(whole[:length])
        refused(folder, "toy_ms_31.png", "truncated")


def test_a_damaged_png_is_refused(cave_folder: CaveFolder) -> None:
    folder = cave_folder()
    file = folder / "toy_ms_31.png"
    png = bytearray(file.read_bytes())
    png[100] ^= 0xFF
    file.write_bytes(png)
    refused(folder, "toy_ms_31.png", "cannot be read as a PNG", "damaged")


def test_a_scene_below_four_pixels_a_side_is_refused(cave_folder: CaveFolder) -> None:
    refused(cave_folder("thin_ms", height=3, width=40), "thin_ms is 3x40 pixels", "at least 4")
    assert read_scene(cave_folder("small_ms", height=4, width=4)).height == 4


def test_an_all_zero_scene_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "black_ms"
    folder.mkdir()
    for band in range(1, 32):
        Image.fromarray(np.zeros((4, 4), np.uint16)).save(folder / f"black_ms_{band:02d}.png")
    refused(folder, "black_ms", "zero")


def test_a_given_divisor_gets_through_and_what_is_beyond_is_clipped(cave_folder: CaveFolder) -> None:
    folder = cave_folder()
    whole = read_scene(folder).cube.astype(np.float64) * 65535
    scene = read_scene(folder, divisor=4095)
    assert scene.cube == pytest.approx(np.minimum(whole / 4095, 1.1), abs=1e-6)
    assert f"{(whole > 1.1 * 4095).sum()} values" in scene.source


def test_a_key_means_nothing_for_a_folder(cave_folder: CaveFolder) -> None:
    with pytest.raises(HsisrError, match=r"--key and --band-axis are for \.mat"):
        read_scene(cave_folder(), key="ref")


def test_the_real_scene_is_read_past_its_stray_files(hsisr_data: Path) -> None:
    folder = hsisr_data / "cave_sample" / "stuffed_toys_ms"
    scene = read_scene(folder)
    assert scene.name == "stuffed_toys"
    assert scene.cube.shape == (31, 512, 512)
    with Image.open(folder / "stuffed_toys_ms_17.png") as image:
        assert np.array_equal(scene.cube[16], np.asarray(image).astype(np.float32) / np.float32(65535))
    assert scene.wavelengths[16] == 560
