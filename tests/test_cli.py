"""The command line: what it prints, and exit code 2 with one line for a user's mistake."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hsisr_core import __version__
from hsisr_core.cli import parse_settings
from hsisr_core.errors import HsisrError

TINY = str(Path(__file__).parent / "tiny.yaml")


def hsisr(*arguments: str, runs: Path) -> subprocess.CompletedProcess[str]:
    import os

    environment = os.environ | {"HSISR_RUNS": str(runs)}
    return subprocess.run(
        [sys.executable, "-m", "hsisr_core", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


@pytest.mark.slow
def test_train_then_evaluate_agree(tmp_path: Path) -> None:
    trained = hsisr("train", "--preset", TINY, "-p", "steps=5", runs=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert (
        "preset tiny, indian-pines (split indian-pines, test: north-east), seed 1, 5 steps" in trained.stdout
    )
    (folder,) = tmp_path.iterdir()
    scored = hsisr("evaluate", str(folder), runs=tmp_path)
    line = next(line for line in trained.stdout.splitlines() if line.startswith("ssrnet "))
    assert line in scored.stdout.splitlines()


def test_version_and_help(tmp_path: Path) -> None:
    assert hsisr("--version", runs=tmp_path).stdout.strip() == f"hsisr {__version__}"
    help_text = hsisr("--help", runs=tmp_path).stdout
    assert all(command in help_text for command in ("book", "train", "evaluate", "info"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--preset", "demos"], "demo, paper"),
        (["train", "--preset", TINY, "-p", "scale=7"], "2, 3, 4"),
        (["train", "--preset", TINY, "-p", "filters=7"], "Valid settings"),
        (["train", "--preset", TINY, "-p", "steps"], "NAME=VALUE"),
        (["train", "--preset", TINY, "--data", "nowhere"], "nowhere"),
        (["evaluate", "nowhere"], "no run folder"),
        (["info", "nowhere.mat"], "nowhere.mat"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], words: str) -> None:
    result = hsisr(*arguments, runs=tmp_path)
    assert result.returncode == 2
    assert words in result.stderr
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_info_on_the_embedded_cube(tmp_path: Path) -> None:
    text = hsisr("info", "indian-pines", runs=tmp_path).stdout
    assert "145 x 145 pixels, 31 bands" in text
    assert "400.02 to 2498.96 nm" in text


def test_settings_are_read_as_yaml() -> None:
    assert parse_settings(["scale=3", "clip=null", "block=standard"]) == {
        "scale": 3,
        "clip": None,
        "block": "standard",
    }
    with pytest.raises(HsisrError, match="NAME=VALUE"):
        parse_settings(["=3"])
