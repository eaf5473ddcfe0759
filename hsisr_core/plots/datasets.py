"""Figures of datasets: how their scenes are split, what is at hand, and how they differ (chapter 01)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from hsisr_core.base import atomic_path
from hsisr_core.data import DATASETS, Dataset, Region, Sheet, Store, commands, prepared_store, thumbnail
from hsisr_core.errors import HsisrError
from hsisr_core.plots import style
from hsisr_core.plots.colour import false_colour
from hsisr_core.plots.scenes import scene_gallery
from hsisr_core.plots.style import COLOURS, WIDTH, styled_figure
from hsisr_core.scenes import Scene


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
        # One at a time: a scene can be large.
        scene = dataset.store.read(name)
        rgb, caption = false_colour(scene)
        unused = np.ones((scene.height, scene.width), bool)
        for side, regions, colour, dash in sides:
            for region in (item for item in regions if item.scene == name):
                (top, bottom), (left, right) = region.bounds(scene.height, scene.width)
                unused[top:bottom, left:right] = False
                _frame(panel, region, (top, bottom, left, right), side, colour, dash)
        rgb[unused] = 0.35 * rgb[unused] + 0.65
        style.show_picture(panel, rgb, f"{name}\n{scene.height}×{scene.width}", caption)
    if len(shown) < len(names):
        figure.suptitle(f"{len(shown)} of {len(names)} scenes", fontsize=8.5)
    return figure


def _frame(
    panel: Axes, region: Region, box: tuple[int, int, int, int], side: str, colour: str, dash: str
) -> None:
    """Frame the pixels top to bottom, left to right of `box`, with the region's name in a corner."""
    top, bottom, left, right = box
    # So that frames of neighbours do not cover each other.
    inset = 0.012 * max(right - left, bottom - top)
    corner, width, height = (left - 0.5 + inset, top - 0.5 + inset), right - left, bottom - top
    frame = Rectangle(corner, width - 2 * inset, height - 2 * inset, fill=False)
    frame.set(edgecolor=colour, linestyle=dash, linewidth=2.2)
    panel.add_patch(frame)
    text = side if region.name == region.scene else f"{side}: {region.name}"
    place = (left + 3 * inset, top + 3 * inset)
    label = {"boxstyle": "round,pad=0.25", "facecolor": colour, "edgecolor": "none"}
    panel.text(*place, text, color="white", fontsize=8, va="top", ha="left", bbox=label)


def stores_at_hand(dataset: Dataset) -> tuple[dict[str, Store], dict[str, tuple[str, str]]]:
    """The paper's datasets that are prepared, after `dataset`; and (fetch, prepare) commands for the others."""
    stores, missing = {dataset.name: dataset.store}, {}
    for name in DATASETS:
        if name not in stores:
            try:
                stores[name] = Store(prepared_store(name))
            except HsisrError:
                missing[name] = commands(name)
    return stores, missing


def contact_sheets(stores: Mapping[str, Store], most: int = 8) -> Iterator[Figure]:
    """Pictures in false colour of each dataset, of at most `most` scenes spread over its list."""
    for store in stores.values():
        yield _gallery(
            {thumbnail(scene): (scene.bands, scene.height, scene.width) for scene in _some(store, most)}
        )


def contact_sheet(sheet: Sheet, path: Path) -> None:
    """Write a picture of all scenes of a data sheet in false colour to `path`, a .png, whole or not at all."""
    if path.suffix.lower() != ".png":
        raise HsisrError(f"{path} is not a name for the contact sheet; expected one that ends in .png.")
    figure = _gallery(sheet.thumbnails)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)


@styled_figure
def _gallery(thumbnails: Mapping[Scene, tuple[int, int, int]]) -> Figure:
    """Pictures of scenes that are given as thumbnails, with the true (bands, height, width) of each."""
    figure = scene_gallery(list(thumbnails))
    for panel, (scene, (bands, height, width)) in zip(figure.axes, thumbnails.items(), strict=False):
        panel.set_title(f"{scene.name}\n{bands} bands, {height}×{width}")
    return figure


@styled_figure
def dataset_spectra(stores: Mapping[str, Store], most: int = 8) -> Figure:
    """Mean spectrum of each dataset and the range of its scenes; right, each scene's mean value and contrast.

    Of at most `most` scenes of each. A dataset without known wavelengths is left out on the left.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.2), width_ratios=(3, 2))
    styles = style.line_styles(stores)
    for (name, store), mark in zip(stores.items(), cycle("osD^v"), strict=False):
        colour = styles[name]["color"]
        moments = [_moments(scene) for scene in _some(store, most)]
        means = np.stack([mean for mean, _ in moments])
        x = store.wavelengths(store.names[0])
        if np.isfinite(x).all():
            left.fill_between(x, means.min(axis=0), means.max(axis=0), color=colour, alpha=0.15, linewidth=0)
            left.plot(x, means.mean(axis=0), **styles[name])
        spread = [float(deviation.mean()) for _, deviation in moments]
        right.plot(means.mean(axis=1), spread, mark, color=colour, label=name)
    left.set(xlabel="wavelength (nm)", ylabel="value (full scale = 1)")
    right.set(xlabel="mean value", ylabel="contrast (standard deviation)")
    right.set_xlim(left=0)
    right.set_ylim(bottom=0)
    right.legend()
    return figure


def dataset_table(stores: Mapping[str, Store], most: int = 8) -> pd.DataFrame:
    """How datasets differ, a row each, from at most `most` scenes spread over the list.

    ``contrast``: standard deviation of a band's pixels over their mean; ``detail``: root mean square of the difference
    of neighbouring pixels over that standard deviation; ``link``: correlation of neighbouring bands; ``zero``: share
    of pixels that are zero in all bands. Medians over scenes and bands, but for the last, a mean.
    """
    rows = []
    for name, store in stores.items():
        facts = np.array([_differences(scene) for scene in _some(store, most)])
        x, (bands, height, width) = store.wavelengths(store.names[0]), store.shape(store.names[0])
        nm = f"{x[0]:.0f} to {x[-1]:.0f}" if np.isfinite(x).all() else "unknown"
        medians = np.median(facts[:, :4], axis=0)
        rows.append((name, len(store.names), bands, nm, f"{height}×{width}", *medians, facts[:, 4].mean()))
    columns = ["dataset", "scenes", "bands", "nm", "pixels", "mean", "contrast", "detail", "link", "zero"]
    return pd.DataFrame(rows, columns=columns)


def _some(store: Store, most: int) -> Iterator[Scene]:
    """Read at most `most` scenes, spread over the list, one at a time."""
    count = min(most, len(store.names))
    for index in np.linspace(0, len(store.names) - 1, count).round().astype(int):
        yield store.read(store.names[index])


def _moments(scene: Scene) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each band, (bands,)."""
    pixels = scene.cube.reshape(scene.bands, -1)
    return pixels.mean(axis=1, dtype=np.float64), pixels.std(axis=1, dtype=np.float64)


def _differences(scene: Scene) -> tuple[Any, ...]:
    """Mean, contrast, detail, link and zero, as in `dataset_table`."""
    mean, deviation = _moments(scene)
    # A dead band has no contrast and no correlation.
    lit = deviation > 0
    if not lit.any():
        return mean.mean(), 0.0, 0.0, np.nan, not mean.any()
    steps = [
        np.sqrt((np.square(np.diff(image, axis=0)).mean() + np.square(np.diff(image, axis=1)).mean()) / 2)
        for image in scene.cube
    ]
    links = [
        np.corrcoef(scene.cube[band].ravel(), scene.cube[band + 1].ravel())[0, 1]
        for band in range(scene.bands - 1)
        if lit[band] and lit[band + 1]
    ]
    contrast, detail = np.median([deviation[lit] / mean[lit], np.array(steps)[lit] / deviation[lit]], axis=1)
    return mean.mean(), contrast, detail, np.median(links or np.nan), (~scene.cube.any(axis=0)).mean()
