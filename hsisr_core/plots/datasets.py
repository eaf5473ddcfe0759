"""Several datasets side by side, for chapter 01: what is at hand, contact sheets, spectra, differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import cycle
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hsisr_core.base import atomic_path
from hsisr_core.data import DATASETS, Dataset, Scene, Sheet, Store, commands, prepared_store, thumbnail
from hsisr_core.errors import HsisrError
from hsisr_core.plots.scenes import scene_gallery
from hsisr_core.plots.style import COLOURS, DASHES, WIDTH, styled_figure

__all__ = [
    "contact_sheet",
    "contact_sheets",
    "dataset_spectra",
    "dataset_table",
    "gallery",
    "stores_at_hand",
]


def stores_at_hand(dataset: Dataset) -> tuple[dict[str, Store], dict[str, tuple[str, str]]]:
    """The paper's datasets that are prepared, after `dataset`; and the commands that get the others.

    Returns
    -------
    stores : dict
        By name of the dataset.
    missing : dict
        (fetch, prepare), by name of the dataset.
    """
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
        yield gallery(
            {thumbnail(scene): (scene.bands, scene.height, scene.width) for scene in _some(store, most)}
        )


def contact_sheet(sheet: Sheet, path: Path) -> None:
    """Write a picture of all scenes of a data sheet in false colour to `path`, a .png, whole or not at all."""
    if path.suffix.lower() != ".png":
        raise HsisrError(f"{path} is not a name for the contact sheet; expected one that ends in .png.")
    figure = gallery({facts.thumbnail: facts.shape for facts in sheet.scenes})
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)


@styled_figure
def gallery(thumbnails: Mapping[Scene, tuple[int, int, int]]) -> Figure:
    """Pictures of scenes that are given as thumbnails, with the true (bands, height, width) of each."""
    figure = scene_gallery(list(thumbnails))
    for panel, (scene, (bands, height, width)) in zip(figure.axes, thumbnails.items(), strict=False):
        panel.set_title(f"{scene.name}\n{bands} bands, {height}×{width}")
    return figure


@styled_figure
def dataset_spectra(stores: Mapping[str, Store], most: int = 8) -> Figure:
    """Mean spectrum of each dataset, the range of its scenes, and each scene's mean value and spread.

    Left: mean over at most `most` scenes of each; shaded, from the lowest to the highest scene. A dataset
    without known wavelengths is left out there. Right: a mark per scene, mean value against the standard
    deviation of the image averaged over the bands.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.2), width_ratios=(3, 2))
    styles = zip(cycle(COLOURS), cycle(DASHES), cycle("osD^v"), strict=False)
    for (name, store), (colour, dash, mark) in zip(stores.items(), styles, strict=False):
        moments = [_moments(scene) for scene in _some(store, most)]
        means = np.stack([mean for mean, _ in moments])
        x = store.wavelengths(store.names[0])
        if np.isfinite(x).all():
            left.fill_between(x, means.min(axis=0), means.max(axis=0), color=colour, alpha=0.15, linewidth=0)
            left.plot(x, means.mean(axis=0), color=colour, linestyle=dash, label=name)
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

    Columns: scenes, bands, nm, pixels (of the first scene), mean value, contrast (standard deviation of a
    band's pixels over their mean), detail (root mean square of the difference of neighbouring pixels over
    that standard deviation), link (correlation of neighbouring bands), zero (share of pixels that are zero in all
    bands). The last five are medians over scenes and bands, but for zero, which is a mean.
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


def _differences(scene: Scene) -> tuple[float, float, float, float, float]:
    mean, deviation = _moments(scene)
    lit = deviation > 0  # a dead band has no contrast and no correlation
    if not lit.any():
        return float(mean.mean()), 0.0, 0.0, np.nan, float(not mean.any())
    steps = [
        np.sqrt((np.square(np.diff(image, axis=0)).mean() + np.square(np.diff(image, axis=1)).mean()) / 2)
        for image in scene.cube
    ]
    links = [
        np.corrcoef(scene.cube[band].ravel(), scene.cube[band + 1].ravel())[0, 1]
        for band in range(scene.bands - 1)
        if lit[band] and lit[band + 1]
    ]
    return (
        float(mean.mean()),
        float(np.median(deviation[lit] / mean[lit])),
        float(np.median(np.array(steps)[lit] / deviation[lit])),
        float(np.median(links)) if links else np.nan,
        float((~scene.cube.any(axis=0)).mean()),
    )
