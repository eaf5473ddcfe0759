"""Publishing: the workflow, Binder, Colab and `make serve`. What GitHub and Colab do cannot be run here."""

from __future__ import annotations

import ast
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
import yaml
from small_book import ROOT, write_notebook, write_project

WORKFLOW = ROOT / ".github" / "workflows" / "book.yml"


def steps() -> Iterator[dict[str, Any]]:
    for job in yaml.safe_load(WORKFLOW.read_text())["jobs"].values():
        yield from job["steps"]


def test_the_workflow_calls_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = [step["run"] for step in steps() if "run" in step]
    called = [re.fullmatch(r"make ([a-z-]+)( [A-Z]+=\S+)*", command) for command in commands]
    assert all(called), commands
    assert {match[1] for match in called if match} == {
        "lint",
        "snakemake",
        "test-all",
        "book",
        "audit",
        "fuzz",
        "links",
    }
    assert {"lint", "snakemake", "test", "test-all", "book", "serve"} <= targets


def test_the_workflow_pins_what_it_uses_and_asks_for_little() -> None:
    uses = [step["uses"] for step in steps() if "uses" in step]
    assert uses
    for action in uses:
        assert re.fullmatch(r"actions/[a-z-]+@(v\d+\.\d+\.\d+|[0-9a-f]{40})", action), action
    workflow = yaml.safe_load(WORKFLOW.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    jobs = workflow["jobs"]
    assert {name for name, job in jobs.items() if "permissions" in job} == {"deploy"}
    assert jobs["deploy"]["needs"] == ["test", "book"]
    assert "pull_request" in jobs["deploy"]["if"]
    assert all(job["runs-on"] != "ubuntu-latest" and "timeout-minutes" in job for job in jobs.values())


def test_the_workflow_names_what_is_there() -> None:
    text = WORKFLOW.read_text()
    assert "cache-dependency-path: requirements-hashes.lock" in text
    used = re.findall(r"uses: (\S+)", text)
    assert used
    # a tag can be moved, a commit not
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action) for action in used)
    for pattern in re.findall(r"hashFiles\((.*)\)", text)[0].split(","):
        assert list(ROOT.glob(pattern.strip(" '"))), pattern
    assert "HSISR_REPOSITORY:" in text
    assert "path: _build/html" in text


def test_binder_installs_the_lock() -> None:
    post = ROOT / ".binder" / "postBuild"
    assert os.access(post, os.X_OK), "Binder runs only an executable postBuild"
    assert subprocess.run(["bash", "-n", str(post)], check=False).returncode == 0
    assert "-r requirements.lock" in post.read_text()
    python = yaml.safe_load((ROOT / ".binder" / "environment.yml").read_text())["dependencies"][0]
    assert re.fullmatch(r"python=3\.1[1-3]", python)


@pytest.mark.slow
def test_colab_clones_installs_and_runs_a_chapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = write_project(tmp_path / "project", "index", "a").parent
    write_notebook(project / "book" / "a.ipynb", "# Chapter A", "#!scale = 2", "print('scale is', scale)")
    (project / "pyproject.toml").write_text(
        '[project]\ndependencies = ["numpy", "torch>=2"]\n[project.optional-dependencies]\n'
        'explorer = ["anywidget"]\nbook = ["hsisr[explorer]", "papermill", "jupyterlab", "jupyter-book>=1"]\n'
    )
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
        identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *identity, *command], cwd=project, check=True)
    # stands in for `python -m pip`
    (tmp_path / "pip.py").write_text("import sys\n\nprint(*sys.argv[1:], file=open('installed', 'a'))")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    given = {"repository": project.as_uri(), "chapter": "a", "parameters": {"scale": 3}}
    done = papermill.execute_notebook(
        str(ROOT / "colab.ipynb"), "out.ipynb", given, kernel_name="python3", progress_bar=False
    )
    assert (tmp_path / "installed").read_text().splitlines() == [
        "install --quiet numpy torch>=2 anywidget papermill myst-nb",
        "install --quiet --no-deps --editable hsisr",
    ]
    assert "scale is 3" in done.cells[-1].outputs[0]["data"]["text/html"]


@pytest.mark.slow
def test_chapters_need_nothing_that_only_makes_pages() -> None:
    """Colab does not install it."""
    imports = {
        ast.unparse(node)
        for path in (ROOT / "book").glob("*.ipynb")
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code"
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert any("hsisr_core" in line for line in imports)
    blocked = ("jupyter_book", "jupyterlab", "sphinx_mathjax_offline", "sphinx", "sphinx_external_toc")
    # a finder, not None in sys.modules: scipy looks there to see whether Sphinx runs
    code = f"""
import sys

class Missing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in {blocked!r}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing)
""" + "\n".join(sorted(imports))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_make_serve(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["make", "serve", f"PYTHON={sys.executable}", f"PORT={port}"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    refused = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "There is no built book in _build/html: make book first." in refused.stderr
    (tmp_path / "_build" / "html").mkdir(parents=True)
    (tmp_path / "_build" / "html" / "index.html").write_text("the book")
    with subprocess.Popen(
        command, cwd=tmp_path, env=clean, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        start_new_session=True,
    ) as server:  # fmt: skip
        try:
            assert server.stdout is not None
            said = server.stdout.readline()
            assert f"http://127.0.0.1:{port}/" in said
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                assert answer.read() == b"the book"
        finally:
            os.killpg(server.pid, 15)
