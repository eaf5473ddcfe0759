"""The paper's three datasets: where they come from, on which terms, and what they must hold (`sources.json`)."""

from pathlib import Path

from pydantic import BaseModel, TypeAdapter

from hsisr_core.base import datasets_folder, project_root
from hsisr_core.errors import HsisrError, NotAtHandError

DATASETS = ("cave", "harvard", "foster")
# scenes of CAVE, each with a split of its name
CAVE_PARTS = ("cave-25", "cave-nine")


class Archive(BaseModel, frozen=True, extra="forbid"):
    """One file to download: addresses, the best first; bytes, exactly or roughly, if known."""

    name: str
    urls: tuple[str, ...]
    size: int | None = None
    about: int | None = None


class DatasetSource(BaseModel, frozen=True, extra="forbid"):
    """A published dataset: `files`, or one of `base_urls` followed by a scene's name and ".zip".

    `known_scenes` are the names that are known, `incomplete` says what they lack; `by_hand` are addresses that this
    program cannot download from. `keys` are the names that the cube has in its .mat files; `left_out` the scenes that
    are no part of the benchmark, and why. `scenes`, `bands` and `sizes` are what it must hold (paper, Section IV-A).
    """

    name: str
    title: str
    page: str
    terms: str
    cite: str
    keys: tuple[str, ...]
    scenes: int
    bands: int
    sizes: tuple[tuple[int, int], ...] = ()
    files: tuple[Archive, ...] = ()
    base_urls: tuple[str, ...] = ()
    known_scenes: tuple[str, ...] = ()
    by_hand: tuple[str, ...] = ()
    left_out: dict[str, str] = {}
    named_by_folder: bool = False
    incomplete: str = ""

    @property
    def archives(self) -> tuple[Archive, ...]:
        """What is known to download."""
        return self.files + tuple(self.archive(scene) for scene in self.known_scenes)

    def archive(self, scene: str) -> Archive:
        """Return the archive of one scene, of a dataset that has one per scene."""
        name = scene if scene.endswith(".zip") else f"{scene}.zip"
        return Archive(name=name, urls=tuple(base + name for base in self.base_urls))


_TEXT = Path(__file__).with_name("sources.json").read_text(encoding="utf-8")
_SOURCES = {source.name: source for source in TypeAdapter(list[DatasetSource]).validate_json(_TEXT)}


def dataset_source(name: str) -> DatasetSource:
    """Return what is known of a dataset, or raise HsisrError if it is not one of `DATASETS`."""
    if name not in DATASETS:
        raise HsisrError(f"Unknown dataset {name!r}. Known: {', '.join(DATASETS)}.")
    return _SOURCES[name]


def prepared_store(name: str) -> Path:
    """Return the store of a dataset in the project, or raise NotAtHandError with the commands that get it."""
    store = datasets_folder() / name / "scenes.h5"
    if not store.is_file():
        way = " and ".join(f"`{line}`" for line in commands(name))
        raise NotAtHandError(f"The dataset {name} is not prepared here. Run {way}.")
    return store


def commands(name: str) -> tuple[str, str]:
    """Return the two commands, for the root of the project, that fetch and prepare dataset `name`."""
    folder = datasets_folder()
    if folder.is_relative_to(project_root()):
        folder = folder.relative_to(project_root())
    whole = "cave" if name in CAVE_PARTS else name
    part = f" --split {name}" * (name in CAVE_PARTS) + " --wavelengths 560:700:20" * (name == "cave-25")
    made = f"{whole} {folder / whole}{part} --out {folder / name / 'scenes.h5'}"
    return f"python data_scripts/fetch.py {whole}", f"python data_scripts/prepare.py {made}"


def missing_datasets() -> dict[str, tuple[str, str]]:
    """Return the paper's datasets that are not prepared here, each with its `commands`."""
    folder = datasets_folder()
    return {name: commands(name) for name in DATASETS if not (folder / name / "scenes.h5").is_file()}
