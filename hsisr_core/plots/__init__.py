"""Figures, as functions that return a matplotlib Figure: of the book's width, closed, and readable with any eye."""

from hsisr_core.plots.colour import false_colour, true_colour
from hsisr_core.plots.datasets import (
    contact_sheet,
    contact_sheets,
    dataset_spectra,
    dataset_table,
    split_map,
    stores_at_hand,
    wavelength_steps_back,
)
from hsisr_core.plots.degrade import border_rule, filter_taps, metric_maps
from hsisr_core.plots.network import cost_against_size, cost_bars, patch_pairs, reach_maps, roofline
from hsisr_core.plots.results import (
    band_near,
    band_psnr,
    curves,
    error_maps,
    side_by_side,
    spectral_curves,
    telling_pixels,
)
from hsisr_core.plots.scenes import band_statistics, cube_views, mean_spectra, scene_gallery
from hsisr_core.plots.style import (
    COLOURS,
    DASHES,
    FALSE_COLOUR_NM,
    WIDTH,
    show_image,
    spectral_axis,
    styled_figure,
)
from hsisr_core.plots.tables import (
    convergence,
    cost_panels,
    forest,
    gain_panels,
    margin_panels,
    method_curves,
    rank_maps,
    rows_beside,
    size_and_quality,
)

__all__ = [
    "COLOURS", "DASHES", "FALSE_COLOUR_NM", "WIDTH", "band_near", "band_psnr", "band_statistics",
    "border_rule", "contact_sheet", "contact_sheets", "convergence", "cost_against_size", "cost_bars",
    "cost_panels", "cube_views", "curves", "dataset_spectra", "dataset_table", "error_maps", "false_colour",
    "filter_taps", "forest", "gain_panels", "margin_panels", "mean_spectra", "method_curves", "metric_maps",
    "patch_pairs", "rank_maps", "reach_maps", "roofline", "rows_beside", "scene_gallery", "show_image",
    "side_by_side", "size_and_quality", "spectral_axis", "spectral_curves", "split_map", "stores_at_hand",
    "styled_figure", "telling_pixels", "true_colour", "wavelength_steps_back",
]  # fmt: skip
