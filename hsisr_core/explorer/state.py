"""What a reader can change in an explorer, and the check of each value that Python sets."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from hsisr_core.errors import HsisrError
from hsisr_core.explorer.pack import CubeSet

MODES = ("band", "colour", "error")
STRETCHES = ("linear", "percentile")
MOST_PIXELS = 6
MOST_ZOOM = 32
# the names of the synced traits
STATE = (
    "band", "channels", "curtain", "gamma", "hidden", "magnifier", "mode", "pixels", "split", "stretch", "view",
    "views",
)  # fmt: skip


def first_state(cubes: CubeSet) -> dict[str, Any]:
    """Every trait's value before anyone changes it."""
    (top, left), (height, width) = cubes.origin, cubes.size
    names = list(cubes.cubes)
    last = cubes.bands - 1
    return {
        "band": last // 2,
        "channels": next(iter(cubes.presets.values()), [round(last * part) for part in (0.75, 0.5, 0.25)]),
        "curtain": False,
        "gamma": 1.0,
        "hidden": [],
        "magnifier": False,
        "mode": "band",
        "pixels": [[top + height // 2, left + width // 2]],
        "split": 0.5,
        "stretch": "percentile",
        "view": [top + height / 2, left + width / 2, 1.0],
        "views": names if len(names) > 1 else [names[0], f"{names[0]}:colour"],
    }


def check_state(name: str, value: Any, cubes: CubeSet) -> Any:
    """`value` of the trait `name` as plain numbers, texts and lists; HsisrError says what is expected."""
    try:
        return _plain(name, value, cubes)
    except (TypeError, ValueError, KeyError) as error:
        raise HsisrError(f"{name}={value!r}: expected {_expected(cubes)[name]}.") from error


def _plain(name: str, value: Any, cubes: CubeSet) -> Any:
    match name:
        case "band":
            return _whole(value, cubes.bands)
        case "channels":
            red, green, blue = value
            return [_whole(band, cubes.bands) for band in (red, green, blue)]
        case "gamma":
            return _number(value, 0.2, 4)
        case "split":
            return _number(value, 0, 1)
        case "mode":
            return _one_of(value, _modes(cubes))
        case "stretch":
            return _one_of(value, STRETCHES)
        case "pixels":
            places = [list(place) for place in value]
            if len(places) > MOST_PIXELS or not {len(place) for place in places} <= {2, 4}:
                raise ValueError
            return [_place(place, cubes) for place in places]
        case "view":
            row, column, zoom = value
            (top, left), (height, width) = cubes.origin, cubes.size
            centre = [_number(row, top, top + height), _number(column, left, left + width)]
            return [*centre, _number(zoom, 1, MOST_ZOOM)]
        case "hidden" | "views" if isinstance(value, str):
            raise TypeError
        case "hidden":
            return [cubes.cubes[item].name for item in value]
        case "views" if len(value):
            for view in value:
                cube, _, mode = view.partition(":")
                _ = cubes.cubes[cube], mode and _one_of(mode, _modes(cubes))
            return [str(view) for view in value]
        case "curtain" | "magnifier" if isinstance(value, bool):
            return value
    raise ValueError


def _expected(cubes: CubeSet) -> dict[str, str]:
    """What each trait may be, in words."""
    (top, left), (height, width) = cubes.origin, cubes.size
    inside = f"inside rows {top} to {top + height - 1} and columns {left} to {left + width - 1}"
    names, last = ", ".join(cubes.cubes), cubes.bands - 1
    return {
        "band": f"a whole number from 0 to {last}",
        "channels": f"three bands (red, green, blue) from 0 to {last}",
        "curtain": "True or False",
        "gamma": "a number from 0.2 to 4",
        "hidden": f"a list of cubes among {names}",
        "magnifier": "True or False",
        "mode": " or ".join(_modes(cubes)) + " (error needs a reference)" * (not cubes.reference),
        "pixels": f"at most {MOST_PIXELS} of [row, column] and [top, left, bottom, right] {inside}",
        "split": "a number from 0 to 1",
        "stretch": " or ".join(STRETCHES),
        "view": f"[row, column, zoom]: a centre {inside} and a zoom from 1 to {MOST_ZOOM}",
        "views": f"a list of cubes among {names}, each with or without a mode behind a colon, such as "
        f"'{next(iter(cubes.cubes))}:colour'",
    }


def _modes(cubes: CubeSet) -> tuple[str, ...]:
    return MODES if cubes.reference else MODES[:2]


def _whole(value: Any, stop: int) -> int:
    """A whole number from 0 to `stop` - 1, also one of NumPy's."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not 0 <= int(value) < stop:
        raise ValueError
    return int(value)


def _number(value: Any, low: float, high: float) -> float:
    # NaN is outside, too
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= float(value) <= high:
        raise ValueError
    return float(value)


def _one_of(value: Any, choices: Sequence[str]) -> str:
    if value not in choices:
        raise ValueError
    return str(value)


def _place(place: list[Any], cubes: CubeSet) -> list[int]:
    """A pixel [row, column], or a box [top, left, bottom, right] without its last two."""
    limits = list(zip(cubes.origin, cubes.size, strict=True))
    first = [start + _whole(at - start, size) for at, (start, size) in zip(place[:2], limits, strict=True)]
    ends = zip(place[2:], first, limits, strict=False)
    return first + [at + 1 + _whole(end - at - 1, start + size - at) for end, at, (start, size) in ends]
