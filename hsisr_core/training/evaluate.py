"""Score a network on the test images of a dataset, under the paper's test protocol; score finished runs again."""

import warnings
from bisect import bisect_right
from typing import Any

import numpy as np
import pandas as pd

from hsisr_core.data import Dataset, load_dataset
from hsisr_core.degrade import make_pair, shrink_mask
from hsisr_core.errors import HsisrError
from hsisr_core.fast import bytes_needed, super_resolve
from hsisr_core.metrics import WINDOW, score, whole_windows
from hsisr_core.models import Bicubic, SuperResolver
from hsisr_core.runs import Run

TEST_SIDE = 512  # pixels: the paper tests on the top left 512 x 512 (Sec. IV-B)
PROTOCOL = (
    "HR cropped to its top left 512x512, then to a multiple of the scale; LR by MATLAB-style antialiased bicubic; "
    "SR clipped to [0, 1]; PSNR over the whole cube, SSIM mean over bands, SAM in degrees; mean over images; "
    "a network that returns less than HR is scored on that, and bicubic beside it too; SR made of LR whose kernel "
    "touches a pixel without a measurement is not scored"
)
GIGABYTES = 3.0  # that a network may need for a scene, before it is cut into tiles
Pairs = dict[str, tuple[np.ndarray, np.ndarray]]  # LR and HR by the name of the image
_METRICS = ("psnr", "mpsnr", "ssim", "sam", "rmse", "ergas")


def describe_protocol(blur: float | None) -> str:
    """`PROTOCOL`, with the blur where there is one."""
    if blur is None:
        return PROTOCOL
    said = f"blurred by a 7x7 Gaussian of standard deviation {blur:g} HR pixels, its border replicated; LR by"
    return PROTOCOL.replace("LR by", said, 1)


def reduced_pairs(dataset: Dataset, scale: int, blur: float | None = None) -> Pairs:
    """LR and HR cubes of every test image, by name; HR is NaN where it is not scored (see `reduce_measured`)."""
    pairs = {}
    for name in dataset.test:
        scene = dataset.scene(name)
        corner = slice(TEST_SIDE)
        mask = None if scene.mask is None else scene.mask[corner, corner]
        pairs[name] = reduce_measured(scene.cube[:, corner, corner], mask, scale, f"Test image {name}", blur)
    return pairs


def reduce_measured(
    cube: np.ndarray, mask: np.ndarray | None, scale: int, what: str, blur: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """`make_pair` of a cube of which the pixels inside `mask` (height, width) are measured.

    Where it is False the nearest measured pixel stands in. HR is NaN in all pixels that bicubic interpolation makes of
    an LR pixel whose kernel touches one of these. HsisrError, which names `what`, if too little is left for an SSIM.
    """
    if mask is None:
        return make_pair(cube, scale, blur)
    # a tenth of a second to import
    from scipy.ndimage import distance_transform_edt

    rows, columns = distance_transform_edt(~mask, return_distances=False, return_indices=True)
    lr, hr = make_pair(cube[:, rows, columns], scale, blur)
    measured = shrink_mask(shrink_mask(mask[: hr.shape[1], : hr.shape[2]], 1 / scale, blur), scale)
    if not whole_windows(measured, WINDOW).any():
        raise HsisrError(
            f"{what} has too few measured pixels: no {WINDOW}x{WINDOW} that the reduction by {scale} keeps clear of "
            "the others. Choose another part of the scene."
        )
    hr[:, ~measured] = np.nan
    return lr, hr


def evaluate(
    model: SuperResolver, pairs: Pairs, method: str, bicubic: bool = True, self_ensemble: bool = False
) -> list[dict[str, Any]]:
    """A row of scores for every pair and result: bicubic, the `method` of `model`, and its self-ensemble, METHOD+.

    All are scored on what `model` keeps of HR (`SuperResolver.margin`); scored_border are the pixels left out on each
    side, masked_pixels (where there are some) those where HR is NaN. PSNR and MPSNR are in dB, SAM in degrees.
    """
    entries: list[tuple[str, SuperResolver, bool]] = [(method, model, False)]
    if bicubic:
        entries.insert(0, ("bicubic", Bicubic(model.scale), False))
    if self_ensemble:
        entries.append((f"{method}+", model, True))
    rows = []
    for image, (lr, hr) in pairs.items():
        kept = model.kept(hr)
        mask = np.isfinite(kept[0])
        masked = int(mask.size - mask.sum())
        region = {"scored_bands": len(kept), "scored_border": model.margin[1]}
        if masked:
            region["masked_pixels"] = masked
        for result, network, ensemble in entries:
            sr = super_resolve_clipped(network, lr, ensemble)
            scores = score(model.kept(sr), kept, model.scale, mask if masked else None)
            rows.append({"image": image, "result": result, **scores, **region})
    return rows


def super_resolve_clipped(model: SuperResolver, lr: np.ndarray, self_ensemble: bool = False) -> np.ndarray:
    """SR as it is scored: `super_resolve` clipped to [0, 1], in tiles where memory asks for it."""
    return super_resolve(model, lr, tile_for(model, lr), self_ensemble).clip(0, 1)


def mean_scores(rows: list[dict[str, Any]], result: str) -> dict[str, float]:
    """Mean of every metric over the images of one method (the paper averages the same way)."""
    chosen = [row for row in rows if row["result"] == result]
    return {metric: float(np.mean([row[metric] for row in chosen])) for metric in _METRICS}


def tile_for(model: SuperResolver, lr: np.ndarray, gigabytes: float = GIGABYTES) -> int | None:
    """Largest tile for which inference needs at most `gigabytes`; None when the whole cube fits, or must be taken."""
    bands, height, width = lr.shape
    needed = bytes_needed(model, bands, height, width)
    if needed <= gigabytes * 1e9:
        return None
    if model.halo >= max(height, width):
        warnings.warn(
            f"The network takes the scene at once, for about {needed / 1e9:.0f} GB. Only one with an attribute `halo`, "
            "the LR pixels around one that can change its SR, takes it in tiles.",
            stacklevel=2,
        )
        return None
    sides = range(max(height, width) + 1)
    largest = bisect_right(sides, gigabytes * 1e9, key=lambda side: bytes_needed(model, bands, side, side))
    return max(16, largest - 1 - 2 * model.halo)


def rescore(
    run: Run, data: str | None = None, split: str | None = None, self_ensemble: bool = False
) -> pd.DataFrame:
    """Score the network of `run` on its own test images, or on those of `data` and `split`; also its self-ensemble.

    A row per image and method, with the columns of `load_results`; ``dataset`` and ``split`` are those scored on.
    """
    config, metrics = run.config, run.metrics
    dataset = config.load_dataset(split) if data is None else load_dataset(data, split)
    pairs = reduced_pairs(dataset, config.scale, config.blur)
    rows = evaluate(run.model(), pairs, config.method, self_ensemble=self_ensemble)
    shared = config.to_dict() | {
        "run": run.folder.name,
        "dataset": dataset.name,
        "split": dataset.split.name,
        "fingerprint": dataset.fingerprint,
        "trained_steps": metrics["steps"],
        **{name: metrics[name] for name in ("seconds", "parameters")},
    }
    return pd.DataFrame([shared | row for row in rows])
