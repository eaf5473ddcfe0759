"""The head of an uncompressed TIFF or GeoTIFF file, one plane a band."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import tifffile

from hsisr_core import __version__
from hsisr_core.scenes.crs import epsg_code
from hsisr_core.scenes.scene import Georeference
from hsisr_core.scenes.write import Block, Product

__all__ = ["write_head"]

_BIG = 4_000_000_000  # bytes: classic TIFF ends at 4 GiB
_PIXEL_SCALE, _TIE_POINT, _MATRIX, _KEYS, _DOUBLES, _TEXTS = 33550, 33922, 34264, 34735, 34736, 34737
_GDAL_METADATA, _GDAL_NODATA = 42112, 42113
_RASTER_TYPE, _AREA = 1025, 1
Tag = tuple[int, str, int, Any, bool]


def write_head(path: Path, product: Product) -> Block:
    """Write an empty TIFF file; return where its values go.

    GDAL's metadata hold the wavelengths (`wavelength`, `wavelength_units`) and the provenance; the place on
    the ground is in GeoTIFF's tags (OGC 19-008r4). The keys of the coordinate system are the source's own if it
    is a GeoTIFF; else an EPSG code if one is known, and the source's text if none is.
    """
    tags: list[Tag] = [(_GDAL_METADATA, "s", 0, _metadata(product), True)]
    if product.nodata is not None:
        tags.append((_GDAL_NODATA, "s", 0, f"{product.nodata:.17g}", True))
    if product.georeference is not None:
        tags += _place(product.georeference) + (_keys_of(product.source) or _keys(product.georeference.crs))
    with tifffile.TiffWriter(path, bigtiff=product.nbytes > _BIG, byteorder="<") as file:
        file.write(
            shape=product.shape,
            dtype=product.dtype,
            photometric="minisblack",
            planarconfig="separate" if product.shape[0] > 1 else None,
            software=f"hsisr {__version__}",
            description="",
            metadata=None,
            extratags=tags,
        )
    with tifffile.TiffFile(path) as file:
        offset = file.series[0].dataoffset
    assert offset is not None  # uncompressed and of one piece
    return Block(offset)


def _metadata(product: Product) -> str:
    """GDAL's metadata: texts in XML, one item each; ASCII, as TIFF allows no more."""
    items = [
        f'<Item name="hsisr_{name}">{escape(value if isinstance(value, str) else json.dumps(value))}</Item>'
        for name, value in product.provenance.items()
    ]
    for band, centre in enumerate(product.centres or ()):
        items.append(f'<Item name="wavelength" sample="{band}">{centre:.10g}</Item>')
        items.append(f'<Item name="wavelength_units" sample="{band}">nanometers</Item>')
    text = f"<GDALMetadata>{''.join(items)}</GDALMetadata>"
    return text.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _place(georeference: Georeference) -> list[Tag]:
    t = georeference.transform
    if t[2] == t[4] == 0 and t[1] > 0 > t[5]:
        return [
            (_PIXEL_SCALE, "d", 3, (t[1], -t[5], 0.0), True),
            (_TIE_POINT, "d", 6, (0.0, 0.0, 0.0, t[0], t[3], 0.0), True),
        ]
    matrix = (t[1], t[2], 0.0, t[0], t[4], t[5], 0.0, t[3], *(0.0,) * 4, 0.0, 0.0, 0.0, 1.0)
    return [(_MATRIX, "d", 16, matrix, True)]


def _keys_of(source: Path | None) -> list[Tag]:
    """The keys of the coordinate system in `source`, if it is a GeoTIFF."""
    if source is None or source.suffix.lower() not in (".tif", ".tiff"):
        return []
    with tifffile.TiffFile(source) as file:
        page: Any = file.pages[0]
        tags = {tag.code: tag.value for tag in page.tags.values()}
    keys = list(tags.get(_KEYS, ()))
    for start in range(4, len(keys), 4):
        if keys[start] == _RASTER_TYPE:
            keys[start + 3] = _AREA  # the transform counts from the corners of pixels
    found: list[Tag] = [(_KEYS, "H", len(keys), tuple(keys), True)] if keys else []
    if keys and _DOUBLES in tags:
        found.append((_DOUBLES, "d", len(tags[_DOUBLES]), tuple(tags[_DOUBLES]), True))
    if keys and _TEXTS in tags:
        found.append((_TEXTS, "s", 0, tags[_TEXTS], True))
    return found


def _keys(crs: str) -> list[Tag]:
    """The keys for a coordinate system given as text."""
    code, projected = epsg_code(crs)
    if code is not None:
        model, key = (1, 3072) if projected else (2, 2048)
        keys = (1, 1, 0, 3, 1024, 0, 1, model, _RASTER_TYPE, 0, 1, _AREA, key, 0, 1, code)
        return [(_KEYS, "H", len(keys), keys, True)]
    text = crs.encode("ascii", "replace").decode("ascii").replace("|", "/") + "|"
    keys = (1, 1, 0, 3, 1024, 0, 1, 32767, _RASTER_TYPE, 0, 1, _AREA, 1026, _TEXTS, len(text), 0)
    return [(_KEYS, "H", len(keys), keys, True), (_TEXTS, "s", 0, text, True)]
