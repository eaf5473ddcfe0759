"""What others write is read right, and what is written here is read again: values, wavelengths, no data, place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio
import scipy.io
import tifffile
from PIL import Image

from hsisr_core.data import read_scene
from hsisr_core.errors import HsisrError
from hsisr_core.scenes import Georeference, open_scene
from hsisr_core.upscale import upscale

RNG = np.random.default_rng(3)
COUNTS = RNG.integers(100, 6000, (6, 20, 24), dtype=np.int16)  # bands x height x width
NM = [402.0 + 10 * band for band in range(6)]
UTM = "map info = {UTM, 1, 1, 500000, 5000000, 30, 30, 33, North, WGS-84}"
WAVELENGTHS = "wavelength = {" + ", ".join(map(str, NM)) + "}"


def save_envi(folder: Path, *lines: str, array: np.ndarray = COUNTS, encoding: str = "utf-8") -> Path:
    bands, height, width = array.shape
    kind = {"int16": 2, "float32": 4}[array.dtype.name]
    sizes = (
        f"ENVI\nsamples = {width}\nlines = {height}\nbands = {bands}\ndata type = {kind}\ninterleave = bsq\n"
    )
    array.tofile(folder / "src.img")
    (folder / "src.hdr").write_bytes((sizes + "\n".join(lines) + "\n").encode(encoding))
    return folder / "src.hdr"


def save_tiff(path: Path, array: np.ndarray = COUNTS, **options: Any) -> Path:
    bands, height, width = array.shape
    profile = {"driver": "GTiff", "count": bands, "height": height, "width": width, "dtype": array.dtype}
    with rasterio.open(path, "w", **profile, **options) as file:
        file.write(array)
    return path


@pytest.mark.parametrize("suffix", [".hdr", ".tif", ".h5", ".mat", ".npy"])
def test_an_output_is_an_input(tmp_path: Path, suffix: str) -> None:
    array = COUNTS.copy()
    array[:, :3] = -9999
    bands = ["wavelength units = Nanometers", WAVELENGTHS, "fwhm = {1, 2, 3, 4, 5, 6}"]
    source = save_envi(
        tmp_path, "data ignore value = -9999", "reflectance scale factor = 10000", UTM, *bands, array=array
    )
    once, twice = tmp_path / f"once{suffix}", tmp_path / f"twice{suffix}"
    upscale(source, 2, "bicubic", once, bands=[0, 2, 5], check=False)
    upscale(once, 2, "bicubic", twice, check=False)
    for path, scale in ((once, 2), (twice, 4)):
        scene = read_scene(path)
        assert scene.wavelengths.tolist() == [NM[0], NM[2], NM[5]]
        assert scene.divisor == 10000
        assert scene.mask is not None
        assert np.array_equal(~scene.mask, np.arange(20 * scale)[:, None] + 0 * scene.mask < 3 * scale)
        assert scene.georeference is not None
        assert scene.georeference.transform == (500000, 30 / scale, 0, 5000000, 0, -30 / scale)
        assert scene.georeference.crs == "EPSG:32633"
        assert open_scene(path).entries["fwhm"] == "{1, 3, 6}"


def test_a_v5_file_makes_a_file_that_scipy_reads(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"hill": COUNTS.transpose(1, 2, 0), "wl": NM})
    upscale(tmp_path / "a.mat", 2, "bicubic", tmp_path / "b.mat", check=False, keep_type=True)
    found = scipy.io.loadmat(tmp_path / "b.mat")
    assert found["hill"].shape == (40, 48, 6)
    assert found["hill"].dtype == np.int16
    assert np.ravel(found["wavelengths"]).tolist() == NM
    scene = read_scene(tmp_path / "b.mat")
    assert scene.cube[1, 2, 3] * scene.divisor == pytest.approx(found["hill"][2, 3, 1], rel=1e-6)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize(
    ("units", "factor"),
    [("µm", 1e-3), ("Micrometre", 1e-3), ("nanometres", 1), ("Angstroms", 10), ("", 1e-3)],
)
def test_units_and_encodings_of_a_header(tmp_path: Path, encoding: str, units: str, factor: float) -> None:
    listed = ", ".join(f"{value * factor:.4f}" for value in NM)
    lines = ["description = {Überflug}", f"wavelength units = {units}", f"wavelength = {{{listed}}}"]
    assert read_scene(save_envi(tmp_path, *lines, encoding=encoding)).wavelengths == pytest.approx(NM)


@pytest.mark.parametrize(
    ("listed", "note"), [("1, 2, 3, 4, 5, 6", "numbers of the bands"), ("400, nan, 3, 4, 5, 6", "not positive"),
                         ("0, 0, 0, 0, 0, 0", "not positive"), ("400, 500", "2 for 6 bands")]
)  # fmt: skip
def test_lists_that_are_no_wavelengths_are_left_out_loudly(tmp_path: Path, listed: str, note: str) -> None:
    scene = read_scene(save_envi(tmp_path, f"wavelength = {{{listed}}}"))
    assert not scene.wavelengths_known
    assert "wavelengths left out" in scene.source
    assert note in scene.source


def test_of_several_files_beside_a_header_the_exact_size_wins(tmp_path: Path) -> None:
    header = save_envi(tmp_path, "byte order = 0")
    (tmp_path / "src").write_bytes(b"\0" * 7000)
    (tmp_path / "src.raw").write_bytes(b"\0" * 7)
    assert read_scene(header, divisor=10000).cube == pytest.approx(COUNTS / 10000, abs=1e-6)


@pytest.mark.parametrize(
    "crs", ["EPSG:4326", "EPSG:3035", "EPSG:25832", "EPSG:32733", "EPSG:2180", "EPSG:2056"]
)
@pytest.mark.parametrize("end", [".tif", ".hdr"])
def test_a_place_goes_from_geotiff_to_envi_and_back(tmp_path: Path, crs: str, end: str) -> None:
    place = rasterio.Affine(4, 3, 70, 3, -4, 40)
    save_tiff(tmp_path / "a.tif", crs=crs, transform=place)
    upscale(tmp_path / "a.tif", 2, "bicubic", tmp_path / "b.hdr", check=False)
    upscale(tmp_path / "b.hdr", 2, "bicubic", tmp_path / f"c{end}", check=False)
    found = read_scene(tmp_path / f"c{end}").georeference
    assert found is not None
    assert found.crs == crs
    assert found.transform == pytest.approx((70, 1, 0.75, 40, 0.75, -1))


def test_scale_and_offset_of_a_geotiff_are_kept(tmp_path: Path) -> None:
    path = save_tiff(tmp_path / "a.tif")
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = [0.0001] * 6, [-0.1] * 6
    assert read_scene(path).divisor == 10000
    upscale(path, 2, "bicubic", tmp_path / "b.tif", check=False)
    with rasterio.open(tmp_path / "b.tif") as file:
        assert (file.scales[5], file.offsets[5]) == (0.0001, -0.1)


def test_gains_go_from_envi_to_geotiff_and_back(tmp_path: Path) -> None:
    gains = ("data gain values = {.1, .2, .3, .4, .5, .6}", "data offset values = {1, 2, 3, 4, 5, 6}")
    source = save_envi(tmp_path, *gains, "reflectance scale factor = 0.0001")
    upscale(source, 2, "bicubic", tmp_path / "b.tif", bands=[1, 5], check=False)
    with rasterio.open(tmp_path / "b.tif") as file:
        assert (file.scales, file.offsets) == ((0.2, 0.6), (2, 6))
    upscale(tmp_path / "b.tif", 2, "bicubic", tmp_path / "c.hdr", check=False)
    scene = open_scene(tmp_path / "c.hdr")
    assert scene.divisor == 10000
    assert [float(word) for word in scene.entries["data gain values"].strip("{}").split(",")] == [0.2, 0.6]


@pytest.mark.parametrize("kind", ["inside", "beside", "alpha", "nan"])
def test_masks_are_no_data(tmp_path: Path, kind: str) -> None:
    measured = np.ones((20, 24), np.uint8) * 255
    measured[4:6, 7] = 0
    array = np.concatenate([COUNTS, measured[None]]) if kind == "alpha" else COUNTS
    if kind == "nan":
        array = np.where(measured, COUNTS, np.nan).astype(np.float32)
    path = save_tiff(tmp_path / "a.tif", array)
    if kind == "alpha":
        with rasterio.open(path, "r+") as file:
            file.colorinterp = [*file.colorinterp[:-1], rasterio.enums.ColorInterp.alpha]
    if kind in ("inside", "beside"):
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=kind == "inside"), rasterio.open(path, "r+") as file:
            file.write_mask(measured)
    scene = read_scene(path)
    assert scene.bands == 6
    assert scene.mask is not None
    assert np.argwhere(~scene.mask).tolist() == [[4, 7], [5, 7]]
    upscale(path, 2, "bicubic", tmp_path / "b.tif", check=False)
    again = read_scene(tmp_path / "b.tif").mask
    assert again is not None
    assert int((~again).sum()) == 8


def test_few_outliers_are_named_and_clipped(tmp_path: Path) -> None:
    array = RNG.uniform(0.02, 0.6, (6, 20, 24)).astype(np.float32)
    array[0, 0, 0], array[1, 1, 1] = -0.3, 2.4
    scene = read_scene(save_envi(tmp_path, "byte order = 0", array=array))
    assert scene.divisor == 1
    assert "2 values (0.069 %) beyond [-0.1, 1.1], from -0.3 to 2.4, are clipped" in scene.source
    assert (scene.cube.min(), scene.cube.max()) == (np.float32(-0.1), np.float32(1.1))


LAYOUTS: dict[str, tuple[str, tuple[int, int, int], dict[str, Any], dict[str, Any]]] = {
    "neon.h5": (
        "SERC/Reflectance/Reflectance_Data", (1, 2, 0), {"Data_Ignore_Value": -9999.0, "Scale_Factor": 10000.0},
        {
            "SERC/Reflectance/Metadata/Spectral_Data/Wavelength": NM,
            "SERC/Reflectance/Metadata/Coordinate_System/Map_Info":
                b"UTM,  1.000,  1.000,  368000.00,  4307000.00,  1.0,  1.0,  18,  North,  WGS-84,  units=Meters, 0",
        },
    ),
    "emit.nc": ("reflectance", (1, 2, 0), {"_FillValue": -9999}, {"sensor_band_parameters/wavelengths": NM}),
    "tanager.h5": ("HDFEOS/SWATHS/HYP/toa_radiance", (0, 1, 2), {"_FillValue": -9999, "wavelengths": NM}, {}),
    "prisma.he5": ("HDFEOS/SWATHS/VNIR_Cube", (1, 0, 2), {"_FillValue": -9999}, {"HDFEOS/SWIR_Cube": COUNTS}),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_that_people_download(tmp_path: Path, name: str) -> None:
    key, axes, attributes, more = LAYOUTS[name]
    array = COUNTS.copy()
    array[:, :2] = -9999
    with h5py.File(tmp_path / name, "w") as file:
        file[key] = array.transpose(axes)
        file[key].attrs.update(attributes)
        file.attrs["List_Cw_Vnir"] = NM[::-1] if name.startswith("prisma") else 0
        for other, values in more.items():
            file[other] = values
    scene = read_scene(tmp_path / name, key=key.rsplit("/", 1)[-1])
    assert scene.wavelengths.tolist() == (NM[::-1] if name.startswith("prisma") else NM)
    assert scene.divisor == (10000 if name.startswith("neon") else COUNTS[:, 2:].max())
    if name.startswith("neon"):
        assert scene.georeference == Georeference((368000, 1, 0, 4307000, 0, -1), "EPSG:32618")
    assert scene.mask is not None
    assert int((~scene.mask).sum()) == 2 * 24
    assert scene.cube[:, 2:] * scene.divisor == pytest.approx(COUNTS[:, 2:], rel=1e-5)


def test_a_mat_file_with_the_bands_first_is_doubted_and_read_by_its_axis(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"cube": COUNTS})
    with pytest.warns(UserWarning, match="--band-axis"):
        read_scene(tmp_path / "a.mat")
    scene = read_scene(tmp_path / "a.mat", band_axis=0)
    assert scene.cube * scene.divisor == pytest.approx(COUNTS, rel=1e-5)


@pytest.mark.parametrize("save", ["v5", "v7.3"])
def test_a_field_of_a_structure_is_a_cube(tmp_path: Path, save: str) -> None:
    path, cube = tmp_path / "a.mat", COUNTS.transpose(1, 2, 0)
    picture = np.zeros((20, 24, 3), np.uint8)
    if save == "v5":
        fields = {"Data": cube, "info": {"wavelength": NM}, "RGB": picture}
        scipy.io.savemat(path, {"hsi": fields, "names": np.array([["a", "b"]], object)})
    else:
        with h5py.File(path, "w") as file:
            for name, values in (("Data", cube), ("info/wavelength", np.array([NM])), ("RGB", picture)):
                file[f"hsi/{name}"] = values.T
                file[f"hsi/{name}"].attrs["MATLAB_class"] = np.bytes_(values.dtype.name)
            file["hsi/info/wavelength"].attrs["MATLAB_class"] = np.bytes_("double")
    for key in (None, "hsi.Data", "hsi/Data", "Data"):
        scene = read_scene(path, key=key)
        assert scene.cube * scene.divisor == pytest.approx(COUNTS, rel=1e-5)
        assert scene.wavelengths.tolist() == NM
    upscale(path, 2, "bicubic", tmp_path / "b.mat", check=False)
    assert "key 'Data'" in read_scene(tmp_path / "b.mat").source


def test_a_npz_is_read_by_its_key_and_with_its_wavelengths(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, cube=COUNTS.transpose(1, 2, 0), wl=NM)
    scene = read_scene(path)
    assert scene.cube * scene.divisor == pytest.approx(COUNTS, rel=1e-5)
    assert scene.wavelengths.tolist() == NM
    np.savez(path, cube=COUNTS, other=COUNTS)
    with pytest.raises(HsisrError, match=r"several 3-D arrays .*--key 'cube'"):
        read_scene(path)
    assert read_scene(path, key="other").bands == 6
    np.savez(path, cube=np.array([object()] * 8).reshape(2, 2, 2))
    with pytest.raises(HsisrError, match=r"cannot be read as a \.npz file"):
        read_scene(path)


@pytest.mark.parametrize("layout", ["BIL", "BIP", "BSQ"])
def test_an_esri_header_is_read(tmp_path: Path, layout: str) -> None:
    stored = COUNTS.transpose({"BIL": (1, 0, 2), "BIP": (1, 2, 0), "BSQ": (0, 1, 2)}[layout])
    values, header = tmp_path / f"a.{layout.lower()}", tmp_path / "a.hdr"
    stored.tofile(values)
    sizes = "NROWS 20\nNCOLS 24\nNBANDS 6\nNBITS 16\nPIXELTYPE SIGNEDINT\nBYTEORDER I\n"
    header.write_text(f"{sizes}LAYOUT {layout}\nULXMAP 500015\nULYMAP 4999985\nXDIM 30\nYDIM 30\n")
    for path in (values, header):
        scene = read_scene(path)
        assert scene.cube * scene.divisor == pytest.approx(COUNTS, rel=1e-5)
        assert scene.georeference is not None
        assert scene.georeference.transform == (500000, 30, 0, 5000000, 0, -30)
    values.write_bytes(values.read_bytes()[:-1])
    with pytest.raises(HsisrError, match=r"it claims 5\.76e-06 GB of values in 5759 bytes"):
        read_scene(header)


def test_a_folder_of_numbered_pngs_is_read_and_none_may_be_missing(tmp_path: Path) -> None:
    for band, values in enumerate(COUNTS):
        Image.fromarray(values.astype(np.uint16)).save(tmp_path / f"band_{band:02d}.png")
    scene = read_scene(tmp_path)
    assert scene.cube * scene.divisor == pytest.approx(COUNTS, rel=1e-5)
    assert not scene.wavelengths_known
    (tmp_path / "band_03.png").unlink()
    with pytest.raises(HsisrError, match="expected bands 0 to 5, one PNG each; missing: 3"):
        read_scene(tmp_path)


def test_wavelengths_that_fit_one_axis_say_which_is_the_bands(tmp_path: Path) -> None:
    values = RNG.integers(100, 6000, (20, 12, 24))
    np.savez(tmp_path / "a.npz", cube=values, wavelengths=np.arange(400, 640, 10))
    scipy.io.savemat(tmp_path / "b.mat", {"cube": values, "wl": np.arange(400, 600, 10.0)})
    assert read_scene(tmp_path / "a.npz").cube.shape == (24, 20, 12)
    assert read_scene(tmp_path / "b.mat").cube.shape == (20, 12, 24)


def test_a_narrow_strip_of_31_bands_is_read_so_with_a_warning(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", RNG.random((12, 40, 31)))
    with pytest.warns(UserWarning, match="12x40x31 is taken to have 31 bands.*--band-axis"):
        assert read_scene(tmp_path / "a.npy").cube.shape == (31, 12, 40)
    assert read_scene(tmp_path / "a.npy", band_axis=0).cube.shape == (12, 40, 31)


def test_values_in_other_files_are_not_read(tmp_path: Path) -> None:
    np.save(tmp_path / "secret.bin", COUNTS)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["cube"] = COUNTS
    with h5py.File(tmp_path / "a.h5", "w") as file:
        secret = [(str(tmp_path / "secret.bin.npy"), 128, h5py.h5f.UNLIMITED)]
        file.create_dataset("outside", COUNTS.shape, COUNTS.dtype, external=secret)
        file["link"] = h5py.ExternalLink("other.h5", "cube")
        layout = h5py.VirtualLayout(COUNTS.shape, COUNTS.dtype)
        layout[...] = h5py.VirtualSource(str(tmp_path / "other.h5"), "cube", COUNTS.shape)
        file.create_virtual_dataset("virtual", layout)
    for key in (None, "link", "outside", "virtual"):
        with pytest.raises(HsisrError, match="holds no"):
            read_scene(tmp_path / "a.h5", key=key)


@pytest.mark.parametrize("suffix", [".h5", ".mat", ".tif"])
def test_a_file_that_claims_a_thousand_times_its_size_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".tif":
        options = {"driver": "GTiff", "count": 31, "height": 6000, "width": 6000, "dtype": "float32"}
        with rasterio.open(path, "w", SPARSE_OK=True, **options):
            pass
    else:
        with h5py.File(path, "w") as file:
            file.create_dataset("cube", (31, 6000, 6000), "f4")
    with pytest.raises(HsisrError, match=r"claims 4\.46 GB of values in \d+ bytes"):
        read_scene(path)


def test_the_wavelength_of_one_page_is_not_that_of_all(tmp_path: Path) -> None:
    text = '<GDALMetadata><Item name="wavelength" sample="0">500</Item></GDALMetadata>'
    tifffile.imwrite(
        tmp_path / "a.tif", COUNTS, photometric="minisblack", extratags=[(42112, "s", 0, text, True)]
    )
    scene = read_scene(tmp_path / "a.tif")
    assert scene.wavelengths.shape == (6,)
    assert not scene.wavelengths_known


def test_what_is_not_a_regular_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npy")
    with pytest.raises(HsisrError, match="is not a regular file"):
        read_scene(tmp_path / "a.npy")


def test_deep_groups_and_links_in_a_circle_are_walked_once(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file
        for _ in range(500):
            group = group.create_group("g")
        group["back"] = file["/"]
        group["nowhere"] = h5py.SoftLink("/nothing")
        file["cube"] = COUNTS
        file["g/again"] = file["cube"]
    assert read_scene(tmp_path / "a.h5").bands == 6
