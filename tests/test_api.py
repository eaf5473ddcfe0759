"""`import hsisr_core as hs`: the public names, and arrays that need no file."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import hsisr_core as hs
from hsisr_core import degrade
from hsisr_core.errors import HsisrError
from hsisr_core.runs import FOLDER, load_results
from hsisr_core.upscale import adapt_network

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "book" / "api.md").read_text()
TINY = str(Path(__file__).parent / "tiny.yaml")
COUNTS = np.random.default_rng(3).integers(100, 4000, (5, 24, 20))


@pytest.mark.slow
def test_the_names_come_when_they_are_asked_for_and_train_stays_the_function() -> None:
    code = (
        "import sys, hsisr_core as hs\n"
        "assert not {'torch', 'pandas', 'numpy'} & set(sys.modules)\n"
        "assert {'read_scene', 'train', 'Dataset'} < set(dir(hs))\n"
        "assert hs.score.__name__ == 'score' and 'hsisr_core.training' not in sys.modules\n"
        "function = hs.train\n"
        "import hsisr_core.training, hsisr_core.train\n"
        "from hsisr_core.train import train\n"
        "assert hs.train is hsisr_core.train.train is train is function is hsisr_core.training.train\n"
        "assert all(callable(getattr(hs, name)) for name in dir(hs) if name != '__version__')\n"
        "hs.nothing"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.stderr.splitlines()[-1] == "AttributeError: module 'hsisr_core' has no attribute 'nothing'"


def test_an_array_keeps_its_units() -> None:
    made = hs.super_resolve_array(COUNTS, 2, "bicubic", divisor=4000)
    assert made.dtype == np.float32
    np.testing.assert_allclose(
        made, np.maximum(degrade.bicubic(COUNTS.astype(float), 2), 0), rtol=1e-4, atol=0.05
    )
    with pytest.raises(HsisrError, match="expected 5 finite wavelengths in nm"):
        hs.super_resolve_array(COUNTS, 2, "bicubic", wavelengths=[450, 550])


@pytest.mark.slow
def test_an_array_of_other_bands_has_its_own_mean_subtracted(recwarn: pytest.WarningsRecorder) -> None:
    """Also where their number is that of the training: 31 bands are not CAVE's by their number."""
    name = "ssrnet-32-x2-cave-nine"
    weights = hs.load_pretrained(name)
    cube = np.linspace(0.1, 0.4, 31)[:, None, None] + 0.05 * np.random.default_rng(1).random((31, 20, 20))
    trained = np.arange(400.0, 701.0, 10.0)
    for wavelengths, mean in ((trained, "training"), (trained + 500, "cube")):
        network, subtracted = adapt_network(weights, cube.mean(axis=(1, 2)).astype(np.float32), wavelengths)
        assert subtracted == mean
        expected = np.maximum(hs.super_resolve(network, cube.astype(np.float32)), 0)
        made = hs.super_resolve_array(cube, 2, name, wavelengths=wavelengths)
        np.testing.assert_allclose(made, expected, atol=1e-5)
    recwarn.clear()
    hs.super_resolve_array(cube, 2, str(FOLDER / f"{name}.safetensors"))
    assert "its wavelengths are unknown" in str(recwarn[0].message)


def test_arrays_train_without_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSISR_CACHE", str(tmp_path / "cache"))
    cubes = {name: COUNTS + number for number, name in enumerate("abc")}
    train, test = {name: cubes[name] for name in "ab"}, {"c": cubes["c"]}
    dataset = hs.Dataset.from_arrays(train, test, wavelengths=[450, 500, 550, 600, 650], divisor=4010)
    np.testing.assert_allclose(dataset.scene("b").cube, cubes["b"] / 4010, rtol=1e-6)
    assert (dataset.train, dataset.test, dataset.wavelengths[1]) == (["a", "b"], ["c"], 500)
    again = hs.Dataset.from_arrays(train, test, wavelengths=[450, 500, 550, 600, 650], divisor=4010)
    assert again.store.path == dataset.store.path
    run = hs.train(hs.RunConfig.from_preset(TINY, steps=2), tmp_path / "runs", dataset, progress=False)
    assert run.metrics["split"] == {"name": "arrays", "train": ["a", "b"], "test": ["c"]}
    assert run.metrics["fingerprint"] == dataset.fingerprint
    assert set(load_results(tmp_path / "runs")["split"]) == {"arrays"}
    with pytest.raises(HsisrError, match="NaN"):
        hs.Dataset.from_arrays(train, {"c": np.full((5, 24, 20), np.nan)})
    with pytest.raises(HsisrError, match="two regions named 'a'"):
        hs.Dataset.from_arrays(train, {"a": cubes["c"]})


@pytest.mark.slow
def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSISR_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("HSISR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    code = "".join(re.findall("```python\n(.*?)```", PAGE, re.DOTALL)) + "print(sr.shape)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "'psnr'" in ended.stdout
    assert ended.stdout.endswith("(31, 290, 290)\n")


def test_the_page_has_every_name_and_the_layers_that_lint_holds() -> None:
    listed = set(re.findall(r"\.\. auto(?:function|class):: (\w+)", PAGE))
    assert set(dir(hs)) - {"__version__"} <= listed
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    rows = [
        set(re.findall(r"`(\w+)`", line.split("|")[1]))
        for line in PAGE.splitlines()
        if line.startswith("| `")
    ]
    assert rows == [set(re.split(r" [|:] ", layer)) for layer in contract["layers"]]
