"""Open a cube in a TIFF or GeoTIFF file."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsisr_core.errors import HsisrError
from hsisr_core.scenes.cube_file import CubeFile, array_blocks, array_window
from hsisr_core.scenes.scene import MINIMUM_SIDE, Georeference

__all__ = ["open_tiff"]

# (name of GDAL's metadata item, factor to nm); the second is GDAL's own, the first what others write
_WAVELENGTHS = {"wavelength": 1.0, "central_wavelength_um": 1e3}
_TO_NM = {"nanometers": 1.0, "nm": 1.0, "micrometers": 1e3, "um": 1e3}


def open_tiff(path: Path) -> CubeFile:
    """Open a TIFF file: its bands are samples of a pixel, or pages.

    From a GeoTIFF, the place on the ground, GDAL's `nodata` value and the wavelengths in GDAL's metadata are
    taken. Files without compression, or with deflate, are read without further packages.

    Raises
    ------
    HsisrError
        It is damaged, no TIFF, not a stack of bands, or compressed in a way that needs another package.
    """
    import tifffile  # not above: it takes memory that scenes of other kinds need not

    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            axes, array = series.axes, _array(path, series)
            page: Any = file.pages[0]
            tags = {tag.name: tag.value for tag in page.tags.values()}
            keys = dict(page.geotiff_tags or {})
            nodata = float(tags["GDAL_NODATA"]) if "GDAL_NODATA" in tags else None
    except HsisrError:
        raise
    except (
        Exception
    ) as error:  # tifffile raises TiffFileError, struct.error, zlib.error, IndexError and others
        raise HsisrError(
            f"{path} cannot be read as a TIFF file ({' '.join(str(error).split())}): it is truncated, damaged or "
            "something else. Fetch or save it again."
        ) from error
    if array.ndim != 3 or "Y" not in axes or "X" not in axes or array.dtype.kind not in "iuf":
        raise HsisrError(
            f"{path} holds {array.dtype.name} values with the axes {axes} of {'x'.join(map(str, array.shape))}; "
            "expected real numbers with three axes: bands, height and width. Export all bands into one file."
        )
    rows, cols = axes.index("Y"), axes.index("X")
    order = (3 - rows - cols, rows, cols)
    count, height, width = (array.shape[axis] for axis in order)
    if min(height, width) < MINIMUM_SIDE:
        raise HsisrError(
            f"{path} is {height}x{width} pixels; expected at least {MINIMUM_SIDE} a side. Leave out this scene."
        )
    return CubeFile(
        kind=f"{'GeoTIFF' if keys else 'TIFF'} file, {array.dtype.name}, axes {axes}",
        shape=(count, height, width),
        is_integer=array.dtype.kind in "iu",
        blocks=array_blocks(array, order),
        window=array_window(array, order) if isinstance(array, np.memmap) else None,
        wavelengths=_wavelengths(str(tags.get("GDAL_METADATA", "")), count),
        nodata=nodata,
        georeference=_georeference(keys),
    )


def _array(path: Path, series: Any) -> np.ndarray:
    """The values in the file's type: a memory map if they lie in one piece, else in memory."""
    if series.dataoffset is not None and series.dtype is not None:
        # checked by hand: a memory map of a truncated file ends the process when it is read
        if series.dataoffset + series.nbytes > path.stat().st_size:
            raise HsisrError(f"{path} is truncated at {path.stat().st_size} bytes. Fetch it again.")
        stored = series.dtype.newbyteorder(series.keyframe.parent.byteorder)
        return np.memmap(path, stored, "r", series.dataoffset, tuple(series.shape))
    try:
        return np.asarray(series.asarray())
    except Exception as error:  # several types, and only the text tells
        if "imagecodecs" not in str(error) and not isinstance(error, ModuleNotFoundError):
            raise
        raise HsisrError(
            f"{path} is compressed with {series.keyframe.compression.name}, which needs another package. Run: "
            "pip install imagecodecs, or convert it: gdal_translate -co COMPRESS=DEFLATE IN OUT."
        ) from error


def _wavelengths(metadata: str, count: int) -> NDArray[np.float64] | None:
    """Band centres in nm from GDAL's XML: one item per band, numbered by `sample` from 0."""
    if not metadata or "<!" in metadata:  # a document type could define entities without end
        return None
    try:
        items = list(ElementTree.fromstring(metadata.strip("\0 \n")))
    except ElementTree.ParseError:
        return None
    centres = np.full(count, np.nan)
    units: dict[int, float] = {}
    for item in items:
        name, sample, text = item.get("name", "").lower(), item.get("sample", ""), (item.text or "").strip()
        if not sample.isdigit() or int(sample) >= count:
            continue
        if name == "wavelength_units":
            units[int(sample)] = _TO_NM.get(text.lower(), np.nan)
        elif name in _WAVELENGTHS:
            try:
                centres[int(sample)] = float(text) * _WAVELENGTHS[name]
            except ValueError:
                return None
    for sample_index, factor in units.items():
        centres[sample_index] *= factor
    return centres if np.isfinite(centres).all() and centres.min() > 0 else None


def _georeference(keys: dict[str, Any]) -> Georeference | None:
    """From the GeoTIFF tags (OGC 19-008r4, section 7.4 and annex B.6)."""
    matrix, tie, scale = (
        keys.get(name) for name in ("ModelTransformation", "ModelTiepoint", "ModelPixelScale")
    )
    if matrix is not None:
        m = np.ravel(np.asarray(matrix, np.float64))
        t = (m[3], m[0], m[1], m[7], m[4], m[5])
    elif tie is not None and scale is not None and len(tie) == 6:
        column, row, _, x, y, _ = tie
        dx, dy = scale[0], -scale[1]
        t = (x - column * dx, dx, 0.0, y - row * dy, 0.0, dy)
    else:
        return None
    if int(keys.get("GTRasterTypeGeoKey", 1)) == 2:  # the place is that of a pixel's middle, not its corner
        t = (t[0] - (t[1] + t[2]) / 2, t[1], t[2], t[3] - (t[4] + t[5]) / 2, t[4], t[5])
    codes = (keys.get("ProjectedCSTypeGeoKey"), keys.get("GeographicTypeGeoKey"))
    code = next((int(value) for value in codes if value is not None and int(value) != 32767), None)
    a, b, c, d, e, f = map(float, t)
    return Georeference((a, b, c, d, e, f), f"EPSG:{code}" if code else str(keys.get("GTCitationGeoKey", "")))
