"""The results of many runs as one table, read from ``metrics.json`` alone (YAML is slow), and its export."""

import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from hsisr_core.base import AnyPath, atomic_path, runs_folder
from hsisr_core.errors import HsisrError
from hsisr_core.runs.config import RunConfig
from hsisr_core.runs.folder import read_metrics, results_folder

SUFFIXES = (".csv", ".parquet", ".tex")
SETTINGS = tuple(RunConfig.model_fields)
SCORES = ("psnr", "mpsnr", "ssim", "sam", "rmse", "ergas", "zero_pixels", "scored_bands", "scored_border")
COLUMNS = (
    "run", "place", *SETTINGS, "dataset", "fingerprint", "image", "result", *SCORES, "trained_steps", "seconds",
    "parameters",
)  # fmt: skip
SHORT = ("psnr", "ssim", "sam", "trained_steps", "seconds")


def load_results(folder: AnyPath | None = None) -> pd.DataFrame:
    """One tidy table of every finished run in `folder`: a row is one test image, for the trained method or bicubic.

    Columns: run, place (the folder of the run's folder), every setting of `RunConfig`, dataset, fingerprint, image,
    result ("bicubic" or the method), psnr and mpsnr (dB), ssim, sam (degrees), rmse, ergas, zero_pixels, scored_bands,
    scored_border (pixels left out on each side), trained_steps, seconds, parameters.

    Runs that are not finished are left out, a damaged or foreign folder with a warning. Without `folder` the runs that
    came with the book stand behind those that were trained here.

    Parameters
    ----------
    folder : path, optional
        A folder of run folders, or one run folder (default: ``runs/`` of the project, or ``HSISR_RUNS``).

    Raises
    ------
    HsisrError
        The given `folder` does not exist.
    """
    place = Path(folder or runs_folder())
    if folder is not None and not place.is_dir():
        raise HsisrError(f"{place} is not a folder: give a folder of run folders.")
    found = [place] if (place / "metrics.json").is_file() else run_folders(place)
    if folder is None:
        here = {path.name for path in found}
        found += [path for path in sorted(results_folder().glob("*/*/")) if path.name not in here]
    rows: list[dict[str, Any]] = []
    for path in found:
        try:
            rows += _run_rows(path)
        except HsisrError as error:
            warnings.warn(f"{path} is left out of the results: {error}", stacklevel=2)
    table = pd.DataFrame(rows, columns=None if rows else list(COLUMNS))
    known = [name for name in COLUMNS if name in table]
    return table[known + sorted(set(table.columns) - set(known))]


def run_folders(folder: Path) -> list[Path]:
    """The folders in `folder`, by name, without hidden ones."""
    return sorted(path for path in folder.glob("*/") if not path.name.startswith("."))


def _run_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of one run folder; none for a run that is not finished."""
    if not (path / "metrics.json").exists():
        if (path / "config.yaml").is_file():
            return []
        raise HsisrError("it is not a run folder, it has no config.yaml.")
    metrics = read_metrics(path)
    # a setting that is newer than the run has its default
    shared = dict(RunConfig.from_mapping(metrics["config"])) | {"split": metrics["split"]["name"]}
    shared |= {"run": path.name, "place": str(path.parent), "trained_steps": metrics["steps"]}
    shared |= {name: metrics[name] for name in ("dataset", "fingerprint", "seconds", "parameters")}
    return [shared | image for image in metrics["images"]]


def short_results(table: pd.DataFrame) -> pd.DataFrame:
    """The columns of `table` to look at: what its rows belong to, the settings that differ, and the scores."""
    if "source" in table:
        table = table.assign(source=table["source"].fillna("").astype(str).str[:10])
    # repr, because NaN differs from itself
    # the options of networks of one's own stand behind all other columns
    settings = [name for name in table if name in SETTINGS or name not in COLUMNS]
    varied = [name for name in settings if table[name].map(repr).nunique() > 1]
    first = [name for name in ("preset", "dataset", "method", "scale", "seed") if name not in varied]
    cropped = "scored_border" in table and bool((table["scored_border"] > 0).any())
    region = ["scored_bands", "scored_border"] if cropped else []
    return table[[*first, *varied, "image", "result", *region, *SHORT]]


def write_table(table: pd.DataFrame, path: AnyPath) -> None:
    """Write `table` as CSV or Parquet (every column), or as LaTeX (`short_results`), by the suffix of `path`."""
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise HsisrError(f"{path}: expected a name that ends in one of {', '.join(SUFFIXES)}.")
    with atomic_path(path) as temporary:
        if path.suffix == ".csv":
            table.to_csv(temporary, index=False)
        elif path.suffix == ".tex":
            short = short_results(table).rename(columns=lambda name: name.replace("_", " "))
            short.to_latex(
                temporary, index=False, escape=True, float_format="%.4g", longtable=len(short) > 40
            )
        else:
            try:
                table.to_parquet(temporary, index=False)
            except ImportError as error:
                raise HsisrError(
                    f"{path}: writing Parquet needs pyarrow. Run `pip install pyarrow`, or choose a .csv file."
                ) from error
