"""Run folders: one run, one folder, named by the hash of its settings.

``runs/<method>-x<scale>-<dataset>-<hash>/`` holds ``config.yaml``, ``history.csv``, ``checkpoint/``,
``weights.safetensors`` and, once it is finished, ``metrics.json``. Each file is written whole or not
at all; ``metrics.json`` comes last, so its presence means the run is complete.
"""

import json
import resource
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
from filelock import FileLock, Timeout
from pydantic import BaseModel, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file

from hsisr_core import base
from hsisr_core.base import AnyPath
from hsisr_core.data import Dataset
from hsisr_core.errors import HsisrError, NotAtHandError, RunLockedError, describe_mistake
from hsisr_core.models import SuperResolver
from hsisr_core.runs.config import RunConfig
from hsisr_core.runs.packed import build_packed, read_packed, shipped, shipped_file

HISTORY = ("step", "loss", "learning_rate", "seconds", "psnr", "ssim", "sam")
_Text = Annotated[str, Field(pattern=r"^\P{Cc}*$")]
_Count = Annotated[int, Field(ge=0, le=10**15)]


@dataclass(frozen=True)
class Run:
    """A run folder and the settings it was made with."""

    folder: Path
    config: RunConfig
    fingerprint: str  # of the dataset and split

    @property
    def finished(self) -> bool:
        """Whether the metrics can be read and belong to the weights here, or this run came with the book."""
        path = self.folder / "weights.safetensors"
        try:
            metrics = self.metrics
            if not self.committed and "weights_sha256" not in metrics:
                # of version 0.1.0: finished if its weights load
                self.model()
                metrics["weights_sha256"] = base.sha256_file(path)
                with suppress(OSError):
                    base.write_json(self.folder / "metrics.json", metrics)
        except HsisrError:
            return False
        return self.committed or (path.is_file() and base.sha256_file(path) == metrics["weights_sha256"])

    @property
    def metrics(self) -> dict[str, Any]:
        """`metrics.json`: per image and mean, and everything the numbers belong to."""
        return read_metrics(self.folder)

    def history(self) -> pd.DataFrame:
        """The training curve so far: step, loss (mean since the row before), learning_rate, seconds, and psnr, ssim,
        sam on the test images where they were measured (else NaN)."""
        return read_history(self.folder / "history.csv")

    @property
    def committed(self) -> bool:
        """Whether this run came with the book, in book/results, without its weights."""
        return self.folder.is_relative_to(results_folder())

    @property
    def of_the_book(self) -> "Run | None":
        """This run as it came with the book, if it did, whether or not it was trained here too."""
        folder = next(results_folder().glob(f"*/{self.folder.name}"), None)
        return Run(folder, self.config, self.fingerprint) if folder else None

    def model(self) -> SuperResolver:
        """The trained network, ready for inference; of a run of the book, the shipped weights that are its own."""
        path, config = self.folder / "weights.safetensors", self.config
        if not path.is_file():
            if self.committed:
                return self._shipped_model()
            raise HsisrError(f"{self.folder} has no weights yet: train it with the same settings to resume.")
        info, digest = config.to_dict() | {"options": config.model_options()}, base.sha256_file(path)
        if (self.folder / "metrics.json").exists() and self.metrics.get("weights_sha256", digest) != digest:
            raise HsisrError(f"{path} is damaged: train again.")
        try:
            return build_packed(load_file(path), info)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise HsisrError(f"{path} is damaged or not of this run: train again.") from error

    def _shipped_model(self) -> SuperResolver:
        for entry in shipped():
            if entry.get("run") == self.folder.name:
                description, tensors = read_packed(shipped_file(entry))
                return build_packed(tensors, json.loads(description))
        found = f"{self.folder.name} came with the book, without its weights"
        raise NotAtHandError(f"{found}. `{self.config.command()} --again` trains it here.")


class _Scores(BaseModel, extra="allow", strict=True, allow_inf_nan=False):
    __pydantic_extra__: dict[str, float] = Field(init=False)
    psnr: float
    ssim: float
    sam: float


class _Row(_Scores):
    image: _Text
    result: _Text
    mpsnr: float
    rmse: float
    ergas: float
    scored_bands: _Count
    scored_border: _Count


class _Split(BaseModel, strict=True):
    name: _Text
    train: list[_Text]
    test: list[_Text]


class _Metrics(BaseModel, extra="allow", strict=True, allow_inf_nan=False):
    """What is read of metrics.json."""

    config: dict[str, Any]
    dataset: _Text
    fingerprint: str
    split: _Split
    images: Annotated[list[_Row], Field(min_length=1)]
    mean: dict[str, _Scores]
    steps: _Count
    seconds: Annotated[float, Field(ge=0)]
    parameters: _Count
    processor_seconds: float | None = None
    weights_sha256: str = ""


def read_metrics(folder: Path) -> dict[str, Any]:
    """The metrics.json of a run folder; HsisrError where the run is not finished, or they are damaged."""
    path = folder / "metrics.json"
    if not path.exists():
        raise HsisrError(f"{folder} is not finished: train it again to resume.")
    values = base.read_json(path)
    try:
        found = _Metrics.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))[:80]}: {describe_mistake(first)}"
        raise HsisrError(f"{path} is damaged ({reason}): train again to rewrite it.") from error
    config = RunConfig.from_mapping(found.config, str(path))
    if not _names(folder, config, found.fingerprint) or not {"bicubic", config.method} <= {*found.mean}:
        raise HsisrError(f"{path} is damaged or of another run: train again to rewrite it.")
    return values


def _names(folder: Path, config: RunConfig, fingerprint: str) -> bool:
    """Whether `folder` has the name of this run's hash."""
    return folder.resolve().name.endswith(config.hash(fingerprint))


def read_history(path: Path) -> pd.DataFrame:
    """The rows of a history.csv, of which the last may be incomplete; HsisrError if it is not one."""
    if not path.exists():
        raise HsisrError(f"{path.parent} has no history.csv yet: the training has not started.")
    try:
        table = pd.read_csv(StringIO(base.read_text(path)), on_bad_lines="skip", dtype=str)
        whole = table[pd.to_numeric(table["step"], errors="coerce").between(0, 1e15)]
        return whole.reindex(columns=HISTORY).apply(pd.to_numeric, errors="coerce").astype({"step": int})
    except (ValueError, KeyError) as error:
        raise HsisrError(f"{path} is damaged: train again to rewrite it.") from error


def run_folder(config: RunConfig, data: str, fingerprint: str, runs: AnyPath | None = None) -> Path:
    """Where the run of `config` on the dataset `data` is or will be: in `runs` (default: ``runs/`` of the project), or
    in book/results if it came with the book and is not there."""
    name = f"{config.method.replace('.py:', '-')}-x{config.scale}-{data}-{config.hash(fingerprint)}"
    own = Path(runs or base.runs_folder()) / name
    return own if own.exists() else next(results_folder().glob(f"*/{name}"), own)


def find_run(config: RunConfig, runs: AnyPath | None = None) -> Run | None:
    """The finished run of `config`, where there is one; without its data if the book knows them."""
    data, fingerprint = config.data, None if config.reading else known_fingerprint(config.data, config.split)
    if fingerprint is None:
        dataset = config.load_dataset()
        data, fingerprint = dataset.name, dataset.fingerprint
    run = Run(run_folder(config, data, fingerprint, runs), config, fingerprint)
    return run if run.finished else None


def known_fingerprint(data: str, split: str | None) -> str | None:
    """The fingerprint of a dataset and its split, from book/results/fingerprints.json; None if it is not there."""
    path = results_folder() / "fingerprints.json"
    known = base.read_json(path) if path.is_file() else {}
    return known.get(data, {}).get(split or data)


def results_folder() -> Path:
    """Where the runs that come with the book are, a folder for each preset."""
    return base.book_folder() / "results"


def open_run(
    config: RunConfig, runs: AnyPath | None = None, dataset: Dataset | None = None, again: bool = False
) -> Run:
    """The run of `config` with its config.yaml, not trained; `again`: in `runs`, also if it came with the book."""
    dataset = dataset or config.load_dataset()
    known = known_fingerprint(dataset.name, dataset.split.name)
    if not config.reading and known not in (None, dataset.fingerprint):
        differs = f"(its fingerprint is {dataset.fingerprint[:12]}, not {known[:12]})"
        text = f"{config.data} is not the {dataset.name} of the results in the book {differs}."
        warnings.warn(text, stacklevel=2)
    folder = run_folder(config, dataset.name, dataset.fingerprint, runs)
    if again:
        folder = Path(runs or base.runs_folder()) / folder.name
    path = folder / "config.yaml"
    try:
        read_run(folder)
    except HsisrError as error:
        if path.exists():
            warnings.warn(f"{error} It is written again.", stacklevel=2)
        base.atomic_text(path, f"fingerprint: {dataset.fingerprint}\n{config.to_yaml()}")
    return Run(folder, config, dataset.fingerprint)


def read_run(folder: AnyPath) -> Run:
    """Open a run folder that exists; HsisrError when it is not one, or its config.yaml cannot be read."""
    path = Path(folder) / "config.yaml"
    if not path.exists():
        raise HsisrError(f"{folder} is not a run folder: it has no config.yaml. Check the path.")
    values = base.read_yaml(path)
    fingerprint = str(values.pop("fingerprint", ""))
    config = RunConfig.from_mapping(values, where=str(path))
    if not _names(Path(folder), config, fingerprint):
        raise HsisrError(f"{path} is damaged or of another run: its settings do not fit its folder's name.")
    return Run(Path(folder), config, fingerprint)


@contextmanager
def run_lock(folder: Path, wait: bool = True) -> Iterator[None]:
    """Hold the one right to train in `folder`; without `wait`, RunLockedError when another process holds it."""
    try:
        # not zero: `is_locked` of another process holds the lock for a moment
        held = FileLock(folder / ".lock", timeout=-1 if wait else 0.3).acquire()
    except Timeout as error:
        raise RunLockedError(f"{folder} is being trained by another process: wait until it ends.") from error
    with held:
        yield


def is_locked(folder: Path) -> bool:
    """Whether a process is training in `folder` now."""
    if not (folder / ".lock").is_file():
        return False
    try:
        with FileLock(folder / ".lock", timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # someone else's folder, which we may not open for writing
        return False


def reset_peak() -> None:
    """Start counting `peak_bytes` anew, where the system can (Linux, CUDA)."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """Peak memory of this process so far: on the GPU if one was used, else resident memory."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return int(torch.cuda.max_memory_allocated())
    with suppress(OSError, StopIteration):
        # getrusage starts from the peak of the process that started this one
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
