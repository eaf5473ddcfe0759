"""How the figures look: one style, colours for any eye, and the few ways panels are laid out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from itertools import chain, cycle
from typing import Any, ParamSpec

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from hsisr_core.models import MODELS
from hsisr_core.paper import method_label

WIDTH = 7.2  # inches, the text width of the book
COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#332288", "#777777"
)  # fmt: skip
"""Of Okabe and Ito (black is kept for HR, yellow is too light for lines), then wine, indigo and grey."""
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
"""Line styles, so that lines can be told apart in grey; five for nine `COLOURS`, so that no pair comes again soon."""
FALSE_COLOUR_NM = {"natural": (640, 550, 460), "CIR": (860, 650, 550)}
"""Wavelengths of red, green and blue in false-colour pictures; CIR is colour infrared."""
STYLE: dict[str, Any] = {
    "figure.dpi": 150,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "lines.linewidth": 1.2,
    "lines.markersize": 3,
    "image.cmap": "cividis",
}

_P = ParamSpec("_P")


def styled_figure(draw: Callable[_P, Figure]) -> Callable[_P, Figure]:
    """Draw under `STYLE` and close the figure, which stays usable but is not shown a second time."""

    @wraps(draw)
    def styled(*args: _P.args, **kwargs: _P.kwargs) -> Figure:
        with plt.rc_context(STYLE):
            figure = draw(*args, **kwargs)
            figure.draw_without_rendering()  # ticks are made when first drawn: make them in this style
            plt.close(figure)
        return figure

    return styled


def panel_grid(panels: int, columns: int, panel_height: float, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure of book width with `panels` axes, at most `columns` a row; the rest are removed."""
    columns = min(panels, columns)
    rows = -(-panels // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(WIDTH, rows * panel_height), squeeze=False, **options)
    axes = list(grid.flat)
    for spare in axes[panels:]:
        spare.remove()
    return figure, axes[:panels]


def picture_grid(shapes: Sequence[tuple[int, int]], columns: int) -> tuple[Figure, list[Axes]]:
    """`panel_grid` for images of (height, width) pixels, each with a title of two lines."""
    tallest = max(height / width for height, width in shapes)
    return panel_grid(len(shapes), columns, min(WIDTH / columns * tallest + 0.6, 4.0))


def line_styles(labels: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour, line and label of each, as options of `Axes.plot`; forty-five differ."""
    looks = zip(labels, cycle(COLOURS), cycle(DASHES), strict=False)
    return {label: {"color": colour, "linestyle": dash, "label": label} for label, colour, dash in looks}


def method_styles(methods: Iterable[str]) -> dict[str, dict[str, Any]]:
    """`line_styles` of methods, the same in every figure: SSRNet's is the first; a variant, "SSRNet+", has squares."""
    bases = {method: method.partition(",")[0].removesuffix("+") for method in methods}
    networks = [method_label(name) for name in ("ssrnet", *MODELS) if name != "bicubic"]
    looks = line_styles(dict.fromkeys([*networks, "bicubic", *bases.values()]))
    variant = {"linestyle": (0, (1, 3)), "marker": "s", "markerfacecolor": "white"}
    return {
        method: looks[base] | {"label": method, "marker": "o"} | (variant if method != base else {})
        for method, base in bases.items()
    }


def add_legend(figure: Figure, columns: int = 6) -> None:
    """One legend above all panels, each label once."""
    pairs = (zip(*panel.get_legend_handles_labels(), strict=True) for panel in figure.axes)
    handles = {label: handle for handle, label in chain.from_iterable(pairs)}
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=min(len(handles), columns))


def mark_zero(*panels: Axes, vertical: bool = False) -> None:
    """A thin black line where the values are zero."""
    for panel in panels:
        (panel.axvline if vertical else panel.axhline)(0, color="black", linewidth=0.8)


def show_image(axes: Axes, image: NDArray[Any], title: str, **options: Any) -> Any:
    """Show an image without ticks: its pixels are not a measure of length."""
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_title(title)
    return axes.imshow(image, **options)


def show_picture(axes: Axes, rgb: NDArray[Any], title: str, caption: str) -> None:
    """Show a picture in colour, and below it how it was coloured."""
    show_image(axes, rgb, title)
    axes.set_xlabel(caption, fontsize=8)


def add_colour_bar(figure: Figure, image: Any, axes: Any, label: str, **options: Any) -> None:
    """A colour bar without a frame."""
    bar = figure.colorbar(image, ax=axes, **options)
    bar.set_label(label)
    bar.outline.set_visible(False)


def spectral_axis(wavelengths: ArrayLike) -> tuple[NDArray[np.float64], str]:
    """Values and label of a spectrum's horizontal axis: nm, or band numbers if nm are unknown."""
    values = np.asarray(wavelengths, dtype=np.float64)
    if np.isfinite(values).all():
        return values, "wavelength (nm)"
    return np.arange(1.0, values.size + 1), "band"
