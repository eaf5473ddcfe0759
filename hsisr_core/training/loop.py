"""Train one network: loss, schedule, checkpoints, exact resume.

Source: paper, Sec. III-D and IV-B. The loop holds no random state: the batch and the learning rate are functions of
the step, so a training that was killed and resumed ends in the same weights, bit for bit, on the same machine and with
the same number of threads, which its checkpoints hold. On several devices (training/devices.py) each process takes its
share of the same batch; the main process alone writes and scores.
"""

import math
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.backends.cpu import get_cpu_capability
from tqdm.auto import tqdm

from hsisr_core.base import AnyPath, sha256_file, write_json
from hsisr_core.data import Dataset
from hsisr_core.errors import HsisrError
from hsisr_core.fast import Trainer, one_thread, reuse_memory
from hsisr_core.models import SuperResolver, build_model, count_parameters
from hsisr_core.runs import Run, RunConfig, find_run, open_run, peak_bytes, run_lock
from hsisr_core.training.checkpoint import History, load_latest, save_checkpoint, write_tensors
from hsisr_core.training.devices import OneDevice, launched_processes, make_accelerator, to_device, together
from hsisr_core.training.evaluate import describe_protocol, evaluate, mean_scores, reduced_pairs
from hsisr_core.training.losses import LOSSES
from hsisr_core.training.patches import PatchSampler

_LOG_EVERY = 10  # steps


def train(
    config: RunConfig,
    runs: AnyPath | None = None,
    dataset: Dataset | None = None,
    progress: bool = True,
    wait: bool = True,
    again: bool = False,
) -> Run:
    """Train the network of one run, or return the run when it is finished already; an unfinished one is resumed.

    A run that came with the book (book/results) is finished, and its data are not needed.

    Parameters
    ----------
    config : RunConfig
    runs : path, optional
        The folder of run folders (default: ``runs/`` of the project).
    dataset : Dataset, optional
        The data of `config`, when the caller has it open already.
    progress : bool
        Show a progress bar in a terminal, a few plain lines elsewhere.
    wait : bool
        Wait while another process trains this run. False: raise RunLockedError.
    again : bool
        Train here what came with the book.

    Returns
    -------
    Run
        Finished: with metrics, history and, if it was trained here, weights.

    Raises
    ------
    HsisrError
        Missing data, a scene smaller than a patch, a device that is not there, a full disk, a loss that is no longer
        finite, or a run folder that holds other settings; RunLockedError is one, too.
    """
    if dataset is None and not again and (found := find_run(config, runs)):
        return found
    accelerator = make_accelerator(config) if launched_processes() > 1 else None
    with together(accelerator):
        dataset = dataset or config.load_dataset()
        # its mistakes show before there is a folder
        build_network(config, dataset.bands)
        run = open_run(config, runs, dataset, again=again)
    if run.committed:
        return run
    with ExitStack() as stack:
        with together(accelerator):
            if accelerator is None or accelerator.is_main_process:
                # a second worker waits here, then finds the run finished
                stack.enter_context(run_lock(run.folder, wait))
        if not run.finished:
            if (run.folder / "metrics.json").exists():
                problem = "metrics or weights are damaged or missing. It is trained again."
                warnings.warn(f"{run.folder}: {problem}", stacklevel=2)
            with together(accelerator):
                training = Training(run, dataset, progress, accelerator or make_accelerator(config))
            training.finish()
    return run


def train_step(
    accelerator: OneDevice,
    model: nn.Module,
    optimizer: Any,
    loss: Callable[[Tensor, Tensor], Tensor],
    lr: Tensor,
    hr: Tensor,
    clip: float | None = None,
) -> float:
    """One update of the weights, unless the loss is not finite; returns the loss before it, over all processes."""
    model.train()
    # the threads share the batch (see `Trainer`); a single patch is left to OpenMP's
    with one_thread() if len(lr) > 1 else nullcontext():
        with accelerator.autocast():
            batch_loss = loss(model(lr).float(), hr)
        # shares are equal, so the mean of their means is the mean over the batch
        value = float(accelerator.reduce(batch_loss.detach(), "mean"))
        if math.isfinite(value):
            accelerator.backward(batch_loss)
            if clip is not None:
                accelerator.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()
    return value


class Training:
    """The state of one training: network, optimiser, batches, history."""

    def __init__(self, run: Run, dataset: Dataset, progress: bool, accelerator: OneDevice) -> None:
        config = run.config
        self.run, self.config, self.dataset, self.accelerator = run, config, dataset, accelerator
        # the one process that writes and scores
        self.main = self.accelerator.is_main_process
        self.progress = progress and self.main
        self.sampler = build_sampler(config, dataset)
        self.steps = config.total_steps(len(dataset.train))
        self.pairs = reduced_pairs(dataset, config.scale, config.blur) if self.main else {}
        # the network itself is scored and stored; `model` is what is trained, spread over the devices
        self.network = build_network(config, dataset.bands)
        self.network.set_mean(torch.from_numpy(dataset.train_mean()))
        self.network.mirror = config.mirror
        self.trainer = Trainer(self.network)
        self.model: nn.Module = self.trainer
        self.optimizer: Any = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate, fused=True)
        reuse_memory()
        self.checkpoints = run.folder / "checkpoint"
        self.state: dict[str, Any] = dict.fromkeys(("seconds", "processor_seconds", "loss_sum"), 0.0)
        self.state |= {"step": 0, "loss_count": 0, "threads": self.trainer.threads}

    def finish(self) -> None:
        """Train from the last checkpoint to the last step, then score and write the results."""
        self._resume()
        started = time.monotonic() - self.state["seconds"]
        first, name = self.state["step"], self.run.folder.name
        terminal = self.progress and sys.stderr.isatty()
        bar = tqdm(total=self.steps, initial=first, desc=name, unit="step", disable=not terminal)
        if first == 0:
            self._log(0, 0.0)
        for step in range(first + 1, self.steps + 1):
            spent = time.process_time()
            self.take_step(step)
            self.state["processor_seconds"] += time.process_time() - spent
            seconds = time.monotonic() - started
            self.state |= {"step": step, "seconds": seconds}
            if step % _LOG_EVERY == 0 or step == self.steps or self._is_scored(step):
                self._log(step, seconds)
            if step % self.config.checkpoint_every == 0 and step < self.steps:
                with together(self.accelerator):
                    if self.main:
                        save_checkpoint(self.checkpoints, self.network, self.optimizer.optimizer, self.state)
            bar.update()
            a_fifth_more = step * 5 // self.steps > (step - 1) * 5 // self.steps
            if self.progress and not terminal and a_fifth_more:
                print(f"{name}: step {step} of {self.steps}, {seconds:.0f} s", file=sys.stderr, flush=True)
        bar.close()
        with together(self.accelerator):
            if self.main:
                self._write_results()

    def _resume(self) -> None:
        """Spread the network over the devices and go to the last checkpoint."""
        self.model, self.optimizer = self.accelerator.prepare(self.model, self.optimizer)
        with together(self.accelerator):
            optimizer = self.optimizer.optimizer
            self.state |= load_latest(self.checkpoints, self.network, optimizer, self.steps) or {}
            self.trainer.threads = self.state["threads"]
            path = self.run.folder / "history.csv"
            self.history = History(path, self.state["step"]) if self.main else None
        found = torch.tensor([self.state["step"]], device=self.accelerator.device)
        if len(set(self.accelerator.gather(found).tolist())) > 1:
            raise HsisrError(
                f"The processes found different checkpoints in {self.checkpoints}: all machines must see that folder."
            )

    def take_step(self, step: int) -> None:
        """Train on the batch of `step`, counted from 1."""
        config, accelerator = self.config, self.accelerator
        per_epoch = config.steps_per_epoch(len(self.dataset.train))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(config, step - 1, self.steps, per_epoch)
        share = (accelerator.process_index, accelerator.num_processes)
        lr, hr = (to_device(side, accelerator.device) for side in self.sampler.batch(step - 1, share))
        kept = self.network.kept(hr)
        loss = train_step(accelerator, self.model, self.optimizer, LOSSES[config.loss], lr, kept, config.clip)
        if not math.isfinite(loss):
            raise HsisrError(
                f"{self.run.folder.name}: the loss is {loss} at step {step}. Use a lower learning_rate, or set clip."
            )
        self.state["loss_sum"] += loss
        self.state["loss_count"] += 1

    def _is_scored(self, step: int) -> bool:
        every = self.config.evaluate_every
        return every is not None and step % every == 0

    def _log(self, step: int, seconds: float) -> None:
        """Add a row to the history: the mean loss since the last row, and scores when they are due."""
        count = self.state["loss_count"]
        loss = self.state["loss_sum"] / count if count else math.nan
        rate = self.optimizer.param_groups[0]["lr"]
        row: dict[str, float] = {"step": step, "loss": loss, "learning_rate": rate, "seconds": seconds}
        self.state |= {"loss_sum": 0.0, "loss_count": 0}
        with together(self.accelerator):
            if self.history is None:
                return
            if self._is_scored(step):
                model, last = self.network.eval(), step == self.steps
                self.scores = evaluate(model, self.pairs, self.config.method, bicubic=last)
                means = mean_scores(self.scores, self.config.method)
                row |= {metric: means[metric] for metric in ("psnr", "ssim", "sam")}
            self.history.add(row)

    def _write_results(self) -> None:
        """Write the weights, then metrics.json, which marks the run as finished."""
        model, dataset, device = self.network.eval(), self.dataset, self.accelerator.device
        gpu = device.type == "cuda"
        rows = self.scores if self._is_scored(self.steps) else evaluate(model, self.pairs, self.config.method)
        path = self.run.folder / "weights.safetensors"
        write_tensors(path, model.state_dict(), {"hash": self.run.folder.name})
        write_json(
            self.run.folder / "metrics.json",
            {
                "config": self.config.to_dict(),
                "dataset": dataset.name,
                "fingerprint": dataset.fingerprint,
                "split": {"name": dataset.split.name, "train": dataset.train, "test": dataset.test},
                "protocol": describe_protocol(self.config.blur),
                "images": rows,
                "mean": {name: mean_scores(rows, name) for name in ("bicubic", self.config.method)},
                "steps": self.steps,
                "patch": self.sampler.patch,  # smaller than the setting where images are small
                "seconds": round(self.state["seconds"], 3),
                # of the steps alone, all threads of this process together; says nothing of a GPU's work
                "processor_seconds": None if gpu else round(self.state["processor_seconds"], 3),
                "parameters": count_parameters(model),
                "weights_sha256": sha256_file(path),
                "peak_bytes": peak_bytes(),
                # a GPU's name, or the widest instructions that PyTorch uses
                "device": torch.cuda.get_device_name(device) if gpu else f"cpu, {get_cpu_capability()}",
                "processes": self.accelerator.num_processes,
                "threads": self.trainer.threads,
                "versions": versions(),
                "git_commit": git_commit(),
            },
        )
        # the weights replace the checkpoints
        for path in self.checkpoints.glob("*.safetensors"):
            path.unlink(missing_ok=True)


def build_network(config: RunConfig, bands: int) -> SuperResolver:
    """The network of `config` with its starting weights; the caller's random numbers are left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return build_model(config.method, config.scale, bands, **config.model_options())


def build_sampler(config: RunConfig, dataset: Dataset) -> PatchSampler:
    """The batches of `config` on the training images of `dataset`."""
    scenes = map(dataset.scene, dataset.train)
    smallest = min(math.ceil(min(dataset.size(name)) * min(config.image_sizes)) for name in dataset.train)
    patch = min(config.patch, smallest // config.scale)
    found = f"A training image has {smallest} pixels a side"
    if patch == 0:
        raise HsisrError(
            f"{found}, too few for x{config.scale}: leave it, or small values of `image_sizes`, out."
        )
    if patch < config.patch:
        warnings.warn(f"{found}: patches have {patch} LR pixels a side, not {config.patch}.", stacklevel=2)
    options = (config.lr_side, config.patches_per_image, config.image_sizes, config.augment, config.blur)
    return PatchSampler(scenes, config.scale, patch, config.batch, config.seed, *options)


def learning_rate(config: RunConfig, step: int, steps: int, steps_per_epoch: int | None) -> float:
    """Learning rate of `step`, counted from 0; "halve" is that of the paper (Sec. IV-B)."""
    if config.schedule == "halve":
        # RunConfig refuses this schedule where there are no epochs
        assert steps_per_epoch is not None
        return config.learning_rate * 0.5 ** (step // steps_per_epoch // config.halve_every)
    if config.schedule == "cosine":
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * step / steps))
    return config.learning_rate


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    packages = ("hsisr", "torch", "numpy", "scipy", "h5py", *["accelerate"] * bool(find_spec("accelerate")))
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def git_commit() -> str | None:
    """Commit of the source tree this module runs from, with "+" when it has local changes; None outside git."""
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--match="]
    folder = Path(__file__).parent
    try:
        found = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
