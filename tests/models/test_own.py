"""Networks of one's own: registered or in a file, settings of a run, and never imported because a file says so."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn
from typer.testing import CliRunner

from hsisr_core.base import book_folder
from hsisr_core.cli.commands import app, parse_settings
from hsisr_core.errors import HsisrError
from hsisr_core.fast import super_resolve
from hsisr_core.models import build_model, load_network, register, registry
from hsisr_core.runs import RunConfig, load_results, read_plan, read_run
from hsisr_core.train import train
from hsisr_core.training import tile_for
from hsisr_core.upscale import load_pretrained

MINE = """
from torch import nn
from torch.nn.functional import interpolate

class Mine(nn.Module):
    def __init__(self, scale, bands, width: int = 4, features: int = 6, slope: float = 0.0):
        super().__init__()
        self.scale = scale
        self.layers = nn.Sequential(nn.Conv2d(bands, width, 3, padding=1), nn.Conv2d(width, bands, 3, padding=1))

    def forward(self, lr):
        return interpolate(lr + self.layers(lr), scale_factor=self.scale)
"""
SHORT = {"steps": 3, "patch": 4, "batch": 1, "evaluate_every": None}


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """What a new process starts with; called again, what another process would see."""

    def clear() -> None:
        monkeypatch.setattr(registry, "_own", {})
        monkeypatch.setenv(registry.VARIABLE, "")

    clear()
    return clear


def written(folder: Path, text: str = MINE) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(text)
    return f"{folder}/mine.py:Mine"


def test_options_come_from_the_signature_and_are_checked(tmp_path: Path) -> None:
    name = load_network(written(tmp_path))
    assert name == "mine.py:Mine"
    assert RunConfig(method=name).model_options() == {"width": 4, "features": 6, "slope": 0.0}
    config = RunConfig.from_preset("demo", method=name, width=5)
    assert config.model_options() == {"width": 5, "features": 16, "slope": 0.0}, "features as the preset says"
    assert RunConfig.from_mapping(yaml.safe_load(config.to_yaml())) == config
    assert config.changed(method="edsr").model_options()["features"] == 16
    assert RunConfig(method=name).changed(method="edsr").features == 64
    for wrong, words in (
        ({"width": "wide"}, "width='wide': expected a valid integer"),
        ({"widht": 3}, "'widht' is not"),
    ):
        with pytest.raises(HsisrError, match=words):
            config.changed(**wrong)


def test_the_whole_file_names_the_run_and_its_folder_does_not(
    tmp_path: Path, forget: Callable[[], None]
) -> None:
    hashes = []
    for folder, text in (("a", MINE), ("b", MINE), ("c", MINE + "# a comment\n")):
        forget()
        hashes.append(RunConfig(method=load_network(written(tmp_path / folder, text))).hash("data"))
    assert hashes[0] == hashes[1] != hashes[2]
    assert RunConfig(method="mine.py:Mine", width=5).hash("data") not in hashes


def test_a_large_scene_is_cut_into_tiles_if_the_network_says_how_far_it_reaches(tmp_path: Path) -> None:
    large = np.broadcast_to(np.float32(0), (5, 8000, 8000))
    name = load_network(written(tmp_path))
    with pytest.warns(UserWarning, match=r"the scene at once, for about 5 GB.* `halo`"):
        assert tile_for(build_model(name, 2, 5), large) is None
    layers = "        self.scale = scale\n"
    name = load_network(written(tmp_path, MINE.replace(layers, layers + "        self.halo = 2\n")))
    assert tile_for(build_model(name, 2, 5), large) is not None
    assert build_model(name, 2, 5).halo == 2


def test_the_networks_of_the_book_s_tries_compute_and_say_how_far_they_reach() -> None:
    files = sorted((book_folder() / "networks").glob("*.py"))
    for file in files:
        load_network(f"{file}:{file.stem.title().replace('_', '')}")
    lr = np.random.default_rng(0).random((4, 21, 18), np.float32)
    seen = set()
    for config in read_plan("after").configs:
        if ".py:" not in config.method:
            continue
        torch.manual_seed(0)
        options = config.model_options() | {"features": 4, "modules": 1}
        model = build_model(config.method, 2, 4, **options)
        whole = super_resolve(model, lr)
        np.testing.assert_allclose(super_resolve(model, lr, tile=5), whole, atol=1e-5, err_msg=str(options))
        seen.add(config.method.partition(":")[0])
    assert seen == {file.name for file in files}


class Small(nn.Module):
    def __init__(self, scale: int) -> None:
        super().__init__()

    def forward(self, lr: Tensor) -> Tensor:
        return lr


class Positional(Small):
    def __init__(self, scale: int, width: int) -> None:
        super().__init__(scale)


class Failing(Small):
    def forward(self, lr: Tensor) -> Tensor:
        return lr @ torch.ones(3)


def text(folder: Path, content: str) -> str:
    (folder / "mine.py").write_text(content)
    return f"{folder}/mine.py:Mine"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda _: register("ssrnet")(Small), "'ssrnet' is taken"),
        (lambda _: (register("a")(Small), register("a")(Failing)), "'a' is taken"),
        (lambda _: register("a/b")(Small), "not a name"),
        (lambda _: register("a")(dict), "a: dict is not a torch.nn.Module class"),
        (lambda _: register("a")(Positional), "options that all have defaults"),
        (
            lambda _: (register("a")(Small), build_model("a", 2, 3)),
            r"\(1, 3, 16, 16\); expected \(1, 3, 32, 32\)",
        ),
        (
            lambda _: (register("a")(Failing), build_model("a", 2, 3)),
            "a fails on 3 bands .*RuntimeError",
        ),
        (lambda _: RunConfig(method="a", width=3), "method 'a' is unknown"),
        (lambda folder: load_network(f"{folder}/none.py:Mine"), "there is no file .*none.py"),
        (lambda folder: load_network(f"{folder}/mine.txt:Mine"), "expected FILE.py:CLASS"),
        (lambda folder: parse_settings(["method=mine.py"]), "mine.py: expected FILE.py:CLASS"),
        (
            lambda folder: RunConfig(
                method=load_network(text(folder, MINE.replace("slope: float", "seed: float")))
            ),
            "mine.py:Mine: its option 'seed' is a setting of every run",
        ),
        (lambda folder: load_network(text(folder, "class Other: pass")), "has no class 'Mine'"),
        (
            lambda folder: load_network(text(folder, "import nothing_here")),
            "cannot be imported: ModuleNotFoundError",
        ),
        (lambda folder: load_network(text(folder, "class Mine(:")), "cannot be imported: SyntaxError"),
    ],
)
def test_mistakes_are_one_clear_error(tmp_path: Path, call: Callable[[Path], object], words: str) -> None:
    with pytest.raises(HsisrError, match=words):
        call(tmp_path)


def test_a_plan_has_its_settings_beside_those_of_other_networks(tmp_path: Path) -> None:
    load_network(written(tmp_path))
    plan = tmp_path / "plan.yaml"
    plan.write_text("steps: 1\nruns: [{method: ssrnet}, {method: 'mine.py:Mine', slope: 0.1}]")
    read = read_plan(str(plan))
    labels = [read.label(config) for config in read.configs]
    assert labels == ["method=ssrnet", "method=mine.py:Mine features=6 slope=0.1 width=4"]


def test_runs_of_a_changed_network_stay_listed(tmp_path: Path, forget: Callable[[], None]) -> None:
    config = RunConfig.from_preset("demo", method=load_network(written(tmp_path / "a")), **SHORT)
    stored = config.to_dict()
    forget()
    load_network(written(tmp_path / "b", MINE.replace("width", "breadth")))
    again = RunConfig.from_mapping(stored)
    assert (again.to_dict()["width"], again.source) == (4, config.source)
    with pytest.raises(HsisrError, match="has changed since it was trained"):
        again.model_options()


def test_a_mistake_leaves_no_run_folder(tmp_path: Path) -> None:
    register("a")(Small)
    with pytest.raises(HsisrError, match="expected"):
        train(RunConfig.from_preset("demo", method="a", **SHORT), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_from_a_file_to_sr_and_refused_without_consent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forget: Callable[[], None]
) -> None:
    written(tmp_path / "elsewhere")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HSISR_RUNS", str(tmp_path / "runs"))
    consent = ["--network", "../elsewhere/mine.py:Mine"]

    def run(*arguments: str) -> str:
        """Output of the command; of a refusal, its message."""
        forget()
        result = CliRunner().invoke(app, arguments)
        return str(result.exception) if isinstance(result.exception, HsisrError) else result.output

    settings = [word for name, value in SHORT.items() for word in ("-p", f"{name}={value or 'null'}")]
    output = run("train", "-p", "method=../elsewhere/mine.py:Mine", *settings)
    assert "mine.py:Mine" in output
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("mine-Mine-x2-indian-pines-")

    # code in the place of the network: none of it may run
    trap = MINE + "\nraise SystemExit('imported')\n"
    (tmp_path / "here" / "mine.py").write_text(trap)
    preset = tmp_path / "preset.yaml"
    preset.write_text("{method: mine.py:Mine, width: 3, steps: 3, patches_per_image: null, schedule: cosine}")
    forget()
    run_here = read_run(folder)
    for refused in (
        run("train", "--preset", str(preset)),
        run("runs", str(preset), "--status"),
        run("evaluate", str(folder)),
        run("upscale", "indian-pines", "--scale", "2", "--model", str(folder)),
    ):
        assert "only if you name it. Run `hsisr --network PATH/mine.py:Mine" in refused
    assert set(load_results()["method"]) >= {"mine.py:Mine"}
    assert run_here.config.changed(seed=2).to_dict()["width"] == 4
    with pytest.raises(HsisrError, match="only if you name it"):
        run_here.model()

    assert "mine.py:Mine" in run(*consent, "evaluate", str(folder))
    packed = str(tmp_path / "packed" / "mine-x2.safetensors")
    assert packed in run(*consent, "pack", str(folder), "mine-x2", "-o", str(tmp_path / "packed"))
    card = Path(packed).with_suffix(".md").read_text()
    assert "mine.py:Mine for factor 2" in card
    assert "`hsisr --network PATH/mine.py:Mine upscale CUBE --scale 2 --model mine-x2.safetensors`" in card
    assert sorted(file.name for file in (tmp_path / "packed").iterdir()) == [
        "mine-x2.md",
        "mine-x2.safetensors",
    ]
    forget()
    with pytest.raises(HsisrError, match="only if you name it"):
        load_pretrained(packed)
    upscale = (
        "upscale",
        "indian-pines",
        "--scale",
        "2",
        "--model",
        packed,
        "-o",
        "sr.h5",
        "--tile",
        "40",
        "--no-check",
    )
    assert "sr.h5" in run(*consent, *upscale)
    forget()
    load_network(written(tmp_path / "elsewhere", MINE + "# changed\n"))
    for use in (run_here.model, lambda: load_pretrained(packed)):
        with pytest.raises(HsisrError, match="has changed since it was trained"):
            use()


def test_worker_processes_know_the_file_that_was_named(tmp_path: Path, forget: Callable[[], None]) -> None:
    """They share the environment, not the memory; there the path does not depend on the working folder."""
    load_network(os.path.relpath(written(tmp_path)))
    named = os.environ[registry.VARIABLE]
    forget()
    os.environ[registry.VARIABLE] = named
    assert named == f"{tmp_path}/mine.py:Mine"
    assert RunConfig(method="mine.py:Mine").width == 4  # type: ignore[attr-defined]
