"""The command line: what it prints, and exit code 2 with one line for a user's mistake."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io
from small_plan import write_plan

from hsisr_core import __version__
from hsisr_core.cli import main
from hsisr_core.cli.commands import parse_settings
from hsisr_core.cli.report import scene_table
from hsisr_core.data import read_scene, write_store
from hsisr_core.errors import HsisrError
from hsisr_core.runs import Run
from hsisr_core.scenes import Georeference

TINY = str(Path(__file__).parent / "tiny.yaml")


Hsisr = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def hsisr(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Hsisr:
    """`hsisr(*arguments, runs=folder)`: the command as a terminal would start it, but in this process."""
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def call(*arguments: str, runs: Path) -> subprocess.CompletedProcess[str]:
        monkeypatch.setenv("HSISR_RUNS", str(runs))
        monkeypatch.setattr(sys, "argv", ["hsisr", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return subprocess.CompletedProcess(arguments, int(end.value.code or 0), *capfd.readouterr())

    return call


def test_a_plan_says_how_its_data_are_read(
    hsisr: Hsisr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The options that the error of a doubtful file names are those of the command that raises it."""
    monkeypatch.setenv("HSISR_CACHE", str(tmp_path / "cache"))
    folder, split = tmp_path / "mine", tmp_path / "mine.yaml"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in "ab":
        arrays = {"rad": rng.integers(1, 4000, (7, 30, 29)), "other": rng.random((30, 29, 8))}
        scipy.io.savemat(folder / f"{name}.mat", arrays)
    split.write_text("{name: mine, dataset: mine, train: [a], test: [b]}")
    common = ["--data", str(folder), "-p", f"split={split}"]
    plan = ["runs", write_plan(tmp_path, "[{seed: 1}]"), "--status", *common]
    for command in (plan, ["train", "--preset", TINY, *common]):
        refused = hsisr(*command, runs=tmp_path / "runs")
        assert refused.returncode == 2
        assert "--key" in refused.stderr
    read = hsisr(*plan, "--key", "rad", "--band-axis", "0", "--divisor", "4000", runs=tmp_path / "runs")
    assert read.returncode == 0, read.stderr
    assert "1 runs: 1 missing" in read.stdout


@pytest.mark.slow
def test_train_then_evaluate_agree(hsisr: Hsisr, tmp_path: Path) -> None:
    trained = hsisr("train", "--preset", TINY, "-p", "steps=5", runs=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert (
        "preset tiny, indian-pines (split indian-pines, test: north-east), seed 1, 5 steps" in trained.stdout
    )
    (folder,) = tmp_path.iterdir()
    scored = hsisr("evaluate", str(folder), runs=tmp_path)
    line = next(line for line in trained.stdout.splitlines() if line.startswith("ssrnet "))
    assert line in scored.stdout.splitlines()


def test_shipped_weights_are_scored_by_their_name(
    hsisr: Hsisr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def report(run: Run, *_: object) -> None:
        raise HsisrError(f"{run.config.features} filters, {run.model().mean.numel()} bands")

    monkeypatch.setattr("hsisr_core.training.rescore", report)
    assert "32 filters, 31 bands" in hsisr("evaluate", "ssrnet-32-x4-cave-nine", runs=tmp_path).stderr


def test_version_and_help(hsisr: Hsisr, tmp_path: Path) -> None:
    assert hsisr("--version", runs=tmp_path).stdout.strip() == f"hsisr {__version__}"
    help_text = hsisr("--help", runs=tmp_path).stdout
    assert all(command in help_text for command in ("book", "train", "runs", "results", "evaluate", "info"))


def test_help_waits_for_no_large_library() -> None:
    text = "import sys, hsisr_core.cli; print({'torch', 'numpy', 'pandas', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--preset", "demos"], "demo, evidence, evidence-nine, paper"),
        (["train", "--preset", TINY, "-p", "scale=7"], "2, 3, 4 or 8"),
        (["train", "--preset", TINY, "-p", "filters=7"], "Valid settings"),
        (["train", "--preset", TINY, "-p", "steps"], "NAME=VALUE"),
        (["train", "--preset", TINY, "-p", "method=ssrnett"], "method 'ssrnett' is unknown"),
        (
            ["train", "--preset", TINY, "-p", "method=gdrrn", "-p", "modules=2"],
            "gdrrn has no option 'modules'",
        ),
        (["train", "--preset", TINY, "--data", "nowhere"], "nowhere"),
        (["evaluate", "nowhere"], "not a run folder"),
        (["info", "nowhere.mat"], "nowhere.mat"),
        (["runs", "demos"], "demo, evidence, evidence-nine, paper"),
        (["runs", TINY, "--shard", "3/2"], "expected i/n"),
        (["runs", TINY, "--gpu", "a100"], "only --dry-run"),
        (["runs", TINY, "--dry-run", "--gpu", "potato"], "choose one of"),
        (["runs", TINY, "--data", "nowhere"], "Unknown dataset 'nowhere'"),
        (["runs", TINY, "-p", "filters=7"], "Valid settings"),
        (["results", "nowhere"], "nowhere is not a folder"),
        (["upscale", "indian-pines", "--scale", "5"], "expected 2, 3, 4 or 8"),
        (["upscale", "indian-pines", "--scale", "2", "-o", f"{TINY}/a.h5"], "tiny.yaml is not a folder"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    hsisr: Hsisr, tmp_path: Path, arguments: list[str], words: str
) -> None:
    result = hsisr(*arguments, runs=tmp_path)
    assert result.returncode == 2
    assert words in result.stderr
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_info_on_the_embedded_cube(hsisr: Hsisr, tmp_path: Path) -> None:
    text = hsisr("info", "indian-pines", runs=tmp_path).stdout
    assert "145 x 145 pixels, 31 bands" in text
    assert "400.02 to 2498.96 nm" in text


def test_a_wrong_plan_starts_nothing(hsisr: Hsisr, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    result = hsisr("runs", write_plan(tmp_path, "[{seed: 2}, {colour: red}]"), "--jobs", "2", runs=runs)
    assert result.returncode == 2
    assert "entry 2 of runs: 'colour' is not a setting" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not runs.exists()


@pytest.mark.slow
def test_a_plan_with_a_failure_then_its_results(hsisr: Hsisr, tmp_path: Path) -> None:
    """Sharded over two commands; the failure is listed, and the status is free of side effects."""
    runs = tmp_path / "runs"
    plan = write_plan(
        tmp_path, "[{product: {seed: [1, 2]}}, {image_sizes: [0.01]}]", steps=3, evaluate_every=None
    )
    first = hsisr("runs", plan, "--shard", "1/2", runs=runs)
    assert first.returncode == 1
    assert "too few for x2" in first.stderr
    assert "2 runs: 1 done, 1 failed" in first.stdout
    status = hsisr("runs", plan, "--status", runs=runs)
    assert status.returncode == 0
    assert "3 runs: 1 done, 1 failed, 1 missing" in status.stdout
    second = hsisr("runs", plan, "--shard", "2/2", runs=runs)
    assert second.returncode == 0, second.stderr
    (tmp_path / "none").mkdir()
    assert hsisr("results", str(tmp_path / "none"), runs=runs).stdout == "No finished run.\n"
    table = hsisr("results", str(runs), "-o", str(tmp_path / "all.csv"), runs=runs)
    assert table.returncode == 0, table.stderr
    assert len(table.stdout.splitlines()) == 1 + 4
    scored = hsisr("evaluate", str(runs), "-o", str(tmp_path / "again.csv"), runs=runs)
    assert scored.returncode == 0
    again = pd.read_csv(tmp_path / "again.csv")
    again = again.sort_values(["run", "result"])
    stored = pd.read_csv(tmp_path / "all.csv").sort_values(["run", "result"])
    assert again["run"].tolist() == stored["run"].tolist()
    assert again["psnr"].tolist() == pytest.approx(stored["psnr"].tolist(), abs=1e-6)


@pytest.mark.slow
def test_a_dry_run_estimates_and_trains_nothing(hsisr: Hsisr, tmp_path: Path) -> None:
    plan = write_plan(tmp_path, "[{product: {seed: [1, 2]}}]")
    result = hsisr("runs", plan, "--dry-run", "--gpu", "a100", runs=tmp_path / "runs")
    assert result.returncode == 0, result.stderr
    assert "seed=2" in result.stdout
    assert "1,650" in result.stdout
    assert "A100: not measured" in result.stdout
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_dry_run_needs_no_download(hsisr: Hsisr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts with the sizes that the dataset is declared to have: 62 of Harvard's 77 scenes train."""
    monkeypatch.setenv("HSISR_DATASETS", str(tmp_path / "empty"))
    plan = write_plan(tmp_path, "[{method: ssrnet, features: 2}]")
    epochs = ["-p", "epochs=1", "-p", "patches_per_image=24", "-p", "augment=paper", "-p", "data=harvard"]
    result = hsisr("runs", plan, "--dry-run", *epochs, runs=tmp_path / "runs")
    assert result.returncode == 0, result.stderr
    assert f" {62 * 24 * 5 // 2:,} " in result.stdout
    assert "by the sizes that are declared: harvard" in result.stdout
    assert hsisr("runs", plan, "--status", *epochs, runs=tmp_path / "runs").returncode == 2


def test_info_on_other_formats_and_their_options(hsisr: Hsisr, tmp_path: Path) -> None:
    path = tmp_path / "cube.npy"
    np.save(path, np.arange(1, 5 * 6 * 7 + 1, dtype=np.uint16).reshape(5, 6, 7))
    text = hsisr("info", str(path), runs=tmp_path).stdout
    assert "6 x 7 pixels, 5 bands" in text
    assert (
        "NumPy file, uint16, bands x height x width, divided by 210 (the maximum of the whole image)" in text
    )
    text = hsisr("info", str(path), "--band-axis", "2", "--divisor", "420", runs=tmp_path).stdout
    assert "5 x 6 pixels, 7 bands" in text
    assert "0.0024 to 0.5000" in text
    assert "divided by 420 (as asked)" in text
    georeference = Georeference((500000.0, 2.5, 0, 4600000.0, 0, -2.5), "EPSG:32633")
    scene = replace(read_scene(path), georeference=georeference, mask=np.arange(42).reshape(6, 7) > 2)
    assert "corner at x 500000, y 4600000, pixel 2.5 by -2.5; EPSG:32633" in scene_table(scene)
    assert "3 of 42 pixels" in scene_table(scene)


def test_info_on_a_store(hsisr: Hsisr, tmp_path: Path) -> None:
    store = tmp_path / "scenes.h5"
    write_store(store, [read_scene("indian-pines")], sources=[], dataset="indian-pines")
    text = hsisr("info", str(store), runs=tmp_path).stdout
    assert "dataset indian-pines, 1 scenes" in text
    assert "indian-pines: 145 x 145 pixels, 31 bands, wavelengths 400.02 to 2498.96 nm" in text


def test_settings_are_read_as_yaml() -> None:
    assert parse_settings(["scale=3", "clip=null", "block=standard"]) == {
        "scale": 3,
        "clip": None,
        "block": "standard",
    }
    with pytest.raises(HsisrError, match="NAME=VALUE"):
        parse_settings(["=3"])


@pytest.mark.slow
def test_a_terminated_upscale_leaves_nothing(tmp_path: Path) -> None:
    cube = np.random.default_rng(0).random((31, 300, 300), dtype=np.float32)
    np.save(tmp_path / "cube.npy", cube)
    command = [
        "upscale",
        str(tmp_path / "cube.npy"),
        "--scale",
        "2",
        "--no-check",
        "-o",
        str(tmp_path / "out.h5"),
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "hsisr_core", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while process.poll() is None and not list(tmp_path.glob(".out.h5.*")):
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate()
    assert process.returncode == 130, said
    assert "stopped" in said
    assert [path.name for path in tmp_path.iterdir()] == ["cube.npy"]
