from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from hsisr_core.data import read_scene
from hsisr_core.errors import HsisrError

CUBE = np.random.default_rng(6).integers(0, 4000, (5, 6, 7), dtype=np.uint16)  # bands x height x width
EXPECTED = (CUBE / CUBE.max()).astype(np.float32)
EPSG_32633 = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633)


def save(path: Path, array: np.ndarray = CUBE, **options: Any) -> Path:
    tifffile.imwrite(path, array, photometric="minisblack", **options)
    return path


def metadata(*items: str) -> list[tuple[Any, ...]]:
    text = f"<GDALMetadata>{''.join(items)}</GDALMetadata>"
    return [(42112, "s", 0, text, True)]


def placed(*, area: bool = True) -> list[tuple[Any, ...]]:
    keys = EPSG_32633 if area else (*EPSG_32633[:11], 2, *EPSG_32633[12:])
    return [
        (33550, "d", 3, (10.0, 20.0, 0.0), True),
        (33922, "d", 6, (0.0, 0.0, 0.0, 500000.0, 4600000.0, 0.0), True),
        (34735, "H", len(keys), keys, True),
    ]


@pytest.mark.parametrize(
    ("options", "kind"),
    [({"planarconfig": "separate"}, "samples"), ({}, "pages"), ({"planarconfig": "contig"}, "samples")],
)
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_bands_as_samples_and_as_pages(
    tmp_path: Path, options: dict[str, Any], kind: str, compression: str | None, byteorder: str
) -> None:
    array = np.moveaxis(CUBE, 0, 2) if options == {"planarconfig": "contig"} else CUBE
    path = save(tmp_path / "a.tif", array, compression=compression, byteorder=byteorder, **options)
    scene = read_scene(path)
    assert np.array_equal(scene.cube, EXPECTED)
    assert f"TIFF file, uint16, bands as {kind}, divided by {CUBE.max()}" in scene.source
    assert scene.georeference is None
    assert scene.mask is None


def test_tiles_predictor_and_floats(tmp_path: Path) -> None:
    array = np.random.default_rng(2).random((3, 40, 50), dtype=np.float32)
    path = save(tmp_path / "a.tiff", array, tile=(16, 16), compression="zlib", planarconfig="separate")
    assert np.array_equal(read_scene(path).cube, array)
    path = save(tmp_path / "b.tif", compression="zlib", predictor=True, planarconfig="separate")
    assert np.array_equal(read_scene(path).cube, EXPECTED)


@pytest.mark.parametrize("name", ["wavelength", "WAVELENGTH"])
def test_wavelengths_come_from_gdals_metadata(tmp_path: Path, name: str) -> None:
    items = [f'<Item name="{name}" sample="{band}">{500 + 20 * band}</Item>' for band in range(5)]
    scene = read_scene(save(tmp_path / "a.tif", planarconfig="separate", extratags=metadata(*items)))
    assert np.array_equal(scene.wavelengths, [500, 520, 540, 560, 580])


def test_wavelengths_in_micrometres(tmp_path: Path) -> None:
    items = [
        f'<Item name="CENTRAL_WAVELENGTH_UM" sample="{b}" role="x">{0.5 + b / 50}</Item>' for b in range(5)
    ]
    path = save(tmp_path / "a.tif", planarconfig="separate", extratags=metadata(*items))
    assert read_scene(path).wavelengths == pytest.approx([500, 520, 540, 560, 580])
    items = [
        f'<Item name="wavelength" sample="{b}">{0.5 + b / 50}</Item>'
        f'<Item name="wavelength_units" sample="{b}">Micrometers</Item>'
        for b in range(5)
    ]
    path = save(tmp_path / "b.tif", planarconfig="separate", extratags=metadata(*items))
    assert read_scene(path).wavelengths == pytest.approx([500, 520, 540, 560, 580])


@pytest.mark.parametrize(
    "text",
    [
        '<Item name="wavelength" sample="0">500</Item>',
        '<Item name="wavelength" sample="9">500</Item>',
        '<Item name="wavelength" sample="0">blue</Item>',
        "<Item",
    ],
)
def test_incomplete_metadata_leave_the_wavelengths_unknown(tmp_path: Path, text: str) -> None:
    path = save(tmp_path / "a.tif", planarconfig="separate", extratags=metadata(text))
    assert not read_scene(path).wavelengths_known


def test_a_document_type_is_not_expanded(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><GDALMetadata>&b;</GDALMetadata>'
    path = save(tmp_path / "a.tif", planarconfig="separate", extratags=[(42112, "s", 0, bomb, True)])
    assert not read_scene(path).wavelengths_known


@pytest.mark.parametrize(("area", "corner"), [(True, (500000.0, 4600000.0)), (False, (499995.0, 4600010.0))])
def test_the_place_is_that_of_the_corner_of_the_first_pixel(
    tmp_path: Path, area: bool, corner: tuple[float, float]
) -> None:
    scene = read_scene(save(tmp_path / "a.tif", planarconfig="separate", extratags=placed(area=area)))
    assert scene.georeference is not None
    assert scene.georeference.transform == (corner[0], 10, 0, corner[1], 0, -20)
    assert scene.georeference.crs == "EPSG:32633"
    assert "GeoTIFF" in scene.source


def test_pixels_without_data_are_masked(tmp_path: Path) -> None:
    array = CUBE.astype(np.int16)
    array[:, 2, 3] = -32768
    path = save(
        tmp_path / "a.tif", array, planarconfig="separate", extratags=[(42113, "s", 0, "-32768", True)]
    )
    scene = read_scene(path)
    assert scene.mask is not None
    assert np.argwhere(~scene.mask).tolist() == [[2, 3]]
    assert scene.cube[:, 2, 3].tolist() == [0] * 5


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_deflate"])
def test_compressed_pages_of_another_library_are_read(tmp_path: Path, compression: str) -> None:
    images = [Image.fromarray(band) for band in CUBE]
    path = tmp_path / "a.tif"
    images[0].save(path, save_all=True, append_images=images[1:], compression=compression)
    assert np.array_equal(read_scene(path).cube, EXPECTED)


def test_other_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HsisrError, match=r"uint16 values in 1 bands; .*several"):
        read_scene(save(tmp_path / "a.tif", CUBE[0]))
    with pytest.raises(HsisrError, match="complex64 values"):
        read_scene(save(tmp_path / "a.tif", CUBE.astype(np.complex64)))
    with pytest.raises(HsisrError, match="is 3x7 pixels; expected at least 4"):
        read_scene(save(tmp_path / "a.tif", CUBE[:, :3], planarconfig="separate"))
    (tmp_path / "a.tif").write_bytes(b"not a TIFF")
    with pytest.raises(HsisrError, match="cannot be read as a TIFF file"):
        read_scene(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_truncated_file_is_refused(tmp_path: Path, compression: str | None) -> None:
    array = np.random.default_rng(2).random((3, 40, 50))
    data = save(tmp_path / "a.tif", array, compression=compression, planarconfig="separate").read_bytes()
    path = tmp_path / "cut.tif"
    for length in [*range(0, len(data), len(data) // 20), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(HsisrError, match=r"cut\.tif (is truncated|cannot be read)"):
            read_scene(path)
