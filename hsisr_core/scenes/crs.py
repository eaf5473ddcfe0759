"""Coordinate systems between the formats: EPSG codes, and ENVI's words for the common ones."""

from __future__ import annotations

import re

__all__ = ["envi_words", "epsg_code"]

_WGS84 = 4326
_NORTH, _SOUTH = 32600, 32700  # EPSG codes of UTM on WGS 84, without the zone


def epsg_code(crs: str) -> tuple[int | None, bool]:
    """Return the EPSG code of `crs` (as in `Georeference`), None if it does not tell, and whether it is projected."""
    if match := re.fullmatch(r"UTM, *(\d+), *(North|South), *WGS[- ]?84(,.*)?", crs.strip(), re.IGNORECASE):
        return (_NORTH if match[2].lower() == "north" else _SOUTH) + int(match[1]), True
    if re.fullmatch(r"Geographic Lat/Lon(, *WGS[- ]?84(,.*)?)", crs.strip(), re.IGNORECASE):
        return _WGS84, False
    # the last authority of a WKT is that of the whole
    if match := re.search(r'AUTHORITY\["EPSG", *"?(\d+)"?\]\s*\]\s*$', crs):
        return int(match[1]), not crs.lstrip().startswith("GEOGCS")
    if match := re.fullmatch(r"EPSG:(\d+)", crs):
        return int(match[1]), not 4000 <= int(match[1]) < 5000  # geographic ones of GeoTIFF 1.0 (annex B)
    return None, True


def envi_words(crs: str) -> tuple[list[str], list[str]]:
    """Return what ENVI's `map info` says of `crs` before and after its numbers."""
    code, _ = epsg_code(crs)
    if code == _WGS84:
        return ["Geographic Lat/Lon"], ["WGS-84", "units=Degrees"]
    for base, half in ((_NORTH, "North"), (_SOUTH, "South")):
        if code is not None and 1 <= code - base <= 60:
            return ["UTM"], [str(code - base), half, "WGS-84", "units=Meters"]
    return ["Arbitrary"], []
