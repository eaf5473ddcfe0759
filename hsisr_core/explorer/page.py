"""An explorer without a kernel: one piece of HTML that holds the script, the styles, the data and a picture."""

import base64
import html
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hsisr_core.explorer.pack import CubeSet
from hsisr_core.plots import WIDTH, show_image, spectral_axis, styled_figure

SCRIPT = Path(__file__).with_name("explorer.js").read_text(encoding="utf-8")
STYLES = Path(__file__).with_name("explorer.css").read_text(encoding="utf-8")


def static_page(state: Mapping[str, Any], buffers: list[bytes], picture: bytes, caption: str) -> str:
    """A ``div`` that holds everything, a module that draws into it, and a PNG where no scripts run."""
    place = f"hsisr-explorer-{uuid.uuid4().hex[:12]}"
    content = {"state": dict(state), "data": [base64.b64encode(buffer).decode() for buffer in buffers]}
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    source = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    return (
        f'<div class="hsisr-explorer" id="{place}" data-explorer="{state["_meta"]["id"]}"><style>{STYLES}</style>'
        f'<script type="application/json">{text}</script>'
        f'<noscript><img alt="{html.escape(caption)}" src="{source}"></noscript></div>'
        f'<script type="module">{SCRIPT}\nmountPage(document.getElementById("{place}"));</script>'
    )


@styled_figure
def draw_band(cubes: CubeSet, band: int) -> Figure:
    """One band of each cube, of at most four."""
    x, label = spectral_axis(cubes.wavelengths)
    names = list(cubes.cubes)
    shown = names[:3] + names[3:][-1:]  # the reference often comes last
    finest = next(cube.name for cube in cubes.cubes.values() if cube.ratio == 1)
    anchor = cubes.values(cubes.reference or finest)[band]
    low, high = np.nanpercentile(anchor, (2, 98)) if np.isfinite(anchor).any() else (0, 1)
    tall = WIDTH / max(len(shown), 2) * anchor.shape[0] / anchor.shape[1]
    figure = Figure(figsize=(WIDTH, tall + 0.3))
    place = f"{x[band]:.0f} nm" if label != "band" else f"band {band + 1}"
    for panel, name in zip(figure.subplots(1, len(shown), squeeze=False).flat, shown, strict=True):
        show_image(panel, cubes.values(name)[band], f"{name}, {place}", cmap="gray", vmin=low, vmax=high)
    return figure
