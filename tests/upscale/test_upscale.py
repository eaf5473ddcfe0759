"""From disk to disk: the values of `super_resolve`, in the cube's units, in every format; no half file."""

from __future__ import annotations

import importlib
import json
import math
import os
import platform
import shutil
import signal
import subprocess
import sys
import tracemalloc
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import spectral
import tifffile
from tqdm.auto import tqdm

from hsisr_core.base import sha256_file, write_json
from hsisr_core.data import load_dataset, read_scene
from hsisr_core.errors import HsisrError
from hsisr_core.fast import super_resolve_tiles
from hsisr_core.predict import super_resolve
from hsisr_core.runs import FOLDER, Run, RunConfig, results_folder, shipped
from hsisr_core.scenes import open_scene
from hsisr_core.training import train
from hsisr_core.upscale import (
    adapt_network,
    load_pretrained,
    pack,
    parse_bands,
    self_test,
    upscale,
)
from hsisr_core.upscale.pack import NOT_FOR
from hsisr_core.upscale.scene import return_memory

TINY = str(Path(__file__).parents[1] / "tiny.yaml")
COUNTS = np.random.default_rng(3).integers(100, 4000, (5, 40, 36), dtype=np.uint16)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(
        RunConfig.from_preset(TINY, steps=2, evaluate_every=None, mirror=3), tmp_path_factory.mktemp("runs")
    )


@pytest.fixture(scope="module")
def packed(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    write_json(folder / "index.json", {"weights": []})
    return pack(run, "tiny-x2", folder)


@pytest.fixture
def cube(tmp_path: Path) -> Path:
    """An ENVI cube with wavelengths, a place, and a scale factor."""
    path = tmp_path / "cube.hdr"
    info = ["UTM", "3", "5", "500000", "4600000", "10", "10", "33", "North", "WGS-84", "units=Meters"]
    metadata = {
        "wavelength": [450, 500, 550, 600, 650], "wavelength units": "Nanometers", "map info": info,
        "reflectance scale factor": 4000,
    }  # fmt: skip
    spectral.io.envi.save_image(
        str(path), COUNTS.transpose(1, 2, 0), ext=".img", interleave="bil", metadata=metadata
    )
    return path


@pytest.mark.parametrize("suffix", [".h5", ".mat", ".npy", ".tif", ".hdr", ".img"])
@pytest.mark.filterwarnings("ignore:cube is")
def test_every_format_holds_what_super_resolve_gives(
    cube: Path, packed: Path, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"out{suffix}"
    _, made = upscale(cube, 2, str(packed), out, tile=11, check=False)
    assert made.shape == (5, 80, 72)
    weights, scene = load_pretrained(packed), read_scene(cube)
    network, mean = adapt_network(weights, scene.cube.mean(axis=(1, 2)), scene.wavelengths)
    assert mean == "cube"
    expected = np.maximum(super_resolve(network, scene.cube) * 4000, 0)
    written = read_scene(out, divisor=4000)
    np.testing.assert_allclose(written.cube * 4000, expected, atol=0.05)
    if suffix not in (".mat", ".npy"):
        assert written.wavelengths.tolist() == [450, 500, 550, 600, 650]
    if suffix in (".tif", ".hdr", ".img"):
        assert written.georeference is not None
        assert written.georeference.transform == pytest.approx((499980, 5, 0, 4600040, 0, -5))
        assert written.georeference.crs in ("EPSG:32633", "UTM, 33, North, WGS-84, units=Meters")
    files = [out.with_suffix(".hdr")] if suffix == ".img" else [*tmp_path.glob("out*")]
    digest = made.provenance["weights_sha256"].encode()
    assert any(digest in file.read_bytes() for file in files)
    assert not list(tmp_path.glob(".*"))


def test_geotiff_keys_and_no_data_are_kept(packed: Path, tmp_path: Path) -> None:
    values = COUNTS.copy()
    values[1, 7, 9] = 65535
    keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 2056)
    tags = [
        (33550, "d", 3, (10.0, 10.0, 0.0), True), (33922, "d", 6, (0.0, 0.0, 0.0, 5.0, 6.0, 0.0), True),
        (34735, "H", len(keys), keys, True), (42113, "s", 0, "65535", True),
    ]  # fmt: skip
    tifffile.imwrite(
        tmp_path / "a.tif", values, photometric="minisblack", planarconfig="separate", extratags=tags
    )
    upscale(tmp_path / "a.tif", 2, "bicubic", tmp_path / "b.tif", keep_type=True)
    written = tifffile.imread(tmp_path / "b.tif")
    assert written.dtype == np.uint16
    assert np.argwhere(written == 65535).tolist() == [[1, 14, 18], [1, 14, 19], [1, 15, 18], [1, 15, 19]]
    scene = read_scene(tmp_path / "b.tif")
    assert scene.georeference is not None
    assert scene.georeference.crs == "EPSG:2056"
    assert scene.mask is not None
    assert int((~scene.mask).sum()) == 4


def test_undeclared_nan_is_refused_and_declared_nan_is_kept(tmp_path: Path) -> None:
    values = (COUNTS / 4000).astype(np.float32)
    values[:, 3, 4] = np.nan
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(HsisrError, match=r"5 of 7200 values are NaN.*--nodata nan"):
        upscale(tmp_path / "a.npy", 2, "bicubic", tmp_path / "b.npy")
    upscale(tmp_path / "a.npy", 2, "bicubic", tmp_path / "b.npy", nodata=float("nan"))
    assert np.count_nonzero(np.isnan(np.load(tmp_path / "b.npy"))) == 5 * 4
    assert json.loads((tmp_path / "b.npy.json").read_text())["provenance"]["model"] == "bicubic"


def test_only_windows_are_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", COUNTS)
    scene = open_scene(tmp_path / "a.npy")
    part, missing = scene.read(slice(3, 9), slice(30, 36))
    assert missing is None
    assert np.array_equal(part, read_scene(tmp_path / "a.npy").cube[:, 3:9, 30:36])


@pytest.mark.parametrize("tile", [None, 20])
@pytest.mark.filterwarnings("ignore:cube is")
def test_progress_is_shown_within_a_tile(
    tile: int | None, cube: Path, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = []
    update_bar = tqdm.update

    def update(bar: Any, n: float) -> None:
        update_bar(bar, n)
        shares.append(bar.n / bar.total)

    # rows come one by one
    monkeypatch.setattr("hsisr_core.fast.networks.PIECE_BYTES", 1)
    monkeypatch.setattr(tqdm, "update", update)
    upscale(cube, 2, str(packed), tmp_path / "out.npy", tile=tile, check=False)
    assert shares == sorted(shares)
    assert len(set(shares)) > 20
    assert shares[-1] == pytest.approx(1)


@pytest.mark.parametrize("tile", [None, 50])
def test_a_tile_is_in_memory_once(tile: int | None, tmp_path: Path) -> None:
    np.save(tmp_path / "cube.npy", np.random.default_rng(0).random((40, 100, 100), dtype=np.float32))
    upscale(tmp_path / "cube.npy", 2, "bicubic", tmp_path / "out.npy", tile=tile, check=False)
    tracemalloc.start()
    _, made = upscale(tmp_path / "cube.npy", 2, "bicubic", tmp_path / "out.npy", tile=tile, check=False)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    written = 4 * math.prod(made.shape) * ((tile or 100) / 100) ** 2
    # PyTorch's own memory is not counted: LR and a band in double precision are, and no second tile of SR
    assert peak < 0.9 * written


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_goes_back_to_the_system_between_tiles() -> None:
    """Also where blocks that are still held lie between those that were freed."""

    def resident() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    blocks = [np.ones(100_000, np.uint8) for _ in range(1000)]
    held = blocks[::50]
    del blocks
    before = resident()
    return_memory()
    assert before - resident() > 50e6
    assert len(held) == 20


def test_a_network_that_sees_few_pixels_takes_small_tiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "cube.npy", np.random.default_rng(0).random((2, 150, 140), dtype=np.float32))
    tiles = []

    def note(*given: Any) -> Any:
        tiles.append(given[3])
        return super_resolve_tiles(*given)

    monkeypatch.setattr("hsisr_core.upscale.scene.super_resolve_tiles", note)
    for name, limit in (("whole", 1 << 27), ("tiles", 1)):
        monkeypatch.setattr("hsisr_core.upscale.scene._TILE_BYTES", limit)
        upscale(tmp_path / "cube.npy", 2, "bicubic", tmp_path / f"{name}.npy", check=False)
    assert tiles == [150, 128]
    assert np.array_equal(np.load(tmp_path / "tiles.npy"), np.load(tmp_path / "whole.npy"))


def test_an_interrupted_run_leaves_the_old_file(
    cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.h5"
    out.write_bytes(b"old")

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hsisr_core.upscale.scene._in_units", interrupted)
    with pytest.raises(KeyboardInterrupt):
        upscale(cube, 2, "bicubic", out)
    assert out.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cube.hdr", "cube.img", "out.h5"]


@pytest.mark.slow
def test_a_killed_run_leaves_nothing_for_long(tmp_path: Path) -> None:
    np.save(tmp_path / "cube.npy", np.ones((3, 40, 40), np.float32))
    out = tmp_path / "out.npy"
    command = (
        "import os, signal, sys; from hsisr_core.upscale import upscale; import hsisr_core.upscale.scene as s;"
        "s._in_units = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL);"
        "upscale(sys.argv[1], 2, 'bicubic', sys.argv[2], check=False)"
    )
    done = subprocess.run([sys.executable, "-c", command, str(tmp_path / "cube.npy"), str(out)], check=False)
    # the values and what is said of them
    left = sorted(tmp_path.glob(".out.npy.*"))
    assert len(left) == 2
    assert done.returncode == -signal.SIGKILL
    for file in left:
        os.utime(file, (0, 0))
    upscale(tmp_path / "cube.npy", 2, "bicubic", out, check=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cube.npy", "out.npy", "out.npy.json"]


def test_a_full_disk_is_told_at_once(cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hsisr_core.upscale.scene._in_units", full)
    with pytest.raises(HsisrError, match="No space left"):
        upscale(cube, 2, "bicubic", tmp_path / "out.tif")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cube.hdr", "cube.img"]


def test_mistakes(cube: Path, packed: Path, run: Run, tmp_path: Path) -> None:
    with pytest.raises(HsisrError, match="is the cube itself"):
        upscale(cube, 2, "bicubic", tmp_path / "cube.img")
    with pytest.raises(HsisrError, match=r"expected one of \.h5"):
        upscale(cube, 2, "bicubic", tmp_path / "a.jpg")
    with pytest.raises(HsisrError, match="enlarges by 2, not 3"):
        upscale(cube, 3, str(packed))
    with pytest.raises(HsisrError, match=r"no shipped weights for x4, .* Shipped: tiny-x2 \(x2\)\. Train"):
        load_pretrained(None, 4, packed.parent)
    with pytest.raises(HsisrError, match="is not a packed file"):
        load_pretrained(cube)
    bare = tmp_path / "bare.safetensors"
    bare.write_bytes((run.folder / "weights.safetensors").read_bytes())
    with pytest.raises(HsisrError, match="name its run folder"):
        load_pretrained(bare)
    with pytest.raises(HsisrError, match=r"needs 64 pixels a side\. Leave --check out"):
        upscale(cube, 4, "bicubic", tmp_path / "a.npy", check=True)
    with pytest.raises(HsisrError, match=r"bands=\[0, 1, 2, 3, 4, 5, \.\.\.\]: "):
        upscale(cube, 2, "bicubic", bands=parse_bands("0:99"))
    with pytest.raises(HsisrError, match="--bands 1-3"):
        parse_bands("1-3")
    assert parse_bands("0,2,10:12") == [0, 2, 10, 11]


def test_packed_weights_give_what_the_run_gives(run: Run, packed: Path, tmp_path: Path) -> None:
    lr = np.random.default_rng(0).random((31, 9, 8)).astype(np.float32)
    for weights in (
        load_pretrained(packed),
        load_pretrained("tiny-x2", 2, packed.parent),
        load_pretrained(None, 2, packed.parent),
    ):
        np.testing.assert_allclose(
            super_resolve(weights.model, lr), super_resolve(run.model(), lr), atol=2e-4
        )
        assert weights.model.mirror == 3
        assert weights.statistics is not None
        assert weights.statistics.wavelengths[0] == pytest.approx(400.02)
    assert load_pretrained(run.folder).sha256 == sha256_file(run.folder / "weights.safetensors")
    card = packed.with_suffix(".md").read_text()
    assert "CC BY 3.0" in card
    assert f"**Not for** {NOT_FOR}\n" in card
    assert [entry["name"] for entry in shipped(packed.parent)] == ["tiny-x2"]
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(HsisrError, match="damaged"):
        load_pretrained(damaged)
    # of the same length, so that the header's stays true
    damaged.write_bytes(packed.read_bytes().replace(rb"\"method\": \"ssrnet\"", rb"\"method\": 1234567890"))
    with pytest.raises(HsisrError, match=r"damaged \(ValidationError\)"):
        load_pretrained(damaged)


def test_the_self_test_is_blurred_as_the_training_was(tmp_path: Path) -> None:
    blurred = train(RunConfig.from_preset(TINY, steps=1, evaluate_every=None, blur=1.0), tmp_path / "runs")
    weights = load_pretrained(pack(blurred, "blurred", tmp_path))
    assert weights.blur == load_pretrained(blurred.folder).blur == 1
    lines: list[str] = []
    out = tmp_path / "out.npy"
    _, made = upscale("indian-pines", 2, str(blurred.folder), out, check=True, say=lines.append)
    cube = read_scene("indian-pines").cube
    expected = self_test(load_pretrained("bicubic", 2).model, cube, blur=1.0)["bicubic"]["psnr"]
    found = made.provenance["self_test_psnr"]["bicubic"]
    assert found == round(expected, 3)
    assert found < self_test(weights.model, cube)["bicubic"]["psnr"]
    assert any("blurred (1 HR pixels), reduced by 2" in line for line in lines)


def test_weights_for_x2_are_applied_three_times_for_x8(
    cube: Path, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = lr = np.random.default_rng(0).random((31, 9, 8)).astype(np.float32)
    for _ in range(3):
        expected = super_resolve(load_pretrained(packed).model, expected)
    with pytest.warns(UserWarning, match="tiny-x2 enlarges by 2: for x8 it is applied three times"):
        weights = load_pretrained(None, 8, packed.parent)
    for tile in (None, 3):
        np.testing.assert_allclose(super_resolve(weights.model, lr, tile), expected, atol=1e-5)
    monkeypatch.setattr("hsisr_core.fast.scene.tile_of_pass", lambda bands: 7)
    np.testing.assert_allclose(super_resolve(weights.model, lr), expected, atol=1e-5)
    with pytest.warns(UserWarning, match="three times"):
        _, made = upscale(cube, 8, str(packed), tmp_path / "out.npy", tile=17, check=False)
    assert made.shape == (5, 320, 288)
    assert (made.provenance["model"], made.provenance["mean"]) == ("tiny-x2, three times", "cube")


def test_far_cubes_are_tested_and_near_ones_are_not(cube: Path, packed: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="far from what tiny-x2 was trained on: its contrast"):
        _, made = upscale(cube, 2, str(packed), tmp_path / "a.npy")
    assert set(made.provenance["self_test_psnr"]) == {"bicubic", "network"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, made = upscale("indian-pines", 2, str(packed), tmp_path / "b.npy")
    assert "self_test_psnr" not in made.provenance
    assert made.provenance["mean"] == "training"


def test_the_self_test_of_bicubic_has_no_gain() -> None:
    scores = self_test(load_pretrained("bicubic", 2).model, (COUNTS / 4000).astype(np.float32))
    assert scores["network"]["psnr"] == pytest.approx(scores["bicubic"]["psnr"], abs=1e-4)


def test_the_self_test_leaves_out_what_was_not_measured(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).integers(1, 9000, (64, 64, 4)).astype(np.int16)
    scipy.io.savemat(tmp_path / "part.mat", {"cube": counts[:32]})
    for fill in (-1, -9999):
        holed = counts.copy()
        holed[32:] = fill
        np.save(tmp_path / f"{-fill}.npy", holed)

    def psnr_of(name: str, **options: Any) -> float:
        _, made = upscale(
            tmp_path / name, 2, "bicubic", tmp_path / "o.npy", check=True, divisor=9000, **options
        )
        return float(made.provenance["self_test_psnr"]["bicubic"])

    tested = psnr_of("1.npy", nodata=-1)
    assert tested == psnr_of("9999.npy", nodata=-9999)
    assert tested == pytest.approx(psnr_of("part.mat"), abs=0.3)


def test_packed_weights_name_no_folder_of_the_machine_that_made_them(run: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(run.folder, tmp_path / run.folder.name)
    metrics = run.metrics
    metrics["config"]["data"] = f"{tmp_path}/cave"
    (folder / "metrics.json").write_text(json.dumps(metrics))
    moved = replace(run, folder=folder, config=run.config.changed(data=f"{tmp_path}/cave"))
    with pytest.MonkeyPatch.context() as patch:
        module = importlib.import_module("hsisr_core.upscale.pack")
        patch.setattr(module, "load_data", lambda _: load_dataset("indian-pines", None))
        packed = pack(moved, "moved", tmp_path / "packed")
    for file in packed.parent.iterdir():
        assert str(tmp_path).encode() not in file.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("entry", shipped(), ids=lambda entry: entry["name"])
def test_shipped_weights_beat_bicubic_on_a_scene_they_were_not_trained_on(
    entry: dict[str, Any], hsisr_data: Path
) -> None:
    toys = read_scene(hsisr_data / "cave_sample" / "stuffed_toys_ms").crop((96, 352), (96, 352))
    weights = load_pretrained(entry["name"], entry["scale"])
    assert (
        "stuffed_toys"
        in (FOLDER / entry["file"]).with_suffix(".md").read_text().partition("| test images |")[2]
    )
    network, subtracted = adapt_network(weights, toys.cube.mean(axis=(1, 2)), toys.wavelengths)
    assert subtracted == ("training" if len(weights.model.mean) == toys.cube.shape[0] else "cube")
    scores = self_test(network, toys.cube)
    assert scores["network"]["psnr"] > scores["bicubic"]["psnr"] + 1
    assert scores["network"]["ssim"] > scores["bicubic"]["ssim"]


def test_every_scale_with_shipped_weights_has_a_default_with_its_card() -> None:
    for entry in shipped():
        weights = load_pretrained(None, entry["scale"])
        assert weights.model.scale == entry["scale"]
        assert weights.bands is None  # a cube may have any number of bands
        card = (FOLDER / f"{entry['name']}.md").read_text()
        assert entry["sha256"] in card
        assert "research use" in card
        assert f"**Not for** {NOT_FOR}\n" in card


def test_all_shipped_weights_are_scored_on_the_same_scenes() -> None:
    """New weights: `python -m benchmarks.weights`, see there."""
    rows = json.loads((results_folder() / "weights.json").read_bytes())["rows"]
    for image in ("stuffed_toys", "UPavia_Subset"):
        scored = {(row["scale"], row["result"]) for row in rows if row["image"] == image}
        assert scored == {
            (entry["scale"], name) for entry in shipped() for name in (entry["name"], "bicubic")
        }


def test_real_cubes_of_two_sensors(hsisr_data: Path, packed: Path, tmp_path: Path) -> None:
    _, made = upscale(hsisr_data / "other" / "UPavia_Subset.mat", 2, "bicubic", tmp_path / "pavia.tif")
    assert made.shape == (103, 280, 160)
    folder = hsisr_data / "cave_sample" / "stuffed_toys_ms"
    path, made = upscale(folder, 2, "bicubic", tmp_path / "toys.h5", bands=[0, 15, 30])
    assert made.shape == (3, 1024, 1024)
    assert read_scene(path).wavelengths.tolist() == [400, 550, 700]
