"""What an explorer carries and what it refuses; how it looks and works is in test_widgets_browser.py."""

from __future__ import annotations

import base64
import io
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from pydantic import TypeAdapter

from hsisr_core.data import Scene, load_dataset, write_store
from hsisr_core.errors import HsisrError
from hsisr_core.explorer import SpectralExplorer
from hsisr_core.explorer.pack import PAGE_BUDGET, pack_cubes
from hsisr_core.explorer.state import check_state, make_traits
from hsisr_core.metrics import psnr
from hsisr_core.runs.config import RunConfig
from hsisr_core.training import reduced_pairs, super_resolve_clipped, train

TINY = Path(__file__).parents[1] / "tiny.yaml"
NM = np.linspace(450, 650, 5)


def cubes(height: int = 12, width: int = 8, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    hr = rng.random((5, height, width)).astype(np.float32)
    lr = rng.random((5, height // 2, width // 2)).astype(np.float32) * 1.1 - 0.05
    return {"LR": lr, "SR": np.clip(hr + 0.1, 0, 1), "HR": hr}


def test_integers_keep_the_values_to_half_a_step() -> None:
    given = cubes()
    packed = pack_cubes(given, NM, reference="HR")
    assert packed.step < 2e-5
    for name, cube in given.items():
        assert packed.cubes[name].counts.dtype == np.uint16
        error = np.abs(packed.values(name) - cube.astype(np.float64)).max()
        assert error <= packed.step / 2 * (1 + 1e-9)
    assert f"off by at most {packed.step / 2:.2g}," in packed.note
    everything = np.concatenate([packed.cubes[name].counts.ravel() for name in given])
    assert (everything.min(), everything.max()) == (0, 65535)


def test_a_constant_cube_is_kept() -> None:
    packed = pack_cubes({"x": np.full((2, 4, 4), 0.25)})
    assert (packed.values("x") == 0.25).all()
    assert packed.describe()["wavelengths"] is None


def test_band_psnr_is_that_of_the_whole_image() -> None:
    given = cubes(40, 30)
    packed = pack_cubes(given, NM, reference="HR", budget=20_000)
    assert packed.size < (40, 30)
    scores = packed.cubes["SR"].psnr
    assert scores == [round(psnr(given["SR"][b][None], given["HR"][b][None]), 3) for b in range(5)]
    assert packed.cubes["LR"].psnr is None
    assert pack_cubes({"a": given["HR"], "b": given["HR"]}, reference="b").cubes["a"].psnr == [None] * 5


def test_nan_is_no_data() -> None:
    given = cubes()
    given["HR"][:, :3] = given["SR"][4, 5, 5] = np.nan
    given["LR"][given["LR"] > 0.9] = np.nan
    packed = pack_cubes(given, NM, reference="HR")
    for name, cube in given.items():
        assert np.allclose(packed.values(name), cube, rtol=0, atol=packed.step / 2 + 1e-7, equal_nan=True)
    assert "no data" in packed.note
    assert packed.describe()["nodata"] == 65535
    mask = np.isfinite(given["SR"][4] + given["HR"][4])
    expected_psnr = psnr(given["SR"][4][None], given["HR"][4][None], mask)
    assert packed.cubes["SR"].psnr is not None
    assert packed.cubes["SR"].psnr[4] == round(expected_psnr, 3)
    explorer = SpectralExplorer(packed, pixels=[[0, 0]])
    assert len(explorer.picture()) > 4_000


def test_a_crop_fits_the_budget_and_keeps_lr_and_hr_together() -> None:
    given = cubes(60, 46)
    hr = given["HR"]
    for budget in (500, 3_000, 20_000, 60_000):
        packed = pack_cubes(given, NM, budget=budget)
        assert sum(len(base64.b64encode(data)) for data in packed.buffers()) <= budget + 12
        (top, left), (height, width) = packed.origin, packed.size
        assert {top % 2, left % 2, height % 2, width % 2} == {0}
        part = hr[:, top : top + height, left : left + width]
        assert np.abs(packed.values("HR") - part).max() < 2e-5
        half = given["LR"][:, top // 2 : (top + height) // 2, left // 2 : (left + width) // 2]
        assert np.abs(packed.values("LR") - half).max() < 2e-5
        assert f"rows {top} to {top + height - 1}" in packed.note
    assert height * width > 0.8 * 60_000 * 3 / 4 / (2 * 5 * 2.25)
    assert pack_cubes(given, budget=10**6).note.startswith("Shown: the whole image of 60 × 46 pixels.")


def test_what_a_method_lacks_is_left_out_of_all_cubes() -> None:
    given = cubes(60, 46)
    given["SR"][:2] = given["SR"][-2:] = np.nan
    given["SR"][:, :3] = given["SR"][:, -3:] = given["SR"][..., :3] = given["SR"][..., -3:] = np.nan
    for budget in (10**6, 3_000):
        packed = pack_cubes(given, NM, reference="HR", budget=budget, margin=(2, 3))
        assert packed.wavelengths.tolist() == list(NM[2:-2])
        (top, left), (height, width) = packed.origin, packed.size
        assert (top % 2, left % 2) == (0, 0), "the border of 3 is rounded up to the grid of LR"
        part = given["HR"][2:-2, top : top + height, left : left + width]
        assert np.abs(packed.values("HR") - part).max() < 2e-5
        half = given["LR"][2:-2, top // 2 : (top + height) // 2, left // 2 : (left + width) // 2]
        assert np.abs(packed.values("LR") - half).max() < 2e-5
        inner = [given[name][2:-2, 4:-4, 4:-4] for name in ("SR", "HR")]
        assert packed.cubes["SR"].psnr == [round(psnr(*inner), 3)]
        assert (
            "no value there: 2 bands at either end and a border of 4 pixels." in packed.note
            or budget == 3_000
        )
        assert "whole image but the border" in packed.note
        assert ("stays below" in packed.note) == (budget == 3_000)
    whole = pack_cubes(given, NM, margin=(2, 3))
    assert (whole.origin, whole.size, whole.full) == ((4, 4), (52, 38), (60, 46))
    with pytest.raises(HsisrError, match=r"margin=\(3, 0\) leaves nothing"):
        pack_cubes(given, NM, margin=(3, 0))


def test_a_page_of_a_large_scene_stays_below_its_budget() -> None:
    hr = np.random.default_rng(0).random((31, 300, 300), dtype=np.float32)
    explorer = SpectralExplorer.from_cubes({"SR": hr, "HR": hr}, np.linspace(400, 700, 31), reference="HR")
    assert 0.8 * PAGE_BUDGET < len(explorer.html().encode()) < PAGE_BUDGET - 200_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cubes": {}}, "There are no cubes to explore"),
        ({"cubes": {"x": np.zeros((4, 4))}}, r"'x' has shape \(4, 4\) of float64"),
        ({"cubes": {"x": np.full((1, 4, 4), np.nan)}}, "'x' has no finite value"),
        ({"cubes": {"a:b": np.zeros((1, 4, 4))}}, "a name without a colon"),
        ({"cubes": {"x": np.zeros((2, 4, 4)), "y": np.zeros((2, 3, 4))}}, r"'y' has shape \(2, 3, 4\)"),
        ({"cubes": {"x": np.zeros((2, 4, 4)), "y": np.zeros((1, 4, 4))}}, "expected the same bands"),
        ({"wavelengths": [1, 2]}, "2 wavelengths for 5 bands"),
        ({"reference": "LR"}, "expected a cube at full resolution, one of SR, HR"),
        ({"budget": 20}, "not one pixel of 5 bands in 3 cubes fits"),
    ],
)
def test_what_cannot_be_shown_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(HsisrError, match=message):
        pack_cubes(**({"cubes": cubes()} | change))


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("band", np.int64(4), 4),
        ("pixels", np.array([[0, 7]]), [[0, 7]]),
        ("pixels", [(11, 0), (0, 0, 12, 8)], [[11, 0], [0, 0, 12, 8]]),
        ("view", (6, 4.0, 32), [6.0, 4.0, 32.0]),
        ("views", ("SR:error", "LR"), ["SR:error", "LR"]),
        ("mode", "error", "error"),
        ("channels", (0, 1, 4), [0, 1, 4]),
        ("gamma", 2, 2.0),
        ("hidden", ("SR",), ["SR"]),
    ],
)
def test_traits_become_plain_values(name: str, value: Any, kept: Any) -> None:
    explorer = SpectralExplorer.from_cubes(cubes(), NM, reference="HR")
    setattr(explorer, name, value)
    assert getattr(explorer, name) == kept
    assert json.dumps(getattr(explorer, name)) == json.dumps(kept)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("band", 5, "band=5: Input should be less than or equal to 4."),
        ("band", 2.0, "band=2.0: Input should be a valid integer."),
        ("band", True, "band=True: Input should be a valid integer."),
        ("pixels", [[12, 0]], "less than or equal to 11"),
        ("pixels", [[-1, 0]], "pixels=[[-1, 0]]: Input should be greater than or equal to 0."),
        ("pixels", [[3, 3, 3, 5]], "pixels="),
        ("pixels", [[0, 0]] * 7, "at most 6"),
        ("pixels", [[0, 0, 1]], "not 3"),
        ("pixels", 3, "a valid array"),
        ("view", [0, 0, 0.5], "greater than or equal to 1"),
        ("view", [0, 9, 2], "less than or equal to 8"),
        ("views", [], "at least 1 item"),
        ("views", ["MR"], "'LR:colour'"),
        ("views", ["HR:red"], "'LR:colour'"),
        ("mode", "red", "mode='red': Input should be 'band', 'colour' or 'error'."),
        ("stretch", None, "'linear' or 'percentile'"),
        ("gamma", float("nan"), "gamma=nan"),
        ("curtain", 1, "a valid boolean"),
        ("channels", [0, 1], "channels=[0, 1]"),
        ("hidden", "HR", "a valid array"),
        ("split", object(), "a valid number"),
    ],
)
def test_one_clear_error_for_a_wrong_trait(name: str, value: Any, message: str) -> None:
    explorer = SpectralExplorer.from_cubes(cubes(), NM, reference="HR")
    before = getattr(explorer, name)
    with pytest.raises(HsisrError) as raised:
        setattr(explorer, name, value)
    assert message in str(raised.value)
    assert getattr(explorer, name) == before
    with pytest.raises(HsisrError):
        SpectralExplorer.from_cubes(cubes(), NM, reference="HR", **{name: value})


def test_pixels_are_those_of_the_whole_image() -> None:
    explorer = SpectralExplorer.from_cubes(cubes(60, 46), NM, budget=3_000)
    top, left = explorer.cubes.origin
    assert top > 0
    explorer.pixels = [[top, left]]
    with pytest.raises(HsisrError, match=f"greater than or equal to {top}"):
        explorer.pixels = [[top - 1, left]]


def test_errors_need_a_reference_and_a_state_has_a_name() -> None:
    with pytest.raises(HsisrError, match="mode='error': Input should be 'band' or 'colour'"):
        SpectralExplorer.from_cubes(cubes(), NM, mode="error")
    with pytest.raises(HsisrError, match="An explorer has no 'bands'; expected one of band, channels"):
        SpectralExplorer.from_cubes(cubes(), NM, bands=3)


def test_the_first_state_is_valid() -> None:
    for wavelengths in (None, NM):
        packed = pack_cubes(cubes(), wavelengths)
        for name, (value, kind) in make_traits(packed).items():
            assert check_state(name, value, TypeAdapter(kind)) == value


def test_presets_are_those_that_the_sensor_sees() -> None:
    def presets(*nm: float) -> dict[str, list[int]]:
        return pack_cubes({"x": np.zeros((len(nm), 4, 4))}, nm).presets

    assert presets(450, 550, 650, 850, 900) == {"natural": [2, 1, 0], "CIR": [3, 2, 1]}
    assert presets(450, 550, 650) == {"natural": [2, 1, 0]}
    assert presets(450, 900) == {}
    assert presets(900, 1000, 1100) == {}


def test_output_has_the_widget_the_page_and_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    explorer = SpectralExplorer.from_cubes(cubes(), NM, reference="HR", band=1, pixels=[[0, 0, 4, 4]])
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr("hsisr_core.explorer.widget.display", lambda data, **options: shown.append(data))
    explorer._ipython_display_()
    widget, data = shown
    view = "application/vnd.jupyter.widget-view+json"
    assert list(widget) == [view], "the book shows a text that stands beside it"
    assert widget[view]["model_id"] == explorer.model_id
    assert view not in data
    assert data["text/plain"] == "SpectralExplorer of LR, SR, HR"
    width, height = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).size
    assert width == 720
    assert height > 200
    page = data["text/html"]
    content = json.loads(re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)[0])
    assert content["state"]["band"] == 1
    counts = np.frombuffer(base64.b64decode(content["data"][1]), "<u2").reshape(5, 12, 8)
    assert (counts == explorer.cubes.cubes["SR"].counts).all()
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert page.count("</script>") == 2
    assert "<noscript><img alt=" in page
    assert explorer.html() != page, "two outputs on one page have places of their own"


def test_a_name_cannot_break_out_of_the_page() -> None:
    name = "</script><b>\"x'"
    page = SpectralExplorer.from_cubes({name: cubes()["HR"]}, NM).html()
    assert "</script><b>" not in page
    assert page.count("</script>") == 2


def test_saved_state_of_the_widget_is_small() -> None:
    explorer = SpectralExplorer.from_cubes({"x": np.zeros((10, 100, 100))}, budget=10**6)
    state = {
        name: value for name, value in explorer.get_state().items() if isinstance(value, str | list | dict)
    }
    assert len(json.dumps(state)) < 150_000, "the counts travel as a message, not in the state"


def test_data_is_sent_when_a_view_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    explorer = SpectralExplorer.from_cubes(cubes(), NM)
    sent: list[Any] = []
    monkeypatch.setattr(type(explorer), "send", lambda self, *message: sent.append(message))
    explorer._handle_custom_msg({"type": "other"}, [])
    assert sent == []
    explorer._handle_custom_msg({"type": "data"}, [])
    assert sent == [({"type": "data"}, explorer.cubes.buffers())]


def test_from_run_shows_what_chapter_05_scores(tmp_path: Path) -> None:
    config = RunConfig.from_preset(str(TINY), steps=2)
    dataset = load_dataset(config.data, config.split)
    run = train(config, runs=tmp_path, dataset=dataset)
    other = train(config.changed(seed=2), runs=tmp_path, dataset=dataset)
    explorer = SpectralExplorer.from_run(run, other, band=3)
    digest = other.folder.name.rsplit("-", 1)[-1]
    assert list(explorer.cubes.cubes) == ["LR", "bicubic", "SSRNet", f"SSRNet {digest}", "HR"]
    assert explorer.views == list(explorer.cubes.cubes)
    assert (explorer.cubes.reference, explorer.band) == ("HR", 3)
    lr, hr = next(iter(reduced_pairs(dataset, config.scale).values()))
    for name, cube in (("LR", lr), ("SSRNet", super_resolve_clipped(run.model(), lr)), ("HR", hr)):
        assert np.abs(explorer.cubes.values(name) - cube).max() < 2e-5
    blurred = train(config.changed(blur=1.0, steps=1), runs=tmp_path, dataset=dataset)
    lr, _ = next(iter(reduced_pairs(dataset, config.scale, 1.0).values()))
    assert np.abs(SpectralExplorer.from_run(blurred).cubes.values("LR") - lr).max() < 2e-5
    with pytest.raises(HsisrError, match="the same data, split, scale and blur"):
        SpectralExplorer.from_run(run, blurred)
    fcnn = config.changed(method="3d-fcnn", scale=config.scale, patch=8)
    both = SpectralExplorer.from_run(run, train(fcnn, runs=tmp_path, dataset=dataset))
    assert list(both.cubes.cubes) == ["LR", "bicubic", "SSRNet", "3D-FCNN", "HR"]
    assert both.cubes.bands == dataset.bands - 8
    assert both.cubes.origin == (6, 6)
    with pytest.raises(HsisrError, match="image='moon' is not a test image; expected one of"):
        SpectralExplorer.from_run(run, image="moon")
    with pytest.raises(HsisrError, match="one or more runs with the same data"):
        SpectralExplorer.from_run()


@pytest.mark.slow
def test_a_scene_without_data_in_places_is_trained_on_scored_and_shown(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:64, :60]
    mask = (rows < 40) & (columns > 1)
    cube = 0.4 + 0.3 * np.sin(rows / 7 + columns / 5) * np.linspace(0.5, 1, 6)[:, None, None]
    cube = np.where(mask, cube, 0).astype(np.float32)
    scenes = [Scene(name, cube, np.full(6, np.nan), 1.0, "", mask) for name in "ab"]
    write_store(tmp_path / "scenes.h5", scenes, sources=[], dataset="mine")
    (tmp_path / "s.yaml").write_text("name: mine\ndataset: mine\ntrain: [a]\ntest: [b]\n")
    data = {"data": str(tmp_path / "scenes.h5"), "split": str(tmp_path / "s.yaml")}
    run = train(RunConfig.from_preset(str(TINY), steps=2, evaluate_every=None, **data), tmp_path)
    scored = np.zeros_like(mask)
    scored[:33, 9:] = True  # whose bicubic interpolation takes no LR pixel without data
    assert [row["masked_pixels"] for row in run.metrics["images"]] == [(~scored).sum()] * 2
    cubes = SpectralExplorer.from_run(run).cubes
    for name in ("bicubic", "SSRNet", "HR"):
        assert np.array_equal(np.isfinite(cubes.values(name)[0]), scored)
    assert np.array_equal(np.isfinite(cubes.values("LR")[0]), scored[::2, ::2])


def test_script_and_styles_are_packaged_and_the_page_prefers_them() -> None:
    folder = files("hsisr_core.explorer")
    assert (folder / "explorer.js").is_file()
    root = Path(__file__).parents[2]
    assert '"explorer/*.css", "explorer/*.js"' in (root / "pyproject.toml").read_text()
    config = yaml.safe_load((root / "_config.yml").read_text())["sphinx"]["config"]
    ((builder, mime, priority),) = config["nb_mime_priority_overrides"]
    assert (builder, mime) == ("html", "application/vnd.jupyter.widget-view+json")
    assert priority > 100, "after text/html and image/png"
