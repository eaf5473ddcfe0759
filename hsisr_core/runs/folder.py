"""Run folders: one run, one folder, named by the hash of its settings.

``runs/<method>-x<scale>-<dataset>-<hash>/`` holds ``config.yaml``, ``history.csv``, ``checkpoint/``,
``weights.safetensors`` and, once it is finished, ``metrics.json``. Each file is written whole or not
at all; ``metrics.json`` comes last, so its presence means the run is complete.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load_file

from hsisr_core.base import atomic_text, book_folder, runs_folder
from hsisr_core.data import Dataset
from hsisr_core.errors import HsisrError, NotAtHandError, RunLockedError
from hsisr_core.models import SuperResolver, build_model
from hsisr_core.runs.config import RunConfig


@dataclass(frozen=True)
class Run:
    """A run folder and the settings it was made with."""

    folder: Path
    config: RunConfig
    fingerprint: str  # of the dataset and split

    @property
    def finished(self) -> bool:
        return (self.folder / "metrics.json").is_file()

    @property
    def metrics(self) -> dict[str, Any]:
        """`metrics.json`: per image and mean, and everything the numbers belong to."""
        path = self.folder / "metrics.json"
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise HsisrError(f"{self.folder} is not finished: train it again to resume.") from None
        except ValueError as error:
            raise HsisrError(f"{path} is not valid JSON: delete it and train again to rewrite it.") from error

    def history(self) -> pd.DataFrame:
        """The training curve so far: step, loss (mean since the row before), learning_rate, seconds, and psnr, ssim,
        sam on the test images where they were measured (else NaN)."""
        path = self.folder / "history.csv"
        if not path.is_file():
            raise HsisrError(f"{self.folder} has no history.csv yet: the training has not started.")
        return pd.read_csv(path, on_bad_lines="skip")  # a line being written may be incomplete

    @property
    def committed(self) -> bool:
        """Whether this run came with the book, in book/results, without its weights."""
        return self.folder.is_relative_to(results_folder())

    def model(self) -> SuperResolver:
        """The trained network, ready for inference."""
        path, config = self.folder / "weights.safetensors", self.config
        if not path.is_file():
            if self.committed:
                raise NotAtHandError(
                    f"{self.folder.name} came with the book, without its weights. `{config.command()} --again` trains "
                    "it here."
                )
            raise HsisrError(f"{self.folder} has no weights yet: train it with the same settings to resume.")
        try:
            weights = load_file(path)
            mean = weights["mean"]
            model = build_model(config.method, config.scale, len(mean), **config.model_options())
            model.set_mean(mean)
            model.mirror = config.mirror
            model.load_state_dict(weights)
        except (SafetensorError, KeyError, RuntimeError) as error:
            raise HsisrError(f"{path} is damaged or not of this run: delete it and train again.") from error
        return model.eval()


def run_folder(
    config: RunConfig, data: str, fingerprint: str, runs: str | os.PathLike[str] | None = None
) -> Path:
    """Where the run of `config` on the dataset `data` is or will be: in `runs` (default: ``runs/`` of the project), or
    in book/results if it came with the book and is not there."""
    name = f"{config.method.replace('.py:', '-')}-x{config.scale}-{data}-{config.hash(fingerprint)}"
    own = Path(runs or runs_folder()) / name
    return own if own.exists() else next(results_folder().glob(f"*/{name}"), own)


def find_run(config: RunConfig, runs: str | os.PathLike[str] | None = None) -> Run | None:
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
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return known.get(data, {}).get(split or data)


def results_folder() -> Path:
    """Where the runs that come with the book are, a folder for each preset."""
    return book_folder() / "results"


def open_run(
    config: RunConfig,
    runs: str | os.PathLike[str] | None = None,
    dataset: Dataset | None = None,
    again: bool = False,
) -> Run:
    """The run of `config` in the folder `runs`, new or not. Its folder gets a config.yaml; nothing is trained.

    `dataset` is the data of `config`, if it is open already. `again`: in `runs`, also if the run came with the book.
    """
    dataset = dataset or config.load_dataset()
    known = known_fingerprint(dataset.name, dataset.split.name)
    if not config.reading and known not in (None, dataset.fingerprint):
        differs = f"its fingerprint is {dataset.fingerprint[:12]}, not {known[:12]}"
        warnings.warn(
            f"{config.data} is not the {dataset.name} of the results in the book ({differs}).", stacklevel=2
        )
    folder = run_folder(config, dataset.name, dataset.fingerprint, runs)
    if again:
        folder = Path(runs or runs_folder()) / folder.name
    if not (folder / "config.yaml").is_file():
        atomic_text(folder / "config.yaml", f"fingerprint: {dataset.fingerprint}\n{config.to_yaml()}")
    stored = read_run(folder)
    if stored.config.hash(stored.fingerprint) != config.hash(dataset.fingerprint):
        raise HsisrError(f"{folder}/config.yaml belongs to another run than its name says: move the folder.")
    return Run(folder, config, dataset.fingerprint)


def read_run(folder: str | os.PathLike[str]) -> Run:
    """Open a run folder that exists; HsisrError when it is not one, or its config.yaml cannot be read."""
    path = Path(folder) / "config.yaml"
    if not path.is_file():
        raise HsisrError(f"{folder} is not a run folder: it has no config.yaml.")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        fingerprint = values.pop("fingerprint")
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
        raise HsisrError(f"{path} is damaged: move or delete {folder}, then start again.") from error
    return Run(Path(folder), RunConfig.from_mapping(values, where=str(path)), str(fingerprint))


@contextmanager
def run_lock(folder: Path, wait: bool = True) -> Iterator[None]:
    """Hold the one right to train in `folder`, until the process ends at the latest.

    Without `wait`, RunLockedError when another process holds it.
    """
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
