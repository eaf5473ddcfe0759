"""The branch `colab`: the chapters with a first cell that sets Google Colab up.

Colab opens one notebook of a GitHub repository and nothing beside it, so a chapter that starts there must first fetch
the project. That cell holds the repository's address, which a fork changes; it stands in a branch that is written anew
with every publication, and the chapters themselves stay free of it. `make colab` writes the branch.
"""

from __future__ import annotations

import subprocess
import tempfile
import tomllib
from pathlib import Path

import nbformat
import typer

from hsisr_core.base.paths import project_root
from hsisr_core.book.publish import BRANCH, REPOSITORY, repository
from hsisr_core.errors import HsisrError

__all__ = ["setup_cell", "write_branch"]

FOLDER = "/content/hsisr"  # /content is where Colab starts
NOT_NEEDED = ("jupyter-book", "jupyterlab", "sphinx-mathjax-offline")  # they make pages; chapters run without
IDENTITY = ("-c", "user.name=hsisr", "-c", "user.email=hsisr@localhost")


def setup_cell(address: str, requirements: list[str], folder: str = FOLDER) -> str:
    """The code of the first cell: in Colab it clones `address` to `folder` and installs; elsewhere it does nothing.

    `requirements` are installed where Colab lacks them, in whatever version it has: a session there cannot
    change its PyTorch.
    """
    return f"""\
# Only in Colab: fetch the project and install what Colab lacks, about a minute. A GPU: Runtime > Change runtime type.
import sys

if "google.colab" in sys.modules:
    import importlib
    from pathlib import Path
    from subprocess import run

    from google.colab import output

    folder = {folder!r}
    if not Path(folder).exists():
        run(["git", "clone", "--quiet", "--depth", "1", "--branch", {BRANCH!r}, {address!r}, folder], check=True)
    install = [sys.executable, "-m", "pip", "install", "--quiet"]
    run([*install, *{requirements!r}], check=True)
    run([*install, "--no-deps", "--editable", folder], check=True)
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    output.enable_custom_widget_manager()
"""


def write_branch(root: Path, address: str) -> str:
    """Commit the chapters of `root`'s HEAD with `setup_cell` as the branch `colab`; the working tree stays as it is.

    Returns
    -------
    str
        The commit. A branch of that name that was there before is replaced.

    Raises
    ------
    HsisrError
        `root` is no git checkout, or git refuses.
    """
    with tempfile.TemporaryDirectory() as parent:
        tree = Path(parent) / "tree"
        git(root, "worktree", "add", "--quiet", "--detach", str(tree), "HEAD")
        try:
            for path in sorted((tree / "book").glob("*.ipynb")):
                add_cell(path, setup_cell(address, requirements(tree)))
            git(tree, *IDENTITY, "commit", "--quiet", "--all", "--message", "Chapters that set Colab up")
            git(root, "branch", "--force", BRANCH, commit := git(tree, "rev-parse", "HEAD"))
        finally:
            git(root, "worktree", "remove", "--force", str(tree))
    return commit


def requirements(root: Path) -> list[str]:
    """What the project in `root` depends on, without what only makes pages."""
    with (root / "pyproject.toml").open("rb") as file:
        given: list[str] = tomllib.load(file)["project"]["dependencies"]
    return [entry for entry in given if not entry.startswith(NOT_NEEDED)]


def add_cell(path: Path, code: str) -> None:
    """Put `code` behind the title of a notebook."""
    notebook = nbformat.read(path, as_version=4)
    cell = nbformat.v4.new_code_cell(code, metadata={"tags": ["remove-cell"]}, id="colab-setup")
    notebook.cells.insert(1, cell)
    nbformat.write(notebook, path)


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HsisrError(f"git {' '.join(arguments)} in {folder}: {done.stderr.strip()}")
    return done.stdout.strip()


def main() -> None:
    """Write the branch `colab` of this checkout; HSISR_REPOSITORY says where Colab finds it."""
    address = repository()
    if address is None:
        raise HsisrError(
            f"Set {REPOSITORY} to the address that Colab shall clone: https://github.com/OWNER/NAME."
        )
    commit = write_branch(project_root(), address)
    typer.echo(f"Branch {BRANCH} is {commit[:12]}: git push --force origin {BRANCH}")


if __name__ == "__main__":
    from hsisr_core.base import run_command

    run_command(main)
