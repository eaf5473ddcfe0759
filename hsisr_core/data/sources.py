"""The three datasets of the paper: where they come from, on which terms, and what they must hold.

The facts are in `sources.json`. Its addresses were collected from public pages; an archive of which no SHA-256
is written there is trusted at its first download, and compared with that ever after (see `fetch`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from hsisr_core.base.paths import datasets_folder, project_root
from hsisr_core.errors import HsisrError

__all__ = ["DATASETS", "Archive", "DatasetSource", "Expected", "commands", "dataset_source", "prepared_store"]

DATASETS = ("cave", "harvard", "foster")


@dataclass(frozen=True)
class Archive:
    """One file to download.

    Attributes
    ----------
    name
        File name; its suffix says how it is packed.
    urls
        Addresses, the best first.
    size
        Bytes, if known exactly.
    about
        Bytes, roughly, for the reader.
    sha256
        64 hexadecimal digits, if known.
    """

    name: str
    urls: tuple[str, ...]
    size: int | None = None
    about: int | None = None
    sha256: str | None = None

    @property
    def stem(self) -> str:
        """Name of the folder that it is unpacked to."""
        return self.name.split(".", 1)[0]


@dataclass(frozen=True)
class Expected:
    """What a dataset must hold: scenes, bands, and (height, width) in pixels, if all scenes have one of few."""

    scenes: int
    bands: int
    sizes: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class DatasetSource:
    """A published dataset.

    Attributes
    ----------
    name, title, page, terms, cite
        For the reader; `page` is its address.
    archives
        What is known to download.
    base_urls
        Addresses that, followed by a scene's name and ".zip", give more archives.
    by_hand
        Addresses of copies that this program cannot download.
    keys
        Names that the cube has in its .mat files.
    left_out
        Scenes that are no part of the benchmark, and why.
    named_by_folder
        Whether a scene is called as the folder of its archive, because its file has another name.
    incomplete
        What the list of archives lacks, if it does.
    expected
        What the prepared dataset must hold (paper, Section IV-A).
    """

    name: str
    title: str
    page: str
    terms: str
    cite: str
    archives: tuple[Archive, ...]
    keys: tuple[str, ...]
    expected: Expected
    base_urls: tuple[str, ...] = ()
    by_hand: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    named_by_folder: bool = False
    incomplete: str = ""

    def archive(self, scene: str) -> Archive:
        """Return the archive of one scene, of a dataset that has one per scene."""
        name = scene if scene.endswith(".zip") else f"{scene}.zip"
        return next(
            (archive for archive in self.archives if archive.name == name),
            Archive(name, tuple(base + name for base in self.base_urls)),
        )


def dataset_source(name: str) -> DatasetSource:
    """Return what is known of a dataset.

    Raises
    ------
    HsisrError
        It is not one of `DATASETS`.
    """
    if name not in DATASETS:
        raise HsisrError(f"Unknown dataset {name!r}. Known: {', '.join(DATASETS)}.")
    return _source(name, _facts()[name])


def prepared_store(name: str) -> Path:
    """Return where the prepared scenes of dataset `name` are in the project.

    Raises
    ------
    HsisrError
        They are not there; the message has the commands that get them.
    """
    store = datasets_folder() / name / "scenes.h5"
    if not store.is_file():
        raise HsisrError(
            f"The dataset {name} is not prepared: there is no {store}. Run: {'; '.join(commands(name))}."
        )
    return store


def commands(name: str) -> tuple[str, str]:
    """Return the two commands, for the root of the project, that fetch and prepare dataset `name`."""
    folder = datasets_folder() / name
    if folder.is_relative_to(project_root()):
        folder = folder.relative_to(project_root())
    return (
        f"python data_scripts/fetch.py {name}",
        f"python data_scripts/prepare.py {name} {folder} --out {folder / 'scenes.h5'}",
    )


@lru_cache
def _facts() -> dict[str, dict[str, Any]]:
    return dict(json.loads(Path(__file__).with_name("sources.json").read_text(encoding="utf-8")))


def _source(name: str, facts: dict[str, Any]) -> DatasetSource:
    bases = tuple(facts.get("base_urls", ()))
    archives = tuple(
        Archive(
            item["name"],
            tuple(item.get("urls", (base + item["name"] for base in bases))),
            item.get("bytes"),
            item.get("about_bytes"),
            item.get("sha256"),
        )
        for item in facts["archives"]
    )
    expected = facts["expected"]
    return DatasetSource(
        name,
        **{key: facts[key] for key in ("title", "page", "terms", "cite")},
        archives=archives,
        keys=tuple(facts["keys"]),
        expected=Expected(expected["scenes"], expected["bands"], tuple(map(tuple, expected["sizes"]))),
        base_urls=bases,
        by_hand=tuple(facts["by_hand"]),
        left_out=facts["left_out"],
        named_by_folder=facts.get("named_by_folder", False),
        incomplete=facts.get("incomplete", ""),
    )
