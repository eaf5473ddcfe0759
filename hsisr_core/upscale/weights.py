"""Open trained weights: shipped ones by name, a packed file or a run folder by its path. Nothing is unpickled."""

import copy
import inspect
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from safetensors import SafetensorError

from hsisr_core.base import AnyPath, sha256_file
from hsisr_core.data import Dataset
from hsisr_core.degrade import check_scale
from hsisr_core.errors import HsisrError
from hsisr_core.models import Bicubic, Repeated, SuperResolver
from hsisr_core.paper import data_label
from hsisr_core.runs import FOLDER, Run, build_packed, read_packed, read_run, shipped, shipped_file

_FACTOR = 3.0  # brightness, contrast or noise that differ by more than this are reported
_STEP_FACTOR = 2.0  # likewise of the distance between bands
_LEAST_NOISE = 1e-3  # of full scale: below it, noise plays no part


@dataclass(frozen=True)
class Statistics:
    """Statistics of cubes in [0, 1], each a list of one number per band; wavelengths in nm, empty if unknown."""

    mean: list[float]
    std: list[float]
    # standard deviation of the noise (Immerkaer, "Fast noise variance estimation", CVIU 1996; by the median)
    noise: list[float]
    wavelengths: list[float]

    @classmethod
    def of(cls, cubes: Sequence[NDArray[np.float32]], wavelengths: NDArray[np.float64]) -> Self:
        """Measure cubes (bands, height, width) of the same bands; of the noise, the median over the cubes."""
        pixels = [float(cube[0].size) for cube in cubes]
        means = [cube.mean(axis=(1, 2), dtype=np.float64) for cube in cubes]
        mean = np.average(means, axis=0, weights=pixels)
        square = np.average([np.mean(np.square(cube, dtype=np.float64), (1, 2)) for cube in cubes], 0, pixels)
        std = np.sqrt(np.maximum(square - mean**2, 0))
        noise = np.median([_noise(cube) for cube in cubes], axis=0)
        centres = wavelengths[np.isfinite(wavelengths)].round(3).tolist()
        return cls(mean.round(6).tolist(), std.round(6).tolist(), noise.round(6).tolist(), centres)

    @property
    def step(self) -> float:
        """Median distance of the bands in nm; NaN if unknown."""
        return float(np.median(np.diff(self.wavelengths))) if len(self.wavelengths) > 1 else np.nan


def _noise(cube: NDArray[np.float32]) -> NDArray[np.float64]:
    """Standard deviation of the noise of each band: a Laplacian of a Laplacian leaves little else."""
    rows = cube[:, :-2] - 2 * cube[:, 1:-1] + cube[:, 2:]
    both = rows[..., :-2] - 2 * rows[..., 1:-1] + rows[..., 2:]
    # 6 is the norm of the kernel
    return np.median(np.abs(both), axis=(1, 2)).astype(np.float64) / (0.6745 * 6)


class _Info(BaseModel):
    """What is read of the description in a packed file."""

    name: str
    method: str
    scale: int
    options: dict[str, Any]
    mirror: int
    trained_on: str
    statistics: Statistics
    source: str | None = None
    blur: float | None = None


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A trained network and what is known of it: `trained_on` is a sentence; bicubic interpolation has no `sha256`."""

    name: str
    model: SuperResolver
    sha256: str
    trained_on: str
    # of the training data; None if unknown
    statistics: Statistics | None
    # of HR in the training and in its scores (see `RunConfig`)
    blur: float | None = None

    @property
    def bands(self) -> int | None:
        """The number of bands a cube must have; None: any."""
        network = self.model.network if isinstance(self.model, Repeated) else self.model
        return len(network.mean) if "bands" in inspect.signature(type(network)).parameters else None


def load_pretrained(
    name_or_path: AnyPath | None = None, scale: int | None = None, folder: Path = FOLDER
) -> Pretrained:
    """Open trained weights.

    `name_or_path` is a name in `shipped(folder)`; the path of a packed file (.safetensors) or of a finished run folder;
    "bicubic", which needs no training; or None: the shipped weights for `scale`, the factor r (None: that of the
    weights). For x8, weights for x2 are applied three times where there are no others. HsisrError if there are no such
    weights, they are for another scale, or damaged.
    """
    given = None if name_or_path is None else str(name_or_path)
    if scale is not None:
        check_scale(scale)
    if given == "bicubic":
        if scale is None:
            raise HsisrError("Model 'bicubic' needs a scale: give 2, 3, 4 or 8.")
        return Pretrained(given, Bicubic(scale), "", "nothing: it is interpolation", None)
    entries = shipped(folder)
    wanted = ("scale", scale) if given is None else ("name", given)
    chosen = [entry for entry in entries if entry[wanted[0]] == wanted[1]]
    if given is None and scale == 8 and not chosen:
        chosen = [entry for entry in entries if entry["scale"] == 2]
    place = Path(given or "").expanduser()
    if chosen:
        weights = _open_packed(shipped_file(chosen[0], folder))
    elif given is None or not place.exists():
        names = ", ".join(f"{entry['name']} (x{entry['scale']})" for entry in entries) or "none"
        raise HsisrError(
            f"There are no shipped weights {given or f'for x{scale}'}, and no file or folder there. Shipped: {names}. "
            f"Train a network (hsisr train -p scale={scale or 2}), give its run folder, or use --model bicubic."
        )
    else:
        if place.is_file() and (place.parent / "config.yaml").is_file():
            place = place.parent
        weights = _open_run(place) if place.is_dir() else _open_packed(place)
    own = weights.model.scale
    if (scale, own, weights.model.margin) == (8, 2, (0, 0)):
        warnings.warn(f"{weights.name} enlarges by 2: for x8 it is applied three times.", stacklevel=3)
        return replace(weights, name=f"{weights.name}, three times", model=Repeated(weights.model, 3))
    if scale not in (None, own):
        raise HsisrError(f"{weights.name} enlarges by {own}, not {scale}: give --scale {own}.")
    return weights


def _open_run(folder: Path) -> Pretrained:
    run = read_run(folder)
    try:
        statistics = measure_data(load_data(run))
    except HsisrError:  # the data are not here, or others now
        statistics = None
    digest = sha256_file(folder / "weights.safetensors")
    return Pretrained(folder.name, run.model(), digest, describe(run.metrics), statistics, run.config.blur)


def _open_packed(path: Path) -> Pretrained:
    if not path.is_file():
        raise HsisrError(f"{path} is not a regular file: name a file of weights or a run folder.")
    try:
        description, tensors = read_packed(path)
        info = _Info.model_validate_json(description)
        model = build_packed(tensors, vars(info))
        return Pretrained(info.name, model, sha256_file(path), info.trained_on, info.statistics, info.blur)
    except HsisrError as error:
        raise HsisrError(f"{path}: {error}") from error
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        found = f"{path} is not a packed file of weights, or damaged ({type(error).__name__})"
        raise HsisrError(f"{found}. Name others with --model.") from error


def describe(metrics: dict[str, Any]) -> str:
    """A sentence on what a run was trained on and what it reached, from its metrics.json."""
    split, method = metrics["split"], metrics["config"]["method"]
    gain = metrics["mean"][method]["psnr"] - metrics["mean"]["bicubic"]["psnr"]
    tests, hours = len(split["test"]), (metrics.get("processor_seconds") or metrics["seconds"]) / 3600
    return (
        f"{data_label(metrics['dataset'])} (split {split['name']}, {len(split['train'])} training images), "
        f"{metrics['steps']:,} steps in {hours:.1f} processor hours; {gain:+.2f} dB over bicubic on "
        + (split["test"][0] if tests == 1 else f"{tests} test images")
    )


def load_data(run: Run) -> Dataset:
    """The data of `run`; HsisrError if they are not at hand or have changed since."""
    dataset = run.config.load_dataset()
    if dataset.fingerprint != run.fingerprint:
        raise HsisrError(f"{run.config.data} is not what {run.folder} was trained on: it has changed since.")
    return dataset


def measure_data(dataset: Dataset) -> Statistics:
    """Statistics of the training images of `dataset`."""
    return Statistics.of([dataset.scene(name).cube for name in dataset.train], dataset.wavelengths)


def find_differences(
    weights: Pretrained, cube: NDArray[np.float32], wavelengths: NDArray[np.float64]
) -> list[str]:
    """Say in which ways a cube in [0, 1] differs from what the weights were trained on; empty: in none."""
    if weights.statistics is None:
        return ["what they were trained on is not known here"] if weights.sha256 else []
    trained, own = weights.statistics, Statistics.of([cube], wavelengths)
    found = []
    if trained.wavelengths and not own.wavelengths:
        found.append("its wavelengths are unknown")
    elif trained.wavelengths:
        first, last, step = trained.wavelengths[0], trained.wavelengths[-1], trained.step
        if outside := sum(not first - step <= centre <= last + step for centre in own.wavelengths):
            bands = f"{outside} of {len(own.wavelengths)} bands"
            found.append(f"{bands} lie more than {step:.0f} nm outside {first:.0f} to {last:.0f} nm")
        if not 1 / _STEP_FACTOR <= own.step / trained.step <= _STEP_FACTOR:
            found.append(f"its bands are {own.step:.1f} nm apart, those of the training {trained.step:.1f}")
    for name, what in (("mean", "brightness"), ("std", "contrast"), ("noise", "noise")):
        least = _LEAST_NOISE if name == "noise" else 1e-6
        here, there = (float(np.mean(getattr(statistics, name))) for statistics in (own, trained))
        ratio = max(here, least) / max(there, least)
        if not 1 / _FACTOR <= ratio <= _FACTOR and not (name == "noise" and ratio < 1):
            found.append(f"its {what} is {ratio:.2g} times the training's ({here:.3g}, not {there:.3g})")
    return found


def adapt_network(
    weights: Pretrained, mean: NDArray[np.float32], wavelengths: NDArray[np.float64]
) -> tuple[SuperResolver, str]:
    """The network for a cube with these bands, and which mean it subtracts: "training", "cube" or "none".

    A cube of other bands than the training's (another number, or other wavelengths) has its own `mean` subtracted.
    """
    if weights.bands not in (None, len(mean)):
        found = f"{weights.name} takes {weights.bands} bands, the cube has {len(mean)}"
        raise HsisrError(f"{found}. Choose bands (--bands), or other weights.")
    model = copy.deepcopy(weights.model)
    if len(model.mean) == 1 and not model.mean.any():
        return model, "none"
    trained = np.asarray(weights.statistics.wavelengths if weights.statistics else [])
    same = len(model.mean) == len(mean)
    if same and len(trained) == len(mean) and np.isfinite(wavelengths).all():
        reach = float(np.median(np.diff(trained))) / 2 if len(trained) > 1 else 1.0
        same = bool(np.abs(trained - wavelengths).max() <= reach)
    if not same:
        model.set_mean(torch.from_numpy(np.asarray(mean)))
    return model, "training" if same else "cube"
