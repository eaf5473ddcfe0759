"""The two commands from an archive to a store, as a user runs them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from loopback import cave_zip, harvard_tgz

ROOT = Path(__file__).parents[2]


def run(script: str, *arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "data_scripts" / f"{script}.py"), *map(str, arguments)]
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "HSISR_DATASETS": str(folder / "data"),
        "COLUMNS": "100",
    }
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)


@pytest.mark.slow
def test_harvard_from_archives_to_the_store(tmp_path: Path) -> None:
    for name, data in (("CZ_hsdb", harvard_tgz()), ("CZ_hsdbi", harvard_tgz("CZ_hsdbi", ("imgh7",)))):
        archive = tmp_path / "data" / "harvard" / f"{name}.tgz"
        archive.parent.mkdir(parents=True, exist_ok=True)
        archive.write_bytes(data)
    fetched = run("fetch", "harvard", folder=tmp_path)
    assert (fetched.returncode, fetched.stderr) == (0, "")
    lines = fetched.stdout.splitlines()
    # before anything is fetched: the terms and whom to cite
    assert lines[0].startswith("Harvard real-world hyperspectral images, 7.5 GB")
    assert lines[2] == "Terms: Free for research and academic use."
    assert lines[3].startswith("Please cite: Chakrabarti")
    store = tmp_path / "data" / "harvard" / "scenes.h5"
    assert lines[-1] == f"Next: python data_scripts/prepare.py harvard {store.parent} --out {store}"
    prepared = run("prepare", "harvard", store.parent, "--out", store, folder=tmp_path)
    assert (prepared.returncode, prepared.stderr) == (0, "")
    assert f"{store}: 3 scenes of harvard from" in prepared.stdout
    assert "The paper has 77 scenes of 31 bands." in prepared.stdout
    assert prepared.stdout.endswith(f"Next: hsisr info {store}\n")


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    (tmp_path / "complete_ms_data.zip").write_bytes(cave_zip())
    fetched = run("fetch", "cave", "--to", tmp_path, folder=tmp_path)
    # the true archive has 405,988,465 bytes
    assert fetched.returncode == 2
    assert "expected 405988465: it is not whole, or another file" in fetched.stderr
    zipfile.ZipFile(tmp_path / "complete_ms_data.zip").extractall(tmp_path / "mine")
    prepared = run("prepare", "cave", "mine", "--out", "scenes.h5", folder=tmp_path)
    assert "left out: watercolors_ms/watercolors_ms: its bands are colour PNGs of 8 bits" in prepared.stdout
    assert "scenes.h5: 2 scenes of cave" in prepared.stdout
    assert "The paper has 31 scenes of 31 bands." in prepared.stdout


def test_a_part_is_not_held_against_the_paper(tmp_path: Path) -> None:
    zipfile.ZipFile(io.BytesIO(cave_zip())).extractall(tmp_path / "mine")
    prepared = run("prepare", "cave", "mine", "--out", "s.h5", "--wavelengths", "560:700:20", folder=tmp_path)
    assert "s.h5: 2 scenes of cave" in prepared.stdout
    assert "The paper has" not in prepared.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("fetch", "icvl"), "Unknown dataset 'icvl'. Known: cave, harvard, foster."),
        (("prepare", "cave", "nowhere", "--out", "s.h5"), "nowhere is not a folder"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    result = run(*arguments, folder=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
