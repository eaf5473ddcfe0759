"""Publishing: the workflow, the launch buttons, and `make serve`. What GitHub and Binder do cannot be run here."""

from __future__ import annotations

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

import pytest
import yaml
from small_book import ROOT, write_notebook, write_project

from hsisr_core.book.pages import build_pages
from hsisr_core.book.publish import page_config, theme_options
from hsisr_core.errors import HsisrError

WORKFLOW = ROOT / ".github" / "workflows" / "book.yml"


@pytest.fixture(autouse=True)
def unpublished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HSISR_REPOSITORY", raising=False)


def steps() -> Iterator[dict[str, Any]]:
    for job in yaml.safe_load(WORKFLOW.read_text())["jobs"].values():
        yield from job["steps"]


def test_the_workflow_calls_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = [step["run"] for step in steps() if "run" in step]
    commands.remove("git push --force origin colab")
    called = [re.fullmatch(r"make ([a-z]+)( [A-Z]+=\S+)*", command) for command in commands]
    assert all(called), commands
    assert {match[1] for match in called if match} == {"lint", "snakemake", "test", "book", "colab"}
    assert {"lint", "snakemake", "test", "book", "colab", "serve"} <= targets


def test_the_workflow_pins_what_it_uses_and_asks_for_little() -> None:
    uses = [step["uses"] for step in steps() if "uses" in step]
    assert uses
    for action in uses:
        assert re.fullmatch(r"actions/[a-z-]+@(v\d+\.\d+\.\d+|[0-9a-f]{40})", action), action
    workflow = yaml.safe_load(WORKFLOW.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    jobs = workflow["jobs"]
    assert {name for name, job in jobs.items() if "permissions" in job} == {"deploy", "colab"}
    assert jobs["colab"]["permissions"] == {"contents": "write"}
    for name in ("deploy", "colab"):
        assert jobs[name]["needs"] == ["test", "book"]
        assert "pull_request" in jobs[name]["if"]
    assert all(job["runs-on"] != "ubuntu-latest" and "timeout-minutes" in job for job in jobs.values())


def test_the_workflow_names_what_is_there() -> None:
    text = WORKFLOW.read_text()
    assert "cache-dependency-path: requirements.lock" in text
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


def test_no_buttons_without_an_address(tmp_path: Path) -> None:
    assert theme_options() == {}
    assert page_config(ROOT / "_config.yml", tmp_path) == ROOT / "_config.yml"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "given", ["https://github.com/a/b", "https://github.com/a/b/", "https://github.com/a/b.git"]
)
def test_an_address_gives_the_buttons(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: str) -> None:
    monkeypatch.setenv("HSISR_REPOSITORY", given)
    config = page_config(ROOT / "_config.yml", tmp_path)
    written = yaml.safe_load(config.read_text())
    own = yaml.safe_load((ROOT / "_config.yml").read_text())
    options = written["sphinx"]["config"]["html_theme_options"]
    assert (options["repository_url"], options["repository_branch"]) == ("https://github.com/a/b", "colab")
    assert options["path_to_docs"] == "book"
    for name in theme_options():
        options.pop(name)
    for name in set(theme_options()) & set(own["sphinx"]["config"]["html_theme_options"]):
        own["sphinx"]["config"]["html_theme_options"].pop(name)
    assert written == own, "nothing else changes"


@pytest.mark.parametrize(
    "given", ["a/b", "https://example.org/a/b", "https://github.com/a", "https://github.com/a/b/c"]
)
def test_another_address_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("HSISR_REPOSITORY", given)
    with pytest.raises(HsisrError, match=re.escape("expected https://github.com/OWNER/NAME")):
        theme_options()


@pytest.mark.slow
def test_pages_offer_their_notebook_binder_and_colab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HSISR_REPOSITORY", "https://github.com/owner/name")
    book = write_project(tmp_path, "index", "a")
    (book / "index.md").write_text("# A small book\n")
    write_notebook(book / "a.ipynb", "# Chapter A", "#!scale = 2")
    executed = tmp_path / "_build" / "executed"
    shutil.copytree(book, executed)
    pages = build_pages(executed, strict=True).parent
    page = (pages / "a.html").read_text()
    (download,) = set(re.findall(r'href="([^"]+\.ipynb)"', page)) - set(
        re.findall(r'href="(http[^"]+)"', page)
    )
    assert (pages / download).read_bytes() == (executed / "a.ipynb").read_bytes()
    for link in (
        "https://mybinder.org/v2/gh/owner/name/colab?urlpath=lab/tree/book/a.ipynb",
        "https://colab.research.google.com/github/owner/name/blob/colab/book/a.ipynb",
    ):
        assert f'href="{link}"' in page
    assert "mybinder" not in (pages / "index.html").read_text(), "prose has nothing to launch"
    loaded = re.findall(r'<(?:script|img|link)[^>]+(?:src|href)="(https?://[^"]+)"', page)
    assert loaded == [], "a button is a link: nothing is loaded from there"


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
