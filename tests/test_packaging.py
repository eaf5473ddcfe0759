"""pyproject.toml, requirements.lock and environment.yml say the same thing."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import hsisr_core

ROOT = Path(__file__).resolve().parent.parent
LINE = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;+]+)(?:; (?P<marker>.+))?")
MARKER_NAMES = {"python_version", "sys_platform"}
PYTHONS = ("3.11", "3.12", "3.13")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def lock_lines() -> list[str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def lock(lock_lines: list[str]) -> dict[str, Requirement]:
    return {canonicalize_name(Requirement(line).name): Requirement(line) for line in lock_lines}


@pytest.fixture(scope="module")
def environment() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "environment.yml").read_text()))


def asked_for(project: dict[str, Any]) -> list[str]:
    """What the package and its extras ask for, without the engines that nothing but a benchmark or an export uses."""
    extras = project["project"]["optional-dependencies"]
    kept = [text for name, texts in extras.items() if name not in ("onnx", "engines") for text in texts]
    return [*project["project"]["dependencies"], *(text for text in kept if not text.startswith("hsisr["))]


def pinned(requirement: Requirement) -> Version:
    (specifier,) = requirement.specifier
    return Version(specifier.version)


def test_lock_holds_exact_pins_only(lock_lines: list[str], lock: dict[str, Requirement]) -> None:
    for line in lock_lines:
        match = LINE.fullmatch(line)
        assert match, f"{line!r} is no plain NAME==VERSION"  # no URL, path, hash, option or local version
        if match["marker"]:
            names = set(re.findall(r"[a-z_]+(?= *[=<>!])", match["marker"]))
            assert names <= MARKER_NAMES, line
            Marker(match["marker"])
    assert len(lock) == len(lock_lines), "a package is pinned twice"
    assert [*lock] == sorted(lock), "the lock is not sorted"


def read_hashed(name: str) -> dict[str, Requirement]:
    """The pins of a lock in which every one has its hashes."""
    hashed = dict[str, Requirement]()
    for line in (ROOT / name).read_text().replace(" \\\n", " ").splitlines():
        if not line.startswith("#"):
            pin, *hashes = line.split(" --hash=")
            assert hashes, pin
            assert all(re.fullmatch("sha256:[0-9a-f]{64}", one.strip()) for one in hashes), pin
            hashed[canonicalize_name(Requirement(pin).name)] = Requirement(pin)
    return hashed


def test_everything_but_torch_is_pinned_by_its_hash(lock: dict[str, Requirement]) -> None:
    hashed = read_hashed("requirements-hashes.lock")
    assert {name: str(pin.specifier) for name, pin in hashed.items()} == {
        name: str(pin.specifier) for name, pin in lock.items() if name != "torch"
    }
    assert {name: str(pin.marker) for name, pin in hashed.items() if pin.marker} == {
        name: str(pin.marker) for name, pin in lock.items() if pin.marker
    }


def test_torch_has_locks_with_hashes_for_cuda_and_macos(lock: dict[str, Requirement]) -> None:
    """What is in several locks has one version; the others are CUDA libraries, for Linux alone."""
    cuda = read_hashed("requirements-cuda.lock")
    assert list(read_hashed("requirements-macos.lock").values()) == [lock["torch"]]
    assert {"torch", "triton", "nvidia-cublas"} <= {*cuda}
    for name, pin in cuda.items():
        if name in lock:
            assert pin.specifier == lock[name].specifier
        else:
            assert re.match(r"(nvidia|cuda)-|triton$", name)
            assert 'sys_platform == "linux"' in str(pin.marker)


def test_lock_pins_what_was_asked_for(lock: dict[str, Requirement]) -> None:
    asked = {"torch", "jupyterlab", "jupyter-book", "numpy", "h5py"}
    asked |= {"matplotlib", "ipywidgets", "papermill", "pandas"}
    assert asked <= {name for name, pin in lock.items() if pin.marker is None}
    assert str(lock["torch"].specifier) == "==2.13.0"
    assert pinned(lock["jupyter-book"]).major == 1  # 2.x ignores _config.yml and exits 0


def test_every_dependency_of_the_project_is_pinned(
    project: dict[str, Any], lock: dict[str, Requirement]
) -> None:
    for text in [*asked_for(project), *project["build-system"]["requires"]]:
        wanted = Requirement(text)
        pin = lock[canonicalize_name(wanted.name)]
        assert pin.marker is None
        assert wanted.specifier.contains(pinned(pin), prereleases=True), f"{pin} does not satisfy {text}"


def test_lock_is_complete(project: dict[str, Any], lock: dict[str, Requirement]) -> None:
    """Nothing that is installed here for the project comes from outside the lock."""
    queue, seen = (
        [(Requirement(text), "pyproject.toml") for text in asked_for(project)],
        set[tuple[str, str]](),
    )
    exact_elsewhere = set[str]()  # the CUDA libraries, which torch itself pins
    missing = dict[str, str]()
    while queue:
        wanted, by = queue.pop()
        name = canonicalize_name(wanted.name)
        if any(specifier.operator == "==" and "*" not in specifier.version for specifier in wanted.specifier):
            exact_elsewhere.add(name)
        if name not in lock:
            missing.setdefault(name, by)
        elif not wanted.specifier.contains(pinned(lock[name]), prereleases=True):
            pytest.fail(f"{lock[name]} does not satisfy {wanted}, required by {by}")
        for extra in ("", *wanted.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                queue += [(item, name) for item in requirements_of(name, extra)]
    cuda = {name for name in missing if re.match(r"(nvidia|cuda)-|triton$", name)}
    assert {name: by for name, by in missing.items() if name not in cuda | exact_elsewhere} == {}


def requirements_of(name: str, extra: str) -> Iterator[Requirement]:
    try:
        texts = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return
    for requirement in map(Requirement, texts):
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


def test_installed_versions_are_those_of_the_lock(lock: dict[str, Requirement]) -> None:
    wrong = {}
    for name, pin in lock.items():
        if pin.marker is None or pin.marker.evaluate():
            installed = Version(importlib.metadata.version(name))
            if Version(installed.public) != pinned(pin):
                wrong[name] = f"{installed}, locked {pinned(pin)}"
    assert wrong == {}


def test_locked_versions_support_every_python_of_the_project(
    project: dict[str, Any], lock: dict[str, Requirement]
) -> None:
    """Down to 3.11.0: Debian 12 has 3.11.2."""
    lowest = SpecifierSet(project["project"]["requires-python"])
    assert lowest.contains("3.11.0")
    assert not lowest.contains("3.10.14")
    for name, pin in lock.items():
        if pin.marker is None:
            texts = importlib.metadata.metadata(name).get_all("Requires-Python", [])
            supported = SpecifierSet(",".join(texts))
            for python in PYTHONS:
                assert supported.contains(f"{python}.0"), f"{pin} needs Python {supported}"


def test_environment_is_python_pip_and_the_lock(project: dict[str, Any], environment: dict[str, Any]) -> None:
    assert environment["name"] == "hsisr"
    assert environment["channels"] == ["conda-forge"]
    *plain, by_pip = environment["dependencies"]
    python, pip = plain
    assert pip == "pip"
    assert by_pip == {"pip": ["-r requirements.lock", "-e ."]}
    conda = Requirement(python)
    assert conda.name == "python"
    wanted = SpecifierSet(project["project"]["requires-python"])
    for version in (f"3.{minor}.{patch}" for minor in range(8, 20) for patch in (0, 9)):
        assert not conda.specifier.contains(version) or wanted.contains(version), version
    assert all(conda.specifier.contains(f"{python}.0") for python in PYTHONS)


def test_hooks_strip_what_make_lint_checks() -> None:
    hooks = {
        hook["id"]: hook["entry"]
        for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
        for hook in repo["hooks"]
    }
    assert set(hooks) == {"ruff", "ruff-format", "nbstripout"}
    keys = "metadata.papermill cell.metadata.papermill"
    assert f'--extra-keys "{keys}"' in hooks["nbstripout"]
    assert f"STRIP_KEYS := {keys}\n" in (ROOT / "Makefile").read_text()


def test_citation_names_the_software_and_the_paper(project: dict[str, Any]) -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert str(citation["version"]) == project["project"]["version"]
    assert citation["license"] == project["project"]["license"] == "MIT"
    (paper,) = citation["references"]
    assert paper["title"] == "Spatial-Spectral Residual Network for Hyperspectral Image Super-Resolution"
    assert [author["family-names"] for author in paper["authors"]] == ["Wang", "Li", "Li"]
    assert paper["year"] == 2020
    assert paper["url"] == "https://arxiv.org/abs/2001.04609"


def test_the_version_is_written_three_times_alike(project: dict[str, Any]) -> None:
    assert project["project"]["version"] == hsisr_core.__version__
    assert f"version: {hsisr_core.__version__}" in (ROOT / "CITATION.cff").read_text().splitlines()


@pytest.mark.slow
def test_the_wheel_works_in_an_empty_folder(tmp_path: Path) -> None:
    """Presets, splits, weights, committed results and the explorer are in it; runs and caches go to the folder."""
    checkout, site, empty = tmp_path / "checkout", tmp_path / "site", tmp_path / "empty"
    shutil.copytree(
        ROOT / "hsisr_core", checkout / "hsisr_core", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    empty.mkdir()
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(checkout)], check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True)
    shutil.rmtree(checkout)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HSISR_")}

    def call(*arguments: str, code: int = 0) -> str:
        ended = subprocess.run(
            [sys.executable, *arguments], cwd=empty, env={**clean, "PYTHONPATH": str(site)}, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert ended.returncode == code, ended.stderr
        return ended.stdout + ended.stderr

    assert str(site) in call("-c", "import hsisr_core as hs; print(hs.__file__, hs.SpectralExplorer)")
    tiny = ("-p", "features=4", "-p", "modules=1", "-p", "steps=2")
    trained = call("-m", "hsisr_core", "train", *tiny)
    (folder,) = (empty / "runs").iterdir()
    assert f"The run: {folder}" in trained
    assert "split indian-pines" in call("-m", "hsisr_core", "evaluate", str(folder))
    call("-m", "hsisr_core", "upscale", "indian-pines", "--scale", "4", "--no-check", "-o", "sr.npy")
    listed = call("-m", "hsisr_core", "results")
    assert all(name in listed for name in ("demo", "tune", "north-east"))
    assert "48 runs: 48 missing" in call("-m", "hsisr_core", "runs", "demo", "--status")
    assert "needs a clone" in call("-m", "hsisr_core", "book", code=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("missing", "code", "extra"),
    [
        ("anywidget", "hs.SpectralExplorer", "explorer"),
        ("sphinx_external_toc", "from hsisr_core.cli import main; sys.argv = ['hsisr', 'book']; main()", "book"),
        ("accelerate", "from hsisr_core.training import make_accelerator; "
                       "make_accelerator(hs.RunConfig(device='cpu', precision='bf16'))", "devices"),
    ],
)  # fmt: skip
def test_a_package_of_an_extra_is_named_with_the_command_that_installs_it(
    missing: str, code: str, extra: str
) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; import hsisr_core as hs; {code}"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert f"pip install 'hsisr[{extra}]'." in ended.stderr.splitlines()[-1]


FAKE_PYTHON = """#!/bin/sh
# Makes a .venv that holds itself, and writes down what pip was asked for.
case "$*" in
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip "*) echo "$@" >> pip.log; exit ${PIP_STATUS:-0} ;;
  *print*) echo "is Python 3.8" ;;
  *version_info*) exit ${OLD:-0} ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "a check out"
    folder.mkdir()
    for name in ("Makefile", "requirements.lock", "requirements-hashes.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    python = folder / "python"
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    return folder


def make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "PYTHON=./python", *arguments]
    return subprocess.run(
        command, cwd=folder, env=clean | environment, capture_output=True, text=True, check=False
    )


def pip_calls(folder: Path) -> list[str]:
    log = folder / "pip.log"
    return log.read_text().splitlines() if log.is_file() else []


def test_make_installs_the_lock_once(checkout: Path) -> None:
    assert make(checkout, "venv").returncode == 0
    first, second, third = pip_calls(checkout)
    assert first.endswith("--no-deps --require-hashes -r requirements-hashes.lock")
    assert second.endswith("-r requirements.lock")
    assert "--no-deps" in third
    assert third.endswith("-e .")
    again = make(checkout, "venv", OLD="1")  # .venv is there: the default Python no longer matters
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert len(pip_calls(checkout)) == 3

    for name in ("requirements.lock", "requirements-hashes.lock", "pyproject.toml"):
        (checkout / name).touch()  # as a fresh clone does
    make(checkout, "venv")
    assert len(pip_calls(checkout)) == 3
    with (checkout / "requirements.lock").open("a") as lock:
        lock.write("another==1.0\n")
    assert make(checkout, "venv").returncode == 0
    assert len(pip_calls(checkout)) == 6


def test_make_starts_an_interrupted_installation_again(checkout: Path) -> None:
    broken = make(checkout, "venv", PIP_STATUS="1")
    assert broken.returncode == 2
    assert "installation failed" in broken.stderr
    (checkout / ".venv" / "half-unpacked").touch()
    assert make(checkout, "venv").returncode == 0
    assert not (checkout / ".venv" / "half-unpacked").exists()
    assert len(pip_calls(checkout)) == 4


def test_make_refuses_an_old_python_in_one_sentence(checkout: Path) -> None:
    refused = make(checkout, "book", OLD="1")
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[0] == (
        "hsisr needs Python 3.11 or newer, but ./python is Python 3.8. "
        "Name another one, for example: make PYTHON=python3.12 book"
    )
    assert not (checkout / ".venv").exists()


def test_make_alone_lists_every_target(checkout: Path) -> None:
    listing = make(checkout).stdout
    for target in ("book", "test", "lint", "lab", "clean", "help", "venv"):
        assert re.search(rf"^  {target} +\S", listing, re.MULTILINE), target


def test_make_clean_keeps_the_runs(checkout: Path) -> None:
    for name in ("runs/a", "_build/html", "hsisr_core/__pycache__", ".venv/lib/__pycache__"):
        (checkout / name).mkdir(parents=True)
    assert make(checkout, "clean").returncode == 0
    assert (checkout / "runs" / "a").is_dir()
    assert (checkout / ".venv" / "lib" / "__pycache__").is_dir()
    assert not (checkout / "_build").exists()
    assert not (checkout / "hsisr_core" / "__pycache__").exists()
