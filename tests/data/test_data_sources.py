from __future__ import annotations

from pathlib import Path

import pytest

from hsisr_core.data import DATASETS, dataset_source, missing_datasets
from hsisr_core.data.sources import prepared_store
from hsisr_core.errors import HsisrError


@pytest.mark.parametrize("name", DATASETS)
def test_every_dataset_says_where_it_is_on_which_terms_and_whom_to_cite(name: str) -> None:
    source = dataset_source(name)
    assert all([source.page.startswith("https://"), source.terms, source.cite, source.archives, source.keys])
    for archive in source.archives:
        assert archive.urls
        assert all(url.endswith("/" + archive.name) for url in archive.urls)


def test_the_counts_are_those_of_the_paper() -> None:
    sources = {name: dataset_source(name) for name in DATASETS}
    assert {name: (item.scenes, item.bands) for name, item in sources.items()} == {
        "cave": (31, 31),
        "harvard": (77, 31),
        "foster": (30, 33),
    }
    assert sources["harvard"].sizes == ((1040, 1392),)
    assert "8 bits" in dataset_source("cave").left_out["watercolors"]


def test_the_one_known_size_and_the_order_of_the_mirrors() -> None:
    (archive,) = dataset_source("cave").archives
    assert (archive.name, archive.size) == ("complete_ms_data.zip", 405_988_465)
    assert [url.split("/")[2] for url in archive.urls] == [
        "www.cs.columbia.edu",
        "www1.cs.columbia.edu",
        "cave.cs.columbia.edu",
    ]


def test_a_scene_of_foster_that_is_not_listed_has_addresses_too() -> None:
    source = dataset_source("foster")
    known = source.archive("Gualtar_Steps")
    assert known in source.archives
    other = source.archive("Nogueiro")
    assert other.name == "Nogueiro.zip"
    assert [url.removesuffix("Nogueiro.zip") for url in other.urls] == list(source.base_urls)
    assert source.archive("Nogueiro.zip") == other


def test_an_unknown_dataset_lists_the_known_ones() -> None:
    with pytest.raises(HsisrError, match=r"Unknown dataset 'icvl'\. Known: cave, harvard, foster\."):
        dataset_source("icvl")


def test_a_dataset_that_is_not_prepared_has_the_commands(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HSISR_DATASETS", raising=False)
    store = project / "data" / "cave" / "scenes.h5"
    with pytest.raises(HsisrError) as caught:
        prepared_store("cave")
    assert "not prepared here. Run `python data_scripts/fetch.py cave` and `python " in str(caught.value)
    assert "python data_scripts/prepare.py cave data/cave --out data/cave/scenes.h5`." in str(caught.value)
    store.parent.mkdir(parents=True)
    store.touch()
    assert prepared_store("cave") == store
    monkeypatch.setenv("HSISR_DATASETS", "/elsewhere")
    with pytest.raises(
        HsisrError, match=r"prepare\.py cave /elsewhere/cave --out /elsewhere/cave/scenes\.h5"
    ):
        prepared_store("cave")


def test_the_datasets_that_are_missing_and_how_to_get_them(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HSISR_DATASETS", raising=False)
    assert list(missing_datasets()) == list(DATASETS)
    assert missing_datasets()["foster"] == (
        "python data_scripts/fetch.py foster",
        "python data_scripts/prepare.py foster data/foster --out data/foster/scenes.h5",
    )
    store = project / "data" / "foster" / "scenes.h5"
    store.parent.mkdir(parents=True)
    store.write_bytes(b"")
    assert list(missing_datasets()) == ["cave", "harvard"]
