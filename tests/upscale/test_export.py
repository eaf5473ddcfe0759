"""A network in ONNX, with what its file says belongs around it, gives what `super_resolve` gives."""

from __future__ import annotations

import importlib
import json
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hsisr_core.cli import main
from hsisr_core.errors import HsisrError
from hsisr_core.models import build_model
from hsisr_core.predict import super_resolve
from hsisr_core.runs import RunConfig
from hsisr_core.training import train
from hsisr_core.upscale import adapt_network, export_onnx, load_pretrained
from hsisr_core.upscale.weights import Pretrained

TINY = str(Path(__file__).parents[1] / "tiny.yaml")
MODULE = importlib.import_module("hsisr_core.upscale.export")


def run_file(path: Path, cube: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """SR by the file alone: its network, and what its metadata say."""
    onnx = pytest.importorskip("onnx")
    notes = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    mirrored, cropped = (int(notes[key].split()[1]) for key in ("before", "after"))
    lr = np.pad(cube, ((0, 0), (mirrored, mirrored), (mirrored, mirrored)), mode="reflect")[None]
    session = importlib.import_module("onnx.reference").ReferenceEvaluator(str(path))
    (sr,) = session.run(None, {"lr": lr, "mean": mean.reshape(-1, 1, 1)})
    return sr[0, :, cropped : -cropped or None, cropped : -cropped or None]


@pytest.mark.slow
def test_a_run_s_network_in_onnx_is_the_run_s_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript")
    config = RunConfig.from_preset(TINY, steps=2, evaluate_every=None, mirror=3)
    run, path = train(config, tmp_path / "runs"), tmp_path / "net.onnx"
    assert "any number of bands" in export_onnx(str(run.folder), path)
    # another number of bands than the training's, so that the mean is the cube's own
    cube = np.random.default_rng(0).random((4, 8, 7), np.float32)
    mean = cube.mean(axis=(1, 2))
    network, subtracted = adapt_network(load_pretrained(run.folder), mean, np.full(4, np.nan))
    assert subtracted == "cube"
    np.testing.assert_allclose(run_file(path, cube, mean), super_resolve(network, cube), atol=1e-5)
    notes = {entry.key: entry.value for entry in pytest.importorskip("onnx").load(path).metadata_props}
    np.testing.assert_allclose(json.loads(notes["mean"]), run.model().mean.flatten(), rtol=1e-6)

    monkeypatch.setattr(MODULE, "_compare", lambda *_: ("an engine", float("nan")))
    with pytest.raises(HsisrError, match="an engine computes another SR than PyTorch"):
        export_onnx(str(run.folder), tmp_path / "wrong.onnx")
    assert not list(tmp_path.glob("*wrong*"))


@pytest.mark.slow
def test_bands_are_fixed_where_they_are_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript")
    models: dict[str, Any] = {
        "edsr": build_model("edsr", 3, 5, features=4, blocks=1),
        "gdrrn": build_model("gdrrn", 2, 5, features=4, recursions=1),
        "ssrchain": build_model("ssrchain", 3, 5, features=4, modules=1),
    }
    for model in models.values():
        model.set_mean(torch.rand(5))
    monkeypatch.setattr(MODULE, "load_pretrained", lambda name: Pretrained(name, models[name], "", "", None))
    cube = np.random.default_rng(0).random((5, 4, 11), np.float32)
    for name, bands in (("edsr", "5"), ("ssrchain", "any number of")):
        assert f"x3, {bands} bands" in export_onnx(name, tmp_path / f"{name}.onnx")
        sr = run_file(tmp_path / f"{name}.onnx", cube, models[name].mean.numpy())
        np.testing.assert_allclose(sr, super_resolve(models[name], cube), atol=1e-5)
    with pytest.raises(HsisrError, match="gdrrn cannot be exported for any size"):
        export_onnx("gdrrn", tmp_path / "gdrrn.onnx")


def test_without_onnx_the_command_gives_the_words_for_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(MODULE, "find_spec", lambda _: None)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    out = str(tmp_path / "net.onnx")
    monkeypatch.setattr(sys, "argv", ["hsisr", "export", "ssrnet-32-x2-cave-nine", "-o", out])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "pip install 'hsisr[onnx]'" in capsys.readouterr().err
