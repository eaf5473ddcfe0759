"""The text header of an ENVI file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from hsisr_core.errors import HsisrError
from hsisr_core.scenes.crs import envi_words
from hsisr_core.scenes.scene import Georeference
from hsisr_core.scenes.write import Product

__all__ = ["header"]

_TYPES = {
    "uint8": 1, "int16": 2, "int32": 3, "float32": 4, "float64": 5, "uint16": 12, "uint32": 13, "int64": 14,
    "uint64": 15,
}  # fmt: skip


def header(product: Product, path: Path) -> str:
    """Return the header for the values of `product`, band after band, little-endian.

    `map info` and `coordinate system string` are the source's own if it is an ENVI file, with the pixel size
    and the reference pixel of the larger image. `path` is for the message.

    Raises
    ------
    HsisrError
        ENVI has no such type.
    """
    if product.dtype.name not in _TYPES:
        raise HsisrError(
            f"{path}: ENVI has no values of type {product.dtype}. Write float32, or another format."
        )
    bands, height, width = product.shape
    entries: dict[str, Any] = {
        "description": "{Made by hsisr upscale; see the entries that begin with hsisr}",
        "samples": width,
        "lines": height,
        "bands": bands,
        "header offset": 0,
        "file type": "ENVI Standard",
        "data type": _TYPES[product.dtype.name],
        "interleave": "bsq",
        "byte order": 0,
    }
    if product.nodata is not None:
        entries["data ignore value"] = f"{product.nodata:.17g}"
    if product.divisor != 1:
        entries["reflectance scale factor"] = f"{product.divisor:.17g}"
    if product.centres is not None:
        entries["wavelength units"] = "Nanometers"
        entries["wavelength"] = _listed(f"{centre:.10g}" for centre in product.centres)
    if product.georeference is not None:
        entries |= _own_place(product) or _place(product.georeference)
    for name, value in product.provenance.items():
        text = value if isinstance(value, str) else json.dumps(value)
        # braces and commas would make a list of it
        entries[f"hsisr {name.replace('_', ' ')}"] = text.translate(str.maketrans("{}\n=", "() :"))
    return "ENVI\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())


def _listed(values: Any) -> str:
    return "{" + ", ".join(values) + "}"


def _own_place(product: Product) -> dict[str, str]:
    """The entries of the source's header, if it has one."""
    from hsisr_core.scenes.envi import envi_files

    found = None if product.source is None or product.source.is_dir() else envi_files(product.source)
    if found is None:
        return {}
    from spectral.io import envi

    entries = envi.read_envi_header(str(found[0]))
    info = list(entries["map info"])
    column, row, x, y, dx, dy = map(float, info[1:7])
    scale = product.scale
    info[1:7] = [
        f"{value:.17g}"
        for value in ((column - 1) * scale + 1, (row - 1) * scale + 1, x, y, dx / scale, dy / scale)
    ]
    place = {"map info": _listed(info)}
    wkt = entries.get("coordinate system string")
    if wkt:
        place["coordinate system string"] = "{" + (",".join(wkt) if isinstance(wkt, list) else str(wkt)) + "}"
    return place


def _place(georeference: Georeference) -> dict[str, str]:
    x, a, b, y, d, e = georeference.transform
    before, after = envi_words(georeference.crs)
    angle = math.degrees(math.atan2(d, a))
    numbers = [f"{value:.17g}" for value in (1, 1, x, y, math.hypot(a, d), math.hypot(b, e))]
    turned = [f"rotation={angle:.10g}"] if angle else []
    place = {"map info": _listed([*before, *numbers, *after, *turned])}
    if before == ["Arbitrary"] and georeference.crs.startswith(("PROJCS", "GEOGCS")):
        place["coordinate system string"] = "{" + georeference.crs + "}"
    elif before == ["Arbitrary"] and georeference.crs:
        place["hsisr crs"] = georeference.crs
    return place
