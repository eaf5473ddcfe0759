"""How the scenes of a dataset are split (chapter 01)."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hsisr_core.data import Dataset
from hsisr_core.plots import style
from hsisr_core.plots.colour import false_colour
from hsisr_core.plots.style import COLOURS, styled_figure


@styled_figure
def split_map(dataset: Dataset, limit: int = 8) -> Figure:
    """False-colour pictures of at most `limit` scenes, those that test first, with the regions that train and test.

    Pixels that no region uses are paled. Training regions have a solid frame, test regions a dashed one.
    """
    split = dataset.split
    names = list(dict.fromkeys(region.scene for region in (*split.test, *split.train)))
    shown = names[:limit]
    shapes = [dataset.store.shape(name)[1:] for name in shown]
    figure, axes = style.picture_grid(shapes, min(max(len(shown), 2), 4))
    sides = (("train", split.train, COLOURS[0], "-"), ("test", split.test, COLOURS[1], "--"))
    for panel, name in zip(axes, shown, strict=True):
        # one at a time: a scene can be large
        scene = dataset.store.read(name)
        rgb, caption = false_colour(scene.cube, scene.wavelengths)
        unused = np.ones((scene.height, scene.width), bool)
        for side, regions, colour, dash in sides:
            for region in (item for item in regions if item.scene == name):
                (top, bottom), (left, right) = region.bounds(scene.height, scene.width)
                unused[top:bottom, left:right] = False
                # so that frames of neighbours do not cover each other
                inset = 0.012 * max(right - left, bottom - top)
                corner, width, height = (left - 0.5 + inset, top - 0.5 + inset), right - left, bottom - top
                frame = Rectangle(corner, width - 2 * inset, height - 2 * inset, fill=False, edgecolor=colour)
                frame.set(linestyle=dash, linewidth=2.2)
                panel.add_patch(frame)
                text = side if region.name == region.scene else f"{side}: {region.name}"
                label = {"boxstyle": "round,pad=0.25", "facecolor": colour, "edgecolor": "none"}
                place = left + 3 * inset, top + 3 * inset
                panel.text(*place, text, color="white", fontsize=8, va="top", bbox=label)
        rgb[unused] = 0.35 * rgb[unused] + 0.65
        style.show_picture(panel, rgb, f"{name}\n{scene.height}×{scene.width}", caption)
    if len(shown) < len(names):
        figure.suptitle(f"{len(shown)} of {len(names)} scenes", fontsize=8.5)
    return figure
