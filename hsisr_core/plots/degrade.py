"""Figures of the reduction to LR and of the metrics (chapter 02)."""

from __future__ import annotations

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from hsisr_core.degrade import resize_matrix
from hsisr_core.plots import style
from hsisr_core.plots.style import WIDTH, styled_figure


@styled_figure
def filter_taps(scale: int) -> Figure:
    """What one LR pixel takes from a line of HR pixels, under three rules that are all called bicubic."""
    # only here: the other figures need not wait for it
    import torch

    out = 12
    length = out * scale
    rules = {"MATLAB": resize_matrix(length, out, 1 / scale)}
    # every HR pixel in turn is set to 1 and the line is reduced
    impulses = torch.eye(length, dtype=torch.float64)[None, :, None, :]
    reduce = partial(torch.nn.functional.interpolate, impulses, size=(1, out), mode="bicubic")
    for label, antialias in (("PyTorch, antialias", True), ("PyTorch, default", False)):
        rules[label] = reduce(antialias=antialias)[0, :, 0].numpy()
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.7), sharey=True)
    places = {"an LR pixel inside": out // 2, "the LR pixel at the border": 0}
    # The larger marks are hollow: seen below the others.
    marks = (("o", 8, "white"), ("s", 4, None), ("^", 4, None))
    for panel, (title, place) in zip(axes, places.items(), strict=True):
        used = np.flatnonzero(np.any([np.abs(matrix[:, place]) > 1e-12 for matrix in rules.values()], axis=0))
        hr_pixels = np.arange(used[0], used[-1] + 1)
        lines = zip(rules.values(), style.line_styles(rules).values(), marks, strict=True)
        for matrix, look, (mark, size, fill) in lines:
            taps = matrix[hr_pixels, place]
            panel.plot(hr_pixels, taps, marker=mark, markersize=size, markerfacecolor=fill, **look)
        style.mark_zero(panel)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.set(title=title, xlabel="HR pixel")
    axes[0].set_ylabel("weight")
    style.add_legend(figure)
    return figure


@styled_figure
def metric_maps(sr: ArrayLike, hr: ArrayLike) -> Figure:
    """Three metrics as maps (see `score_maps`): each is computed from the mean of its map, which the title gives."""
    from hsisr_core.metrics import score_maps  # it waits for PyTorch

    error, similarity, angle = score_maps(sr, hr).values()
    decibel = -10 * np.log10(error.mean()) if error.any() else np.inf
    maps = (
        (np.sqrt(error), f"PSNR {decibel:.2f} dB", "RMS error over the bands", "cividis", 0),
        (similarity, f"SSIM {np.nanmean(similarity):.4f}", "SSIM of the window", "cividis_r", 1),
        (angle, f"SAM {np.nanmean(angle):.3f} degrees", "angle (degrees)", "cividis", 0),
    )
    height, width = error.shape
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, min(WIDTH / 3 * height / width, 4.0) + 0.9))
    for panel, (values, title, label, colours, best) in zip(axes, maps, strict=True):
        low, high = sorted((best, np.nanpercentile(values, 0.5 if best else 99.5)))
        image = style.show_image(panel, values, title, cmap=colours, vmin=low, vmax=high)
        style.add_colour_bar(figure, image, panel, label, location="bottom", pad=0.03, shrink=0.9)
    return figure
