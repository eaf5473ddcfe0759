"""The Snakemake workflow: one job a run, what each asks for, and a rerun that does only what is missing."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from hsisr_core.cli.commands import app
from hsisr_core.data import load_dataset
from hsisr_core.errors import HsisrError
from hsisr_core.runs import RunConfig, planned_runs, read_plan
from hsisr_core.training import needs

ROOT = Path(__file__).resolve().parents[2]
SNAKEMAKE = ROOT / ".venv-snakemake" / "bin" / "python"
needs_snakemake = pytest.mark.skipif(
    not SNAKEMAKE.is_file(), reason=".venv-snakemake is not there: `make snakemake` makes it"
)
RUNS = [{"product": {"seed": [1, 2, 3]}}]


@pytest.fixture
def plan(project: Path) -> Path:
    """A plan of three tiny runs, in a project folder of its own that uses this code."""
    for name in ("hsisr_core", "workflow"):
        (project / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "book" / "splits", project / "book" / "splits", dirs_exist_ok=True)
    values = yaml.safe_load((ROOT / "tests" / "tiny.yaml").read_text())
    file = project / "plan.yaml"
    file.write_text(yaml.safe_dump(values | {"steps": 150, "evaluate_every": None, "runs": RUNS}))
    return file


def jobs(*options: str) -> list[dict[str, Any]]:
    """What `hsisr runs plan.yaml --dry-run --json` prints."""
    result = CliRunner().invoke(app, ["runs", "plan.yaml", "--dry-run", "--json", *options])
    assert result.exit_code == 0, result.output
    return list(json.loads(result.stdout))


def test_a_job_trains_the_run_that_the_plan_names(plan: Path) -> None:
    listed = jobs()
    assert [job["label"] for job in listed] == ["seed=1", "seed=2", "seed=3"]
    fingerprint = load_dataset("indian-pines").fingerprint
    for job in listed:
        config = RunConfig.from_preset(job["config"])
        assert job["name"].endswith(config.hash(fingerprint))
        assert job["metrics"] == f"runs/{job['name']}/metrics.json"
        assert (job["steps"], job["gpu"]) == (150, 0)
    before = Path(listed[0]["config"]).stat().st_mtime_ns
    assert [job["gpu"] for job in jobs("--gpu", "a100")] == [1, 1, 1]
    assert Path(listed[0]["config"]).stat().st_mtime_ns == before  # a new file would plan every run again


def test_json_is_of_the_dry_run(plan: Path) -> None:
    result = CliRunner().invoke(app, ["runs", "plan.yaml", "--json"])
    assert isinstance(result.exception, HsisrError)
    assert "only --dry-run" in str(result.exception)


def test_needs_grow_with_the_work(plan: Path) -> None:
    def needs_of(gpu: str | None = None, **settings: object) -> dict[str, int]:
        return needs(planned_runs(read_plan("plan.yaml", {"seed": 1, **settings}))[0], gpu)

    small = needs_of(steps=100_000, batch=8)
    assert small["gpu"] == 0
    twice = needs_of(steps=200_000, batch=8)
    assert twice["runtime"] - 10 == pytest.approx(2 * (small["runtime"] - 10), abs=2)
    assert needs_of(steps=100_000, batch=64)["mem_mb"] > small["mem_mb"]
    gpu = needs_of("a100", steps=100_000, batch=64)
    assert gpu["gpu"] == 1
    assert gpu["mem_mb"] <= small["mem_mb"]  # the batch lies on the GPU
    assert 10 < gpu["runtime"] < small["runtime"]


def snakemake_command(*arguments: str, profile: str = "local") -> list[str]:
    config = ["--config", "plan=plan.yaml", f"python={sys.executable}"]
    options = ["--profile", f"workflow/profiles/{profile}", "--cores", "1"]
    return [str(SNAKEMAKE), "-m", "snakemake", *options, *arguments, *config]


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def begun_runs(runs: Path) -> set[Path]:
    """The runs with a checkpoint and no result."""
    stored = {path.parent.parent for path in runs.glob("*/checkpoint/step-*")}
    return {folder for folder in stored if not (folder / "metrics.json").exists()}


@needs_snakemake
@pytest.mark.slow
def test_the_dry_run_lists_every_run(plan: Path) -> None:
    result = run(snakemake_command("--dry-run"))
    assert result.returncode == 0, result.stderr
    assert re.search(r"^run +3$", result.stdout + result.stderr, re.MULTILINE)
    wrong = run([part.replace("plan=plan.yaml", "plan=nothing") for part in snakemake_command("--dry-run")])
    assert wrong.returncode != 0
    assert "preset 'nothing' does not exist" in wrong.stdout + wrong.stderr


@needs_snakemake
@pytest.mark.slow
def test_killed_with_9_and_rerun_does_only_what_is_missing(plan: Path) -> None:
    runs = plan.parent / "runs"
    victim = subprocess.Popen(
        snakemake_command(), start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 240
        while not (list(runs.glob("*/metrics.json")) and begun_runs(runs)):
            assert time.monotonic() < deadline
            assert victim.poll() is None
            time.sleep(0.05)
    finally:
        os.killpg(victim.pid, signal.SIGKILL)  # Snakemake and its jobs
        victim.wait()
    finished = {path.parent for path in runs.glob("*/metrics.json")}
    (begun,) = begun_runs(runs)
    assert len(finished) == 1
    # As if only Snakemake had died and its job had gone on: complete, but marked incomplete by Snakemake.
    settings = f"_build/workflow/{begun.name}.yaml"
    assert run([sys.executable, "-m", "hsisr_core", "train", "--preset", settings]).returncode == 0
    trained = {folder: (folder / "weights.safetensors").stat().st_mtime_ns for folder in {*finished, begun}}

    locked = run(snakemake_command())
    assert locked.returncode != 0
    assert "--unlock" in locked.stdout + locked.stderr
    assert run(snakemake_command("--unlock")).returncode == 0
    again = run(snakemake_command("--rerun-incomplete"))
    assert again.returncode == 0, again.stderr
    assert re.search(r"^run +2$", again.stdout + again.stderr, re.MULTILINE)  # the begun one, and the third
    assert len(list(runs.glob("*/metrics.json"))) == 3
    for folder, before in trained.items():
        assert (folder / "weights.safetensors").stat().st_mtime_ns == before, "trained a second time"
    nothing = run(snakemake_command())
    assert "Nothing to be done" in nothing.stdout + nothing.stderr


@needs_snakemake
@pytest.mark.slow
def test_what_slurm_would_be_given(plan: Path) -> None:
    shown = run(
        [str(SNAKEMAKE), "workflow/show_slurm.py", "--config", "plan=plan.yaml", f"python={sys.executable}"]
    )
    assert shown.returncode == 0, shown.stderr
    submitted = [line for line in shown.stdout.splitlines() if line.startswith("$ sbatch")]
    assert len(submitted) == 3
    expected = {job["name"]: job for job in jobs("--gpu", "a100")}
    for line in submitted:
        (name,) = (name for name in expected if name in line)
        assert f"-t {expected[name]['runtime']} " in line
        assert f"--mem {expected[name]['mem_mb']} " in line
        assert "--gpus=1" in line
        assert "-A research -p gpu" in line
    assert "#!/bin/sh" in shown.stdout
    assert not list(plan.parent.glob("runs/*")), "a job that was only shown leaves nothing"
