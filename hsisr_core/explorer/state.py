"""What an explorer's traits may be: plain numbers, texts and lists, as they stand in a page."""

# the types are made from the cubes
# mypy: disable-error-code="valid-type, misc"

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from hsisr_core.errors import HsisrError
from hsisr_core.explorer.pack import CubeSet

MODES = ("band", "colour", "error")
MOST_PIXELS = 6
MOST_ZOOM = 32


def check_state(name: str, value: Any, rule: TypeAdapter[Any]) -> Any:
    """`value` of the trait `name` as plain numbers, texts and lists; HsisrError says what is expected."""
    # NumPy's numbers and arrays, too
    text = json.dumps(value, default=lambda item: item.tolist() if hasattr(item, "tolist") else str(item))
    try:
        return rule.dump_python(rule.validate_json(text, strict=True), mode="json")
    except ValidationError as error:
        raise HsisrError(f"{name}={value!r}: {error.errors()[0]['msg']}.") from error


def make_traits(cubes: CubeSet) -> dict[str, tuple[Any, Any]]:
    """Of every trait: its value before anyone changes it, and what it may be."""
    (top, left), (height, width), last = cubes.origin, cubes.size, cubes.bands - 1
    bottom, right = top + height, left + width
    names, modes = tuple(cubes.cubes), MODES if cubes.reference else MODES[:2]
    views = (*names, *(f"{name}:{mode}" for name in names for mode in modes))
    band = _within(0, last)
    quarters = [round(last * part) for part in (0.75, 0.5, 0.25)]
    first = _within(top, bottom - 1), _within(left, right - 1)
    box = tuple[*first, _within(top + 1, bottom), _within(left + 1, right)]
    place = tuple[*first] | Annotated[box, AfterValidator(_check_box)]
    pixels = Annotated[list[place], Field(max_length=MOST_PIXELS)]
    middle = _within(float(top), bottom), _within(float(left), right)
    shown = [*names] if len(names) > 1 else [names[0], f"{names[0]}:colour"]
    return {
        "band": (last // 2, band),
        "channels": (next(iter(cubes.presets.values()), quarters), tuple[band, band, band]),
        "curtain": (False, bool),
        "gamma": (1.0, _within(0.2, 4.0)),
        "hidden": ([], list[Literal[names]]),
        "magnifier": (False, bool),
        "mode": ("band", Literal[modes]),
        "pixels": ([[top + height // 2, left + width // 2]], pixels),
        "split": (0.5, _within(0.0, 1.0)),
        "stretch": ("percentile", Literal["linear", "percentile"]),
        "view": ([top + height / 2, left + width / 2, 1.0], tuple[*middle, _within(1.0, MOST_ZOOM)]),
        "views": (shown, Annotated[list[Literal[views]], Field(min_length=1)]),
    }


def _within(low: float, high: float) -> Any:
    """A number of the type of `low`, from `low` to `high`."""
    return Annotated[type(low), Field(ge=low, le=high)]


def _check_box(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    top, left, bottom, right = box
    if bottom <= top or right <= left:
        raise ValueError("a box is [top, left, bottom, right], bottom and right outside it")
    return box
