"""Figures, as functions that return a matplotlib Figure: of the book's width, closed, and readable with any eye."""

from hsisr_core.plots.colour import false_colour, true_colour
from hsisr_core.plots.degrade import filter_taps, metric_maps
from hsisr_core.plots.network import patch_pairs, reach_maps
from hsisr_core.plots.results import band_near, band_psnr, curves, error_maps, spectral_curves, telling_pixels
from hsisr_core.plots.scenes import band_statistics, cube_views, scene_gallery, split_map
from hsisr_core.plots.style import COLOURS, FALSE_COLOUR_NM, WIDTH, show_image, spectral_axis, styled_figure
from hsisr_core.plots.tables import forest, gain_panels, method_curves, rows_beside
