"""Small valid files of every format of a scene, a store of scenes, and archives."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import rasterio
from harness import Kind
from PIL import Image
from scipy import io

from hsisr_core.data import Scene, Store, write_store
from hsisr_core.data.fetch import unpack
from hsisr_core.scenes import open_scene, scene_files

COUNTS = np.random.default_rng(0).integers(1, 4096, (5, 6, 7), dtype=np.uint16)
CENTRES = np.linspace(420, 700, 5)


def _read_scene(path: Path) -> None:
    scene_files(path)
    open_scene(path).load()


def _npy(folder: Path) -> Path:
    np.save(folder / "a.npy", COUNTS)
    (folder / "a.npy.json").write_text('{"divisor": 4095.0, "nodata": "0", "wavelengths": [4, 5, 6, 7, 8]}')
    return folder / "a.npy"


def _npz(folder: Path) -> Path:
    np.savez_compressed(folder / "a.npz", cube=COUNTS, wavelengths=CENTRES)
    return folder / "a.npz"


def _mat5(folder: Path, compressed: bool = False) -> Path:
    cube, beside = COUNTS.transpose(1, 2, 0), {"wavelengths": CENTRES, "hsi": {"Data": CENTRES, "note": "x"}}
    io.savemat(folder / "a.mat", {"ref": cube} | beside, do_compression=compressed)
    return folder / "a.mat"


def _mat5_compressed(folder: Path) -> Path:
    return _mat5(folder, compressed=True)


def _mat73(folder: Path) -> Path:
    with h5py.File(folder / "a.mat", "w", userblock_size=512) as file:
        cube = file.create_dataset("ref", data=COUNTS.transpose(0, 2, 1))
        cube.attrs["MATLAB_class"] = np.bytes_("uint16")
        title = file.create_dataset("title", data=np.frombuffer("text".encode("utf-16-le"), "<u2")[:, None])
        title.attrs["MATLAB_class"] = np.bytes_("char")
        file["wl"] = CENTRES[:, None]
        file["wl"].attrs["MATLAB_class"] = np.bytes_("double")
    return folder / "a.mat"


def _hdf5(folder: Path) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        cube = file.create_dataset("site/cube", data=COUNTS, chunks=(5, 3, 7), compression="gzip")
        cube.attrs["scale_factor"] = 1e-4
        cube.attrs["_FillValue"] = np.uint16(0)
        file["site/wavelengths"] = CENTRES
        file["site/wavelengths"].attrs["units"] = "nanometers"
        file["site"].attrs["crs"] = "EPSG:32616"
    return folder / "a.h5"


def _hdf5_attributes(folder: Path) -> Path:
    with h5py.File(folder / "a.h5", "w", libver="latest") as file:
        file["cube"] = COUNTS
        file["cube"].attrs.update(
            wavelengths=CENTRES,
            wavelength_units="nanometers",
            divisor=4095.0,
            geotransform=[1.0, 1, 0, 2, 0, -1],
        )
        file["cube"].attrs["entries"] = '{"fwhm": "{1, 2, 3, 4, 5}"}'
    return folder / "a.h5"


def _store(folder: Path) -> Path:
    scene = Scene("a", (COUNTS / 4095).astype(np.float32), CENTRES, 4095.0, "made", COUNTS[0] > 99)
    write_store(folder / "scenes.h5", [scene], sources=[("a/a.h5", 1, "0" * 64)], dataset="toys")
    return folder / "scenes.h5"


def _read_store(path: Path) -> None:
    store = Store(path)
    for name in store.names:
        store.read(name)


def _tiff(folder: Path) -> Path:
    place = {"crs": "EPSG:32616", "transform": rasterio.Affine(30, 0, 5e5, 0, -30, 4.5e6)}
    with rasterio.open(
        folder / "a.tif", "w", "GTiff", width=7, height=6, count=5, dtype="uint16", nodata=0, **place
    ) as file:
        file.write(COUNTS)
        for band, centre in enumerate(CENTRES, start=1):
            file.update_tags(band, wavelength=str(centre), wavelength_units="nm")
            file.set_band_description(band, f"{centre} nm")
        file.scales, file.offsets = [1e-4] * 5, [0.0] * 5
    return folder / "a.tif"


def _tiff_compressed(folder: Path) -> Path:
    shape = {"width": 7, "height": 6, "count": 5, "dtype": "uint16"}
    options = {"compress": "deflate", "predictor": 2, "interleave": "pixel", "BIGTIFF": "YES"}
    with rasterio.open(folder / "a.tif", "w", "GTiff", **shape, **options) as file:
        file.write(COUNTS)
    return folder / "a.tif"


def _tiff_pages(folder: Path) -> Path:
    first, *rest = map(Image.fromarray, COUNTS)
    first.save(folder / "a.tif", save_all=True, append_images=rest)
    return folder / "a.tif"


def _envi(folder: Path) -> Path:
    (folder / "a.img").write_bytes(COUNTS.tobytes())
    centres = ", ".join(map(str, CENTRES))
    (folder / "a.hdr").write_text(
        "ENVI\ndescription = {made}\nsamples = 7\nlines = 6\nbands = 5\nheader offset = 0\ndata type = 12\n"
        "interleave = bsq\nbyte order = 0\nwavelength units = Nanometers\ndata ignore value = 0\n"
        f"wavelength = {{{centres}}}\nfwhm = {{1, 2, 3, 4, 5}}\nbbl = {{1, 1, 0, 1, 1}}\n"
        "reflectance scale factor = 4095\n"
        "map info = {UTM, 1, 1, 500000, 4500000, 30, 30, 16, North, WGS-84, units=Meters, rotation=10}\n"
    )
    return folder / "a.hdr"


def _esri(folder: Path) -> Path:
    (folder / "a.bil").write_bytes(COUNTS.transpose(1, 0, 2).tobytes())
    (folder / "a.hdr").write_text("BYTEORDER I\nLAYOUT BIL\nNROWS 6\nNCOLS 7\nNBANDS 5\nNBITS 16\n")
    return folder / "a.bil"


def _cave(folder: Path) -> Path:
    (folder / "x_ms").mkdir()
    for band, image in enumerate(COUNTS, start=1):
        Image.fromarray(image).save(folder / "x_ms" / f"x_{band:02d}.png")
    return folder / "x_ms"


def _zip(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.txt", "some text")
        archive.writestr("ä.txt", "more text")
    with zipfile.ZipFile(folder / "a.zip", "a", zipfile.ZIP_LZMA) as archive:
        archive.writestr("c.txt", "other text")
    return folder / "a.zip"


def _tar(folder: Path) -> Path:
    (folder / "b.txt").write_text("some text")
    with tarfile.open(folder / "a.tgz", "w:gz") as archive:
        archive.add(folder / "b.txt", "a/b.txt")
    (folder / "b.txt").unlink()
    return folder / "a.tgz"


def _unpack(path: Path) -> None:
    unpack(path, path.with_suffix(""))


SCENE_FILES = [
    *(
        Kind(make.__name__.strip("_").replace("_", "-"), make, _read_scene)
        for make in (
            _npy,
            _npz,
            _mat5,
            _mat5_compressed,
            _mat73,
            _hdf5,
            _hdf5_attributes,
            _tiff,
            _tiff_compressed,
            _tiff_pages,
            _envi,
            _esri,
            _cave,
        )
    ),
    Kind("store", _store, _read_store),
    Kind("zip", _zip, _unpack),
    Kind("tgz", _tar, _unpack),
]
