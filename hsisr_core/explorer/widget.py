"""`SpectralExplorer`: views of cubes and their spectra, live in JupyterLab and without a kernel on a page."""

from __future__ import annotations

import base64
import io
import uuid
from collections.abc import Mapping
from typing import Any

import anywidget
import matplotlib as mpl
import numpy as np
import traitlets
from IPython.display import display
from numpy.typing import ArrayLike
from pydantic import TypeAdapter

from hsisr_core.errors import HsisrError
from hsisr_core.explorer.pack import DATA_BUDGET, CubeSet, pack_cubes
from hsisr_core.explorer.page import SCRIPT, STYLES, draw_band, static_page
from hsisr_core.explorer.state import MOST_PIXELS, MOST_ZOOM, check_state, make_traits
from hsisr_core.models import Bicubic
from hsisr_core.paper import method_label
from hsisr_core.plots import COLOURS
from hsisr_core.runs import Run
from hsisr_core.training import reduced_pairs, super_resolve_clipped


class _Checked(traitlets.TraitType[Any, Any]):
    """A trait whose every value, None too, goes through `check_state`."""

    default_value = None

    def validate(self, explorer: Any, value: Any) -> Any:
        return check_state(str(self.name), value, explorer.rules[self.name])


class SpectralExplorer(anywidget.AnyWidget):
    """Cubes side by side: bands, false colour, errors, and the spectra of pixels and boxes.

    Make one with `from_run` or `from_cubes`. The traits below follow the reader and can be set, observed and linked
    (``ipywidgets.jslink``). Bands, rows and columns are counted from 0, in the whole image even if only a part of it is
    shown. A value that is not as below raises HsisrError.

    - band: of the views that show one band; channels: [red, green, blue], the bands of the false colour
    - mode: "band", "colour" or "error" (absolute, against the reference), unless `views` says otherwise
    - views: the cubes side by side, such as ``["SSRNet", "HR", "HR:colour"]``; after a colon, a mode of that view alone
    - view: [row, column, zoom], the pixel in the middle of every view, and the magnification from 1 to 32
    - pixels: at most six of [row, column] and [top, left, bottom, right] (bottom and right outside the box), whose
      spectra are drawn; hidden: cubes whose curves are not
    - stretch: from black to white, "percentile" (2nd to 98th of the band in the reference) or "linear"; gamma: 0.2 to
      4, brightness is the stretched value to the power 1 / gamma
    - curtain, split: the first two views on one another, the left one up to this share of the width
    - magnifier: whether the surroundings of the pointer are enlarged in a corner of each view
    """

    _esm = SCRIPT
    _css = STYLES
    _meta = traitlets.Dict().tag(sync=True)
    band, channels, mode, views, view, pixels, hidden, stretch, gamma, curtain, split, magnifier = (
        _Checked().tag(sync=True) for _ in range(12)
    )

    def __init__(self, cubes: CubeSet, **state: Any) -> None:
        traits = make_traits(cubes)
        if unknown := sorted(set(state) - set(traits)):
            raise HsisrError(f"An explorer has no {unknown[0]!r}; expected one of {', '.join(traits)}.")
        self.cubes, self.rules = cubes, {name: TypeAdapter(kind) for name, (_, kind) in traits.items()}
        first = {name: value for name, (value, _) in traits.items()}
        cividis = mpl.colormaps["cividis"](range(256), bytes=True)[:, :3].tobytes()
        palette = {"colours": list(COLOURS), "cividis": base64.b64encode(cividis).decode()}
        limits = {"pixels": MOST_PIXELS, "zoom": MOST_ZOOM}
        # by which the widget finds its page without a kernel, to remove it
        meta = cubes.describe() | {"palette": palette, "limits": limits, "id": uuid.uuid4().hex[:12]}
        super().__init__(_meta=meta, **(first | state))
        self.on_msg(self._answer)

    @classmethod
    def from_cubes(
        cls,
        cubes: Mapping[str, ArrayLike],
        wavelengths: ArrayLike | None = None,
        *,
        reference: str | None = None,
        budget: int = DATA_BUDGET,
        margin: tuple[int, int] = (0, 0),
        **state: Any,
    ) -> SpectralExplorer:
        """An explorer of `cubes`.

        Parameters
        ----------
        cubes : mapping of name to array of shape (bands, height, width)
            The finest decides the grid; a coarser one (LR) is smaller by the same whole factor on both sides. NaN is
            shown as no data.
        wavelengths : array, shape (bands,), optional
            Band centres in nm, increasing.
        reference : str, optional
            Name of the cube that the others are measured against; its values lie in [0, 1].
        budget : int
            Bytes of all data as base64; of more, the part in the middle is shown.
        margin : (int, int)
            Bands to leave out at either end, and pixels on each side, where a cube may be NaN.
        **state
            Traits to set.

        Examples
        --------
        >>> hr = np.random.default_rng(0).random((5, 8, 8))
        >>> wavelengths = [450, 500, 550, 600, 650]
        >>> SpectralExplorer.from_cubes({"HR": hr}, wavelengths, band=2).views
        ['HR', 'HR:colour']
        """
        return cls(pack_cubes(cubes, wavelengths, reference=reference, budget=budget, margin=margin), **state)

    @classmethod
    def from_run(cls, *runs: Run, image: str | None = None, **options: Any) -> SpectralExplorer:
        """An explorer of a test image: LR, bicubic, what each run makes of LR, and HR as the reference.

        The runs are of the same data and scale; `image` is one of its test images (default: the first); `options` are
        `budget` as in `from_cubes`, and traits to set. Bands and borders that a network lacks
        (`SuperResolver.margin`) are left out of all cubes; `band` counts those that are shown.
        """
        if not runs or len({(run.fingerprint, run.config.scale, run.config.blur) for run in runs}) > 1:
            raise HsisrError("from_run takes one or more runs with the same data, split, scale and blur.")
        config = runs[0].config
        dataset = config.load_dataset()
        if image is not None and image not in dataset.test:
            names = ", ".join(dataset.test)
            raise HsisrError(f"image={image!r} is not a test image; expected one of {names}.")
        lr, hr = reduced_pairs(dataset, config.scale, config.blur)[image or dataset.test[0]]
        cubes = {"LR": lr, "bicubic": super_resolve_clipped(Bicubic(config.scale), lr)}
        models = [run.model() for run in runs]
        for run, model in zip(runs, models, strict=True):
            label = method_label(run.config.method, run.config.keep_size)
            name = label if label not in cubes else f"{label} {run.folder.name.rsplit('-', 1)[-1]}"
            cubes[name] = super_resolve_clipped(model, lr)
        cubes["HR"] = hr
        unscored = np.isnan(hr[0])
        for name, cube in cubes.items():
            step = config.scale if name == "LR" else 1
            cube[:, unscored[::step, ::step]] = np.nan
        bands, pixels = (max(sizes) for sizes in zip(*(model.margin for model in models), strict=True))
        return cls.from_cubes(cubes, dataset.wavelengths, reference="HR", margin=(bands, pixels), **options)

    def _answer(self, widget: Any, content: Any, buffers: Any) -> None:
        """Send the counts to a view that asks: as traits they would stand in a saved notebook a second time."""
        if content == {"type": "data"}:
            self.send({"type": "data"}, self.cubes.buffers())

    def picture(self) -> bytes:
        """PNG of the band, for viewers that run no scripts."""
        file = io.BytesIO()
        draw_band(self.cubes, self.band).savefig(file, format="png", dpi=100)
        return file.getvalue()

    def html(self, picture: bytes | None = None) -> str:
        """The explorer as it is now, for a page without a kernel; `picture` as from `picture`, if it is there."""
        state = {name: getattr(self, name) for name in ("_meta", *self.rules)}
        caption = f"{', '.join(self.cubes.cubes)}: band {self.band + 1} of {self.cubes.bands} and spectra"
        return static_page(state, self.cubes.buffers(), picture or self.picture(), caption)

    def _ipython_display_(self) -> None:
        """Show the widget, and below it the page without a kernel, which goes where the widget is live."""
        # two outputs: of one, `nbconvert` takes the widget alone, which needs a kernel
        view = "application/vnd.jupyter.widget-view+json"
        # without the text, which the book would take
        display({view: self._repr_mimebundle_()[0][view]}, raw=True)
        picture = self.picture()
        text, image = f"SpectralExplorer of {', '.join(self.cubes.cubes)}", base64.b64encode(picture).decode()
        page = {"text/plain": text, "text/html": self.html(picture), "image/png": image}
        display(page, raw=True)
