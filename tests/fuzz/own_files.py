"""Small valid files of every kind that hsisr itself writes or asks its user to write."""

from __future__ import annotations

import json
import tempfile
import types
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import Kind
from small_plan import finish, small_plan, write_plan

from hsisr_core.book.chapter import chapter_parameters
from hsisr_core.cli import commands
from hsisr_core.cli.report import results_table
from hsisr_core.data import load_split
from hsisr_core.errors import HsisrError
from hsisr_core.models import build_model
from hsisr_core.runs import HISTORY, PlannedRun, Run, RunConfig, planned_runs, read_plan, read_run, run_state
from hsisr_core.training import write_tensors
from hsisr_core.training.checkpoint import History, load_latest, save_checkpoint
from hsisr_core.upscale import adapt_network, find_differences, load_pretrained

OPTIONS: dict[str, Any] = {"features": 4, "modules": 1, "units": 1}
BANDS = 5
STEPS = 9


@cache
def _planned() -> PlannedRun:
    with tempfile.TemporaryDirectory() as folder:
        return small_plan(Path(folder), "")[0]


def _run(folder: Path, *kept: str) -> Path:
    """These files of a finished run, in a folder with its name; returns the path of the first."""
    planned = replace(_planned(), folder=folder / _planned().folder.name)
    finish(planned)
    rows = ["0,nan,0.001,0.0,,,", "10,0.25,0.001,1.5,30.1,0.9,2.0", "20,0.2,0.0001,3.0,30.5,0.9,1.9"]
    (planned.folder / "history.csv").write_text("\n".join([",".join(HISTORY), *rows, ""]))
    (planned.folder / "failed.json").write_text('{"error": "no space", "traceback": ["a"], "time": "now"}')
    write_tensors(planned.folder / "weights.safetensors", _network(planned.config).state_dict())
    for file in planned.folder.iterdir():
        if file.name not in kept:
            file.unlink()
    return planned.folder / kept[0]


def _network(config: RunConfig) -> torch.nn.Module:
    return build_model("ssrnet", config.scale, BANDS, **config.model_options())


def _config(folder: Path) -> Path:
    return _run(folder, "config.yaml")


def _read_config(path: Path) -> None:
    run = read_run(path.parent)
    run.config.command()
    run.config.model_options()


def _metrics(folder: Path) -> Path:
    return _run(folder, "metrics.json", "config.yaml")


def _read_metrics(path: Path) -> None:
    commands.results(path.parents[1], path.with_name("table.csv"))
    run = read_run(path.parent)
    results_table(run)
    assert not run.finished, "the weights are not here"


def _history(folder: Path) -> Path:
    return _run(folder, "history.csv", "failed.json")


def _read_history(path: Path) -> None:
    run_state(replace(_planned(), folder=path.parent))
    run = Run(path.parent, _planned().config, "")
    run.history()
    History(path, 10).add({"step": 11, "loss": 0.1})
    assert run.history()["step"].iloc[-1] == 11


def _weights(folder: Path) -> Path:
    return _run(folder, "weights.safetensors", "config.yaml")


def _read_weights(path: Path) -> None:
    _super_resolve(read_run(path.parent).model())


def _packed(folder: Path) -> Path:
    torch.manual_seed(0)
    model = build_model("ssrnet", 2, BANDS, weight_norm=False, **OPTIONS)
    each = [0.5] * BANDS
    centres = np.linspace(420, 700, BANDS).tolist()
    info = {
        "name": "made",
        "method": "ssrnet",
        "scale": 2,
        "mirror": 1,
        "source": None,
        "trained_on": "noise",
    }
    info["options"] = {**OPTIONS, "weight_norm": False, "init": "pytorch"}
    info["statistics"] = {"mean": each, "std": each, "noise": each, "wavelengths": centres}
    tensors = {name: value.half() for name, value in model.state_dict().items()}
    write_tensors(folder / "made.safetensors", tensors, {"hsisr": json.dumps(info)})
    return folder / "made.safetensors"


def _read_packed(path: Path) -> None:
    weights = load_pretrained(path)
    cube = np.random.default_rng(0).random((BANDS, 6, 7), np.float32)
    centres = np.linspace(420, 700, BANDS)
    find_differences(weights, cube, centres)
    _super_resolve(adapt_network(weights, cube.mean(axis=(1, 2)), centres)[0])


def _super_resolve(model: torch.nn.Module) -> None:
    with torch.no_grad():
        assert model(torch.zeros(1, BANDS, 6, 7)).isfinite().all()


def _training() -> tuple[torch.nn.Module, torch.optim.Adam]:
    """A network after a step, with its optimiser: always the same."""
    torch.manual_seed(0)
    model = build_model("ssrnet", 2, BANDS, **OPTIONS)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.rand(1, BANDS, 4, 4)).sum().backward()
    optimizer.step()
    return model, optimizer


STATE = {"seconds": 1.5, "processor_seconds": 1.5, "loss_sum": 0.5, "step": 5, "loss_count": 2, "threads": 1}


def _checkpoint(folder: Path) -> Path:
    model, optimizer = _training()
    save_checkpoint(folder, model, optimizer, STATE)
    return folder / "step-00000005.safetensors"


def _read_checkpoint(path: Path) -> None:
    """Refused, or the same to the last bit."""
    model, optimizer = _training()
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    for value in model.parameters():
        value.data.zero_()
    with warnings.catch_warnings(record=True, action="always") as said:
        state = load_latest(path.parent, model, optimizer, STEPS)
    if state is None:
        raise HsisrError(str(said[0].message))
    assert state == STATE
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())


def _split(folder: Path) -> Path:
    (folder / "split.yaml").write_text(
        "name: pieces\ndataset: toys\nnote: 'two scenes, and a part of a third'\ntrain:\n  - one\n"
        "  - {name: left, scene: two, cols: [0, 30], reduce_to: 64}\n"
        "test:\n  - {name: right, scene: two, cols: [30, 60], reduce_to: 64, high_byte: true}\n"
    )
    return folder / "split.yaml"


def _rule(folder: Path) -> Path:
    (folder / "rule.yaml").write_text(
        "name: chance\ndataset: toys\nnote: ''\nrule: {seed: 1, train_fraction: 0.8, test_side: 64}\n"
    )
    return folder / "rule.yaml"


def _read_split(path: Path) -> None:
    split = load_split(path, ["one", "two", "three", "four"])
    for region in split.regions:
        split.reduce_to(region.scene)
        region.bounds(90, 90)


def _preset(folder: Path) -> Path:
    runs = "[{seed: 1}, {table: loss, steps: 4, product: {seed: [1, 2]}}, {method: edsr, blocks: 1}]"
    return Path(write_plan(folder, runs, "preset.yaml"))


def _read_preset(path: Path) -> None:
    RunConfig.from_preset(str(path))
    plan = read_plan(str(path))
    data = types.SimpleNamespace(name="toys", fingerprint="0", train=["a"])
    for run in planned_runs(plan.shown(), path.parent, load=lambda *_, **__: data):  # type: ignore[arg-type]
        assert run.steps >= 0
        run_state(run)


def _notebook(folder: Path) -> Path:
    source = ["from typing import Optional\n", "scale: int = 2  # factor\n", "data: Optional[str] = None"]
    code: dict[str, Any] = {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
        "source": ["scale"],
    }
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": "# A chapter"},
        code | {"metadata": {"tags": ["parameters"]}, "source": source},
        code,
    ]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    notebook = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (folder / "a.ipynb").write_text(json.dumps(notebook, indent=1))
    return folder / "a.ipynb"


def _read_notebook(path: Path) -> None:
    chapter_parameters(path)


# archives and stores, which are ours too, stand with the scenes they hold
OWN_FILES = [
    Kind("config", _config, _read_config),
    Kind("metrics", _metrics, _read_metrics),
    Kind("history", _history, _read_history),
    Kind("checkpoint", _checkpoint, _read_checkpoint),
    Kind("weights", _weights, _read_weights),
    Kind("packed", _packed, _read_packed),
    Kind("split", _split, _read_split),
    Kind("rule", _rule, _read_split),
    Kind("preset", _preset, _read_preset),
    Kind("notebook", _notebook, _read_notebook),
]
