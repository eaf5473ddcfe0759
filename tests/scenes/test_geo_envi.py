from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import spectral

from hsisr_core.data import read_scene
from hsisr_core.errors import HsisrError

CUBE = np.random.default_rng(4).integers(1, 5000, (6, 5, 4), dtype=np.int16)  # height x width x bands
NM = ["450.5", "550.0", "650.0", "850.0"]
MAP = ["UTM", "1", "1", "500000", "4600000", "2.5", "3", "33", "North", "WGS-84"]


def save(folder: Path, array: np.ndarray = CUBE, interleave: str = "bsq", **entries: object) -> Path:
    """Write an ENVI file with the package spectral; return its header."""
    header = folder / "scene.hdr"
    spectral.io.envi.save_image(
        str(header),
        array,
        interleave=interleave,
        ext=".raw",
        force=True,
        dtype=array.dtype,
        metadata={name.replace("_", " "): value for name, value in entries.items()},
    )
    return header


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
@pytest.mark.parametrize("byteorder", [0, 1])
def test_all_interleaves_and_byte_orders_give_the_same_cube(
    tmp_path: Path, interleave: str, byteorder: int
) -> None:
    header = tmp_path / "scene.hdr"
    spectral.io.envi.save_image(
        str(header), CUBE, interleave=interleave, ext=".raw", byteorder=byteorder, dtype=np.int16
    )
    scene = read_scene(header)
    assert np.array_equal(scene.cube, (np.moveaxis(CUBE, 2, 0) / CUBE.max()).astype(np.float32))
    assert f"ENVI file, {interleave}, int16, divided by {CUBE.max()} (the maximum" in scene.source
    assert scene.name == "scene"
    assert not scene.wavelengths_known


@pytest.mark.parametrize("name", ["scene.raw", "scene.img", "scene", "scene.BSQ"])
def test_either_file_of_the_two_can_be_given(tmp_path: Path, name: str) -> None:
    header = save(tmp_path)
    (tmp_path / "scene.raw").rename(tmp_path / name)
    whole = read_scene(header)
    assert np.array_equal(read_scene(tmp_path / name).cube, whole.cube)


def test_a_header_may_also_be_named_after_the_whole_file(tmp_path: Path) -> None:
    save(tmp_path).rename(tmp_path / "scene.raw.hdr")
    assert read_scene(tmp_path / "scene.raw").bands == 4
    assert read_scene(tmp_path / "scene.raw.hdr").bands == 4


def test_wavelengths_scale_factor_and_place_come_from_the_header(tmp_path: Path) -> None:
    scene = read_scene(
        save(
            tmp_path,
            wavelength=NM,
            wavelength_units="Nanometers",
            reflectance_scale_factor=10000,
            map_info=MAP,
        )
    )
    assert np.array_equal(scene.wavelengths, [450.5, 550, 650, 850])
    assert scene.divisor == 10000
    assert "declared in the file" in scene.source
    assert scene.georeference is not None
    assert scene.georeference.transform == (500000, 2.5, 0, 4600000, 0, -3)
    assert scene.georeference.crs == "EPSG:32633"


def test_the_reference_pixel_is_counted_from_one_at_its_corner(tmp_path: Path) -> None:
    info = ["UTM", "2", "3", *MAP[3:]]
    found = read_scene(save(tmp_path, map_info=info)).georeference
    assert found is not None
    assert found.transform == (499997.5, 2.5, 0, 4600006, 0, -3)


@pytest.mark.parametrize(
    ("units", "values", "first"),
    [
        ("Micrometers", ["0.45", "0.55", "0.65", "0.85"], 450),
        ("Unknown", ["0.45", "0.55", "0.65", "0.85"], 450),
        ("Unknown", NM, 450.5),
        ("Wavenumber", NM, np.nan),
        ("Nanometers", ["450", "550", "x", "850"], np.nan),
        ("Nanometers", NM[:3], np.nan),
    ],
)
def test_wavelengths_in_nm_or_none(tmp_path: Path, units: str, values: list[str], first: float) -> None:
    scene = read_scene(save(tmp_path, wavelength=values, wavelength_units=units))
    assert scene.wavelengths[0] == pytest.approx(first, nan_ok=True)


def test_bands_stay_in_the_order_of_the_file_and_are_counted_so(tmp_path: Path) -> None:
    header = save(tmp_path, wavelength=["450", "650", "550", "550"], wavelength_units="nm")
    scene = read_scene(header)
    assert scene.wavelengths.tolist() == [450, 650, 550, 550]
    assert np.array_equal(scene.cube, (np.moveaxis(CUBE, 2, 0) / CUBE.max()).astype(np.float32))
    assert "wavelengths do not increase, the bands are in the file's order" in scene.source
    some = read_scene(header, bands=[1, 2])
    assert np.array_equal(some.cube, scene.cube[1:3])
    assert read_scene(header, wavelengths=[1, 2, 3, 4]).wavelengths.tolist() == [1, 2, 3, 4]


def test_pixels_without_data_are_zero_and_masked(tmp_path: Path) -> None:
    array = CUBE.copy()
    array[1, 2, :] = -9999
    array[3, 3, 1] = -9999
    scene = read_scene(save(tmp_path, array, data_ignore_value=-9999, bbl=[1, 0, 0, 1]))
    assert scene.mask is not None
    assert np.argwhere(~scene.mask).tolist() == [[1, 2], [3, 3]]
    assert scene.cube[1, 3, 3] == 0
    assert scene.cube[0, 3, 3] > 0
    assert scene.cube.min() == 0
    assert "2 bands marked bad (kept)" in scene.source
    assert read_scene(save(tmp_path, data_ignore_value=-9999)).mask is None


def test_doubles_are_rounded_once_and_masked_too(tmp_path: Path) -> None:
    array = np.random.default_rng(1).random((6, 5, 4)) * 0.3 + 1 / 3
    array[0, 0, 2] = -1
    scene = read_scene(save(tmp_path, array, data_ignore_value=-1), divisor=0.7)
    expected = np.where(array < 0, 0, array) / 0.7
    assert np.array_equal(scene.cube, np.moveaxis(expected, 2, 0).astype(np.float32))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ENVI\n", "HDR\n", r"scene\.hdr is not an ENVI header"),
        ("bands = 4", "bands = four", r"bands is 'four'.*expected whole numbers"),
        ("lines = 6", "rows = 6", r"lines is 'missing'"),
        ("lines = 6", "lines = -6", r"lines is '-6'.*of at least 1"),
        ("lines = 6", "lines = 0", "lines is '0'.*of at least 1"),
        ("lines = 6", "lines = 3", "is 3x5 pixels; expected at least 4"),
        ("lines = 6", "lines = 7", r"scene\.raw has 240 bytes; scene\.hdr says 280"),
        ("data type = 2", "data type = 6", "data type is '6'.*a type of 1, 2"),
        ("interleave = bsq", "interleave = tiled", "interleave is 'tiled'"),
        ("header offset = 0", "header offset = 1", "says 241"),
        (
            "header offset = 0",
            "data ignore value = none",
            "data ignore value is 'none'; expected numbers",
        ),
        (
            "header offset = 0",
            "map info = {UTM, a, 1, 1, 1, 1, 1}",
            r"map info is \['a', '1'.*expected numbers",
        ),
    ],
)
def test_wrong_headers_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    header = save(tmp_path)
    text = header.read_text()
    assert old in text
    header.write_text(text.replace(old, new))
    with pytest.raises(HsisrError, match=message):
        read_scene(header)


def test_a_header_alone_is_refused(tmp_path: Path) -> None:
    header = save(tmp_path)
    (tmp_path / "scene.raw").unlink()
    with pytest.raises(HsisrError, match=r"no file of values beside it; expected one of scene, scene\.raw"):
        read_scene(header)
    header.write_bytes(b"\xff\xfe\x00" * 50)
    (tmp_path / "scene.raw").touch()
    with pytest.raises(HsisrError, match="is not an ENVI header"):
        read_scene(header)
