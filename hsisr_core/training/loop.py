"""Train one network: loss, schedule, checkpoints, exact resume.

Source: paper, Sec. III-D and IV-B. The loop holds no random state: the batch and the learning rate are
functions of the step, so a training that was killed and resumed ends in the same weights, bit for bit,
on the same machine with the same number of threads.

On several devices (hsisr_core/distributed.py) each process takes its share of the same batch, so the loss
curve is that of one process up to rounding; the main process alone writes and scores.
"""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
import time
import warnings
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm.auto import tqdm

from hsisr_core.base.files import write_json
from hsisr_core.data import Dataset, load_dataset
from hsisr_core.errors import HsisrError
from hsisr_core.fast import Trainer, reuse_memory
from hsisr_core.models import SuperResolver, build_model, count_parameters
from hsisr_core.runs.config import RunConfig
from hsisr_core.runs.folder import Run, open_run, peak_bytes, run_lock
from hsisr_core.training.checkpoint import load_latest, save_checkpoint, save_weights
from hsisr_core.training.devices import agree, is_main, launched_processes, make_accelerator, together
from hsisr_core.training.evaluate import PROTOCOL, evaluate, mean_scores, reduced_pairs
from hsisr_core.training.gpu import allow_tf32, to_device
from hsisr_core.training.history import History
from hsisr_core.training.losses import LOSSES
from hsisr_core.training.patches import PatchSampler

__all__ = ["build_sampler", "learning_rate", "train"]

LOG_EVERY = 10  # steps


def train(
    config: RunConfig,
    runs: str | os.PathLike[str] | None = None,
    dataset: Dataset | None = None,
    progress: bool = True,
    wait: bool = True,
) -> Run:
    """Carry out one run, or return it when it is finished already; an unfinished one is resumed.

    Parameters
    ----------
    config : RunConfig
    runs : path, optional
        The folder of run folders (default: ``runs/`` of the project).
    dataset : Dataset, optional
        The data of `config`, when the caller has it open already.
    progress : bool
        Show a progress bar in a terminal or notebook, a few plain lines elsewhere.
    wait : bool
        Wait while another process trains this run. False: raise RunLockedError.

    Returns
    -------
    Run
        Finished: with weights, history and metrics.

    Raises
    ------
    HsisrError
        Missing data, a scene smaller than a patch, a device that is not there, a full disk, a loss
        that is no longer finite, or a run folder that holds other settings.
    RunLockedError
        Another process trains this run, and `wait` is False.
    """
    accelerator = make_accelerator(config) if launched_processes() > 1 else None
    with together(accelerator):
        dataset = dataset or load_dataset(config.data, config.split)
        if is_main(accelerator):
            open_run(config, runs, dataset)  # writes config.yaml before the others look
    run = open_run(config, runs, dataset)
    with ExitStack() as stack:
        with together(accelerator):
            if is_main(accelerator):  # a second worker waits, then finds the run finished
                stack.enter_context(run_lock(run.folder, wait))
        if not agree(accelerator, run.finished):
            with together(accelerator):
                training = Training(run, dataset, progress, accelerator)
            training.carry_out()
    return run


class Training:
    """The state of one training: network, optimiser, batches, history."""

    def __init__(
        self, run: Run, dataset: Dataset, progress: bool, accelerator: Accelerator | None = None
    ) -> None:
        config = run.config
        self.run, self.config, self.dataset = run, config, dataset
        self.accelerator = accelerator or make_accelerator(config)
        self.main = self.accelerator.is_main_process  # the one that writes and scores
        self.progress = progress and self.main
        self.sampler = build_sampler(config, dataset)
        self.steps = config.total_steps(len(dataset.train))
        self.pairs = reduced_pairs(dataset, config.scale) if self.main else {}
        with torch.random.fork_rng(devices=[]):  # leave the caller's random numbers alone
            torch.manual_seed(config.seed)
            model = build_model(config.method, config.scale, dataset.bands, **config.model_options())
        model.set_mean(torch.from_numpy(dataset.train_mean()))
        model.mirror = config.mirror
        self.model = Trainer(model)
        allow_tf32(self.accelerator.device)
        reuse_memory()
        self.optimizer: Any = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
        self.loss = LOSSES[config.loss]
        self.state: dict[str, Any] = {"step": 0, "seconds": 0.0, "loss_sum": 0.0, "loss_count": 0}

    def start(self) -> None:
        """Spread the network over the devices and go to the last checkpoint."""
        self.model, self.optimizer = self.accelerator.prepare(self.model, self.optimizer)
        with together(self.accelerator), warnings.catch_warnings():
            if not self.main:
                warnings.simplefilter("ignore")  # the main process says which checkpoint is damaged
            self.state |= load_latest(self.checkpoints, self.plain_model, self.plain_optimizer) or {}
        step = agree(self.accelerator, self.state["step"])
        with together(self.accelerator):
            if self.state["step"] != step:
                raise HsisrError(
                    f"The processes found different checkpoints in {self.checkpoints} (steps {step} and "
                    f"{self.state['step']}): it must be on a disk that all machines see."
                )
            self.history = History(self.run.folder / "history.csv", step) if self.main else None

    @property
    def checkpoints(self) -> Path:
        return self.run.folder / "checkpoint"

    @property
    def plain_model(self) -> SuperResolver:
        """The network itself, as it is scored and stored."""
        trainer: Trainer = self.accelerator.unwrap_model(self.model)
        return trainer.net

    @property
    def plain_optimizer(self) -> torch.optim.Optimizer:
        plain: torch.optim.Optimizer = self.optimizer.optimizer
        return plain

    def carry_out(self) -> None:
        """Train from the current step to the last, then score and write the results."""
        self.start()
        started = time.monotonic() - self.state["seconds"]
        first = self.state["step"]
        bar = tqdm(
            total=self.steps,
            initial=first,
            desc=self.run.folder.name,
            unit="step",
            disable=not self.progress or not sys.stderr.isatty(),
        )
        lines = self.progress and not sys.stderr.isatty()
        if first == 0:
            self.log(0, started)
        for step in range(first + 1, self.steps + 1):
            self.take_step(step)
            self.state |= {"step": step, "seconds": time.monotonic() - started}
            if step % LOG_EVERY == 0 or step == self.steps or self.due(step):
                self.log(step, started)
            if step % self.config.checkpoint_every == 0 and step < self.steps:
                self.save()
            bar.update()
            if lines and step * 5 // self.steps != (step - 1) * 5 // self.steps:
                seconds = self.state["seconds"]
                print(
                    f"{self.run.folder.name}: step {step} of {self.steps}, {seconds:.0f} s",
                    file=sys.stderr,
                    flush=True,
                )
        bar.close()
        with together(self.accelerator):
            if self.main:
                self.write_results()

    def take_step(self, step: int) -> None:
        """One update of the weights; `step` counts from 1."""
        per_epoch = self.config.steps_per_epoch(len(self.dataset.train))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, step - 1, self.steps, per_epoch)
        share = (self.accelerator.process_index, self.accelerator.num_processes)
        lr, hr = (to_device(side, self.accelerator.device) for side in self.sampler.batch(step - 1, share))
        self.model.train()
        with self.accelerator.autocast():
            loss: Tensor = self.loss(self.model(lr).float(), self.plain_model.kept(hr))
        # shares are equal, so the mean of their means is the mean over the batch
        value = float(self.accelerator.reduce(loss.detach(), "mean"))
        if not math.isfinite(value):
            raise HsisrError(
                f"{self.run.folder.name}: the loss is {value} at step {step}. Use a lower learning_rate, or set clip; "
                f"the last checkpoint in {self.checkpoints} is kept."
            )
        self.accelerator.backward(loss)
        if self.config.clip is not None:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.state["loss_sum"] += value
        self.state["loss_count"] += 1

    def due(self, step: int) -> bool:
        """Is the network scored on the test images at `step`?"""
        every = self.config.evaluate_every
        return every is not None and step % every == 0

    def log(self, step: int, started: float) -> None:
        """Add a row to the history: the mean loss since the last row, and scores when they are due."""
        count = self.state["loss_count"]
        row: dict[str, float] = {
            "step": step,
            "loss": self.state["loss_sum"] / count if count else math.nan,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "seconds": time.monotonic() - started,
        }
        self.state |= {"loss_sum": 0.0, "loss_count": 0}
        with together(self.accelerator):
            if self.history is None:
                return
            if self.due(step):
                means = mean_scores(self.scores(bicubic=False), self.config.method)
                row |= {metric: means[metric] for metric in ("psnr", "ssim", "sam")}
            self.history.add(row)

    def save(self) -> None:
        """Write a checkpoint of the current step."""
        with together(self.accelerator):
            if self.main:
                save_checkpoint(self.checkpoints, self.plain_model, self.plain_optimizer, self.state)

    def scores(self, bicubic: bool) -> list[dict[str, Any]]:
        self.plain_model.eval()
        return evaluate(self.plain_model, self.pairs, self.config.method, bicubic)

    def write_results(self) -> None:
        """Write the weights, then metrics.json, which marks the run as finished."""
        rows = self.scores(bicubic=True)
        model = self.plain_model
        save_weights(self.run.folder / "weights.safetensors", model, {"hash": self.run.folder.name})
        write_json(
            self.run.folder / "metrics.json",
            {
                "config": self.config.to_dict(),
                "dataset": self.dataset.name,
                "fingerprint": self.dataset.fingerprint,
                "split": {
                    "name": self.dataset.split.name,
                    "train": self.dataset.train,
                    "test": self.dataset.test,
                },
                "protocol": PROTOCOL,
                "images": rows,
                "mean": {name: mean_scores(rows, name) for name in ("bicubic", self.config.method)},
                "steps": self.steps,
                "seconds": round(self.state["seconds"], 3),
                "parameters": count_parameters(model),
                "peak_bytes": peak_bytes(),
                "device": str(self.accelerator.device),
                "processes": self.accelerator.num_processes,
                "threads": torch.get_num_threads(),
                "versions": versions(),
                "git_commit": git_commit(),
            },
        )
        for path in self.checkpoints.glob("*.safetensors"):
            path.unlink(missing_ok=True)  # the weights replace them


def build_sampler(config: RunConfig, dataset: Dataset) -> PatchSampler:
    """The batches of `config` on the training images of `dataset`."""
    return PatchSampler(
        (dataset.scene(name).cube for name in dataset.train),
        config.scale,
        config.patch,
        config.batch,
        config.seed,
        config.lr_side,
        config.patches_per_image,
        config.image_sizes,
        config.augment,
    )


def learning_rate(config: RunConfig, step: int, steps: int, steps_per_epoch: int | None) -> float:
    """Learning rate of `step`, counted from 0.

    "halve": halved every `halve_every` epochs (paper, Sec. IV-B). "cosine": from the full rate to zero.
    """
    if config.schedule == "halve":
        assert steps_per_epoch is not None  # RunConfig checks it
        return config.learning_rate * 0.5 ** (step // steps_per_epoch // config.halve_every)
    if config.schedule == "cosine":
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * step / steps))
    return config.learning_rate


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    packages = ("hsisr", "torch", "numpy", "scipy", "h5py", "accelerate")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def git_commit() -> str | None:
    """Commit of the source tree this module runs from, with "+" when it has local changes; None outside git."""
    folder = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--match="],
            cwd=folder, capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip()
