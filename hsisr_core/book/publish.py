"""What the pages need to know of where the project is published: the launch buttons.

The address is no part of `_config.yml`, because a fork has another one: the environment variable
HSISR_REPOSITORY gives it, and without it the pages have no such buttons.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml

from hsisr_core.errors import HsisrError

__all__ = ["BRANCH", "REPOSITORY", "page_config", "repository", "theme_options"]

REPOSITORY = "HSISR_REPOSITORY"
BRANCH = "colab"  # what the buttons open: the chapters with the cell that Colab needs (hsisr_core/colab.py)
HOSTS = {"binderhub_url": "https://mybinder.org", "colab_url": "https://colab.research.google.com"}
ADDRESS = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+")


def page_config(config: Path, work: Path) -> Path:
    """The configuration to build the pages with: `config`, or a copy in `work` that has the launch buttons.

    Raises
    ------
    HsisrError
        See `theme_options`.
    """
    options = theme_options()
    if not options:
        return config
    values = yaml.safe_load(config.read_text(encoding="utf-8"))
    values["sphinx"]["config"]["html_theme_options"] |= options
    copy = work / config.name
    copy.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return copy


def theme_options() -> dict[str, Any]:
    """Options of sphinx-book-theme: a link to the repository, and launch buttons on each chapter. Empty without one.

    These are links: the pages themselves still ask no other host for anything.

    Raises
    ------
    HsisrError
        See `repository`.
    """
    address = repository()
    if address is None:
        return {}
    return {
        "repository_url": address,
        "repository_branch": BRANCH,
        "path_to_docs": "book",
        "use_repository_button": True,
        "launch_buttons": {"notebook_interface": "jupyterlab", **HOSTS},
    }


def repository() -> str | None:
    """The address of the project's repository, or None where HSISR_REPOSITORY is not set.

    Raises
    ------
    HsisrError
        HSISR_REPOSITORY is no address of a repository on GitHub.
    """
    address = os.environ.get(REPOSITORY, "").rstrip("/").removesuffix(".git")
    if address and not ADDRESS.fullmatch(address):
        raise HsisrError(f"{REPOSITORY}={address}: expected https://github.com/OWNER/NAME, or nothing.")
    return address or None
