"""What a reader can change in an explorer, and the check of each value that Python sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

from hsisr_core.errors import HsisrError
from hsisr_core.explorer.pack import CubeSet

MODES = ("band", "colour", "error")
STRETCHES = ("linear", "percentile")
MOST_PIXELS = 6
MOST_ZOOM = 32


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
    check, expected = _RULES[name]
    try:
        return check(value, cubes)
    except (TypeError, ValueError, KeyError) as error:
        raise HsisrError(f"{name}={value!r}: expected {expected(cubes)}.") from error


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


def _flag(value: Any, cubes: CubeSet) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _channels(value: Any, cubes: CubeSet) -> list[int]:
    red, green, blue = value
    return [_whole(band, cubes.bands) for band in (red, green, blue)]


def _hidden(value: Any, cubes: CubeSet) -> list[str]:
    if isinstance(value, str):
        raise TypeError
    return [cubes.cubes[name].name for name in value]


def _modes(cubes: CubeSet) -> tuple[str, ...]:
    return MODES if cubes.reference else MODES[:2]


def _pixels(value: Any, cubes: CubeSet) -> list[list[int]]:
    """Pixels [row, column] and boxes [top, left, bottom, right], the last two not in the box."""
    places = [list(place) for place in value]
    if len(places) > MOST_PIXELS or not {len(place) for place in places} <= {2, 4}:
        raise ValueError
    return [_place(place, cubes) for place in places]


def _place(place: list[Any], cubes: CubeSet) -> list[int]:
    limits = list(zip(cubes.origin, cubes.size, strict=True))
    first = [start + _whole(at - start, size) for at, (start, size) in zip(place[:2], limits, strict=True)]
    ends = zip(place[2:], first, limits, strict=False)
    return first + [at + 1 + _whole(end - at - 1, start + size - at) for end, at, (start, size) in ends]


def _view(value: Any, cubes: CubeSet) -> list[float]:
    row, column, zoom = value
    (top, left), (height, width) = cubes.origin, cubes.size
    return [_number(row, top, top + height), _number(column, left, left + width), _number(zoom, 1, MOST_ZOOM)]


def _views(value: Any, cubes: CubeSet) -> list[str]:
    if isinstance(value, str) or not len(value):
        raise ValueError
    for view in value:
        name, _, mode = view.partition(":")
        _ = cubes.cubes[name], mode and _one_of(mode, _modes(cubes))
    return [str(view) for view in value]


def _inside(cubes: CubeSet) -> str:
    (top, left), (height, width) = cubes.origin, cubes.size
    return f"inside rows {top} to {top + height - 1} and columns {left} to {left + width - 1}"


# The check of each trait, and what it expects in words.
_RULES: dict[str, tuple[Callable[[Any, CubeSet], Any], Callable[[CubeSet], str]]] = {
    "band": (
        lambda value, cubes: _whole(value, cubes.bands),
        lambda cubes: f"a whole number from 0 to {cubes.bands - 1}",
    ),
    "channels": (_channels, lambda cubes: f"three bands (red, green, blue) from 0 to {cubes.bands - 1}"),
    "curtain": (_flag, lambda _: "True or False"),
    "gamma": (lambda value, _: _number(value, 0.2, 4), lambda _: "a number from 0.2 to 4"),
    "hidden": (_hidden, lambda cubes: f"a list of cubes among {', '.join(cubes.cubes)}"),
    "magnifier": (_flag, lambda _: "True or False"),
    "mode": (
        lambda value, cubes: _one_of(value, _modes(cubes)),
        lambda cubes: " or ".join(_modes(cubes)) + " (error needs a reference)" * (not cubes.reference),
    ),
    "pixels": (
        _pixels,
        lambda cubes: (
            f"at most {MOST_PIXELS} of [row, column] and [top, left, bottom, right] {_inside(cubes)}"
        ),
    ),
    "split": (lambda value, _: _number(value, 0, 1), lambda _: "a number from 0 to 1"),
    "stretch": (lambda value, _: _one_of(value, STRETCHES), lambda _: " or ".join(STRETCHES)),
    "view": (
        _view,
        lambda cubes: f"[row, column, zoom]: a centre {_inside(cubes)} and a zoom from 1 to {MOST_ZOOM}",
    ),
    "views": (
        _views,
        lambda cubes: (
            f"a list of cubes among {', '.join(cubes.cubes)}, each with or without a mode behind a "
            f"colon, such as '{next(iter(cubes.cubes))}:colour'"
        ),
    ),
}
STATE = tuple(_RULES)  # the names of the synced traits
