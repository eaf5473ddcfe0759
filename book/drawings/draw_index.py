"""Draw the picture that opens the book: ``python book/drawings/draw_index.py path/to/stuffed_toys_ms``.

The scene is a test scene of the shipped x4 weights (split cave-25) and is not part of this repository.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from hsisr_core.data import read_scene
from hsisr_core.degrade import bicubic, make_pair
from hsisr_core.metrics import psnr, sam
from hsisr_core.plots import COLOURS, band_near, show_image, styled_figure, true_colour
from hsisr_core.plots.style import add_colour_bar
from hsisr_core.pretrained import load_pretrained
from hsisr_core.training import super_resolve_clipped
from hsisr_core.upscale import adapt_network

SCALE = 4
ROWS, COLUMNS = slice(96, 288), slice(144, 336)  # in HR pixels: detail, edges and colours


@styled_figure
def draw(path: str) -> plt.Figure:
    """LR, bicubic, SSRNet and HR of a part of the scene; the errors in one band; one spectrum."""
    scene = read_scene(path)
    lr, hr = make_pair(scene.cube.astype(np.float64), SCALE)
    weights = load_pretrained(None, SCALE)
    # they were trained on eight bands, and take any: the mean is that of the cube
    model, _ = adapt_network(weights, lr.mean(axis=(1, 2)), scene.wavelengths)
    cubes = {"bicubic": bicubic(lr, SCALE).clip(0, 1), "SSRNet": super_resolve_clipped(model, lr)}
    band = band_near(scene.wavelengths)
    errors = {name: np.abs(cube - hr)[band, ROWS, COLUMNS] for name, cube in cubes.items()}
    limit = float(np.percentile(errors["bicubic"], 99.5))
    figure = plt.figure(figsize=(9, 5))
    grid = figure.add_gridspec(2, 4)
    coarse = lr.repeat(SCALE, axis=1).repeat(SCALE, axis=2)
    pictures = {"LR": coarse, **cubes, "HR": hr}
    # a pixel where bicubic interpolation errs more than in 99 % of the part
    miss = np.abs(cubes["bicubic"] - hr)[:, ROWS, COLUMNS].mean(axis=0)
    order = np.argsort(miss, axis=None)
    row, column = np.unravel_index(order[int(0.99 * miss.size)], miss.shape)
    for place, (name, cube) in enumerate(pictures.items()):
        part = cube[:, ROWS, COLUMNS]
        title = name
        if name in cubes:
            title += f"  {psnr(cube, hr):.2f} dB, {sam(cube, hr):.2f}°"
        panel = figure.add_subplot(grid[0, place])
        show_image(panel, true_colour(part, scene.wavelengths)[0], title)
        panel.plot(column, row, "o", markersize=8, markerfacecolor="none", color="white")
    panels = [figure.add_subplot(grid[1, place]) for place in range(len(errors))]
    for panel, (name, error) in zip(panels, errors.items(), strict=True):
        at = f"{scene.wavelengths[band]:.0f} nm"
        image = show_image(panel, error, f"error of {name}, {at}", vmin=0, vmax=limit)
    add_colour_bar(figure, image, panels, "absolute error", extend="max", aspect=30)
    panel = figure.add_subplot(grid[1, 2:])
    looks = {"HR": "black"} | dict(zip(cubes, COLOURS, strict=False))
    for name, colour in looks.items():
        spectrum = pictures[name][:, ROWS, COLUMNS][:, row, column]
        panel.plot(scene.wavelengths, spectrum, color=colour, label=name)
    panel.set(xlabel="wavelength (nm)", ylabel="value (full scale = 1)", title="spectrum at the circle")
    panel.legend()
    return figure


if __name__ == "__main__":
    file = Path(__file__).parents[1] / "_assets" / "index.png"
    draw(sys.argv[1]).savefig(file, dpi=120)
    # 256 colours, rare ones too, are enough for the eye and a quarter of the bytes
    Image.open(file).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1).save(
        file, optimize=True
    )
