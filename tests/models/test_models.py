"""SSRNet against its printed parameter counts and against the paper's equations written out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hsisr_core import models
from hsisr_core.degrade import bicubic, imresize, make_pair
from hsisr_core.errors import HsisrError
from hsisr_core.models import Bicubic, SSRChain, SSRNet, build_model, count_parameters
from hsisr_core.models.ssrchain import back_project

COUNTS = json.loads((Path(__file__).parents[1] / "reference" / "fixtures.json").read_text())[
    "parameters_exact"
]
CASES = [(int(r[1]), name, count) for r in ("x2", "x3", "x4") for name, count in COUNTS[r].items()]


@pytest.mark.parametrize(("scale", "name", "count"), CASES)
def test_parameter_counts_to_the_digit(scale: int, name: str, count: int) -> None:
    model = SSRNet(
        scale,
        modules=int(name[1]),
        block="standard" if "standard" in name else "separable",
        local_fusion="without_LFF" not in name,
    )
    assert count_parameters(model) == count


def test_counts_that_the_paper_prints() -> None:
    """Table III prints 1275K and 2562K; both are truncated, and only weight normalisation gives both."""
    separable, standard = count_parameters(SSRNet(2)), count_parameters(SSRNet(2, block="standard"))
    assert (separable // 1000, standard // 1000) == (1275, 2562)
    assert count_parameters(SSRNet(2, weight_norm=False)) // 1000 == 1272


def test_count_without_weight_norm() -> None:
    assert count_parameters(SSRNet(2, weight_norm=False)) == COUNTS["x2_D3_with_weight_norm_folded"]


def randomised(model: SSRNet) -> SSRNet:
    """Move weight norm's g away from |v|, so that it has something to get wrong."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5 + torch.rand(parameter.shape, generator=generator))
    return model


def by_the_equations(model: SSRNet, lr: Tensor, order: str, block: str, fusion: bool, skip: bool) -> Tensor:
    """Eq. 1-7 with plain functions and the model's own weights."""

    def conv(x: Tensor, name: str, pad: tuple[int, int, int]) -> Tensor:
        layer = model.get_submodule(name)
        assert isinstance(layer, torch.nn.Conv3d)
        return F.conv3d(x, layer.weight, layer.bias, padding=pad)

    def f_block(x: Tensor, name: str) -> Tensor:
        if block == "standard":
            return conv(x, f"{name}.0", (1, 1, 1))
        pads = [(0, 1, 1), (1, 0, 0)] if order == "spatial-first" else [(1, 0, 0), (0, 1, 1)]
        return F.relu(conv(F.relu(conv(x, f"{name}.0", pads[0])), f"{name}.2", pads[1]))

    first = conv((lr - model.mean)[:, None], "head", (1, 1, 1))
    x = first
    for d in range(2):
        units, unit = [], x
        for n in range(3):
            unit = (
                f_block(f_block(unit, f"body.{d}.units.{n}.blocks.0"), f"body.{d}.units.{n}.blocks.1") + unit
            )
            units.append(unit)
        fused = F.relu(conv(torch.cat(units, 1), f"body.{d}.fusion", (0, 0, 0))) if fusion else unit
        x = f_block(fused + x, f"body.{d}.block")
        x = x + first if skip else x
    r = model.scale
    x = F.conv_transpose3d(x, model.upsample.weight, model.upsample.bias, stride=(1, r, r), padding=1)
    return conv(x, "tail", (1, 1, 1))[:, 0] + model.mean


@pytest.mark.parametrize("block", ["separable", "standard"])
@pytest.mark.parametrize("order", ["spatial-first", "spectral-first"])
@pytest.mark.parametrize(("fusion", "skip"), [(True, True), (True, False), (False, True), (False, False)])
def test_wiring_follows_the_equations(block: str, order: str, fusion: bool, skip: bool) -> None:
    torch.manual_seed(0)
    model = randomised(
        SSRNet(3, features=4, modules=2, block=block, order=order, local_fusion=fusion, global_residual=skip)
    )
    model.set_mean(torch.tensor([0.2, 0.3, 0.1, 0.5]))
    lr = torch.rand(1, 4, 6, 5)
    expected = by_the_equations(model, lr, order, block, fusion, skip)
    torch.testing.assert_close(model(lr), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_halo_is_the_reach_of_a_pixel(scale: int) -> None:
    """Changing one LR pixel changes SR inside the halo only, and at its edge."""
    torch.manual_seed(1)
    model = SSRNet(scale, features=6, modules=1, units=1, init="he").double()
    side = 2 * model.halo + 5
    lr = torch.rand(1, 3, side, side, dtype=torch.float64)
    moved = lr.clone()
    centre = side // 2
    moved[..., centre, centre] += 1
    changed = (model(moved) - model(lr)).abs().amax(dim=(0, 1)) > 1e-12
    rows = torch.nonzero(changed.any(dim=1)).flatten()
    reach = max(centre - int(rows.min()) // scale, int(rows.max()) // scale - centre)
    assert reach <= model.halo
    assert reach >= model.halo - 1


@pytest.mark.parametrize(("scale", "tolerance"), [(2, 1e-5), (3, 1e-5), (4, 0.01), (8, 0.06)])
def test_interpolation_init_is_bicubic_without_its_modules(scale: int, tolerance: float) -> None:
    """Exact at x2 and x3; at x4 and x8 the kernel does not reach outer taps, of weight 0.007 and 0.03."""
    torch.manual_seed(0)
    model = SSRNet(scale, features=12, modules=1, init="interpolation")
    with torch.no_grad():  # silence the module: what is left is the carrier channels
        last = model.body[0].block[2]
        last.weight = torch.full_like(last.weight, 1e-12)
        last.bias.zero_()
    lr = torch.rand(1, 4, 9, 9)
    inner = (..., slice(2 * scale, -2 * scale), slice(2 * scale, -2 * scale))
    torch.testing.assert_close(model(lr)[inner], Bicubic(scale)(lr)[inner], atol=tolerance, rtol=0)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_interpolation_init_keeps_a_flat_cube_flat(scale: int) -> None:
    torch.manual_seed(0)
    model = SSRNet(scale, features=8, init="interpolation")
    model.set_mean(torch.full((5,), 0.3))
    sr = model(torch.full((1, 5, 8, 8), 0.4))
    assert abs(sr[..., 2 * scale : -2 * scale, 2 * scale : -2 * scale] - 0.4).max() < 0.05


def test_interpolation_init_needs_the_global_skip() -> None:
    with pytest.raises(HsisrError, match="global_residual=True"):
        SSRNet(2, features=4, init="interpolation", global_residual=False)


@pytest.mark.parametrize(("scale", "parameters"), [(2, 1_185_153), (3, 1_295_745), (4, 1_430_913)])
def test_ssrchain_is_smaller_than_ssrnet(scale: int, parameters: int) -> None:
    assert count_parameters(SSRChain(scale)) == parameters < count_parameters(SSRNet(scale))


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_back_projection_adds_what_the_reduction_of_sr_lacks(scale: int) -> None:
    rng = np.random.default_rng(0)
    hr = rng.random((3, 9 * scale, 7 * scale))
    lr, _ = make_pair(hr, scale)
    sr = bicubic(lr, scale)
    lacking = np.zeros_like(lr)
    lacking[:, 2:-2, 2:-2] = (lr - imresize(sr, 1 / scale))[:, 2:-2, 2:-2]
    cubes = [torch.from_numpy(cube)[None] for cube in (sr, lr, hr)]
    found = back_project(cubes[0], cubes[1], scale)[0].numpy()
    np.testing.assert_allclose(found, sr + bicubic(lacking, scale), atol=1e-12)
    assert np.abs(found - hr).mean() < np.abs(sr - hr).mean()
    # what reduces to LR stays as it is
    torch.testing.assert_close(back_project(cubes[2], cubes[1], scale), cubes[2])
    low = cubes[1][..., :4]
    assert torch.equal(back_project(cubes[0][..., : 4 * scale], low, scale), cubes[0][..., : 4 * scale])


def test_he_init_has_the_variance_of_the_paper_it_cites() -> None:
    torch.manual_seed(0)
    head = SSRNet(2, features=64, init="he").body[0].units[0].blocks[0][0]
    assert head.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    assert not head.bias.any()


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_bicubic_model_equals_imresize(scale: int) -> None:
    lr = np.random.default_rng(0).random((3, 8, 11)).astype(np.float32)
    sr = build_model("bicubic", scale, 3)(torch.from_numpy(lr)[None])[0].numpy()
    np.testing.assert_allclose(sr, imresize(lr, scale), atol=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: build_model("srcnn", 2, 31),
            "choose 3d-fcnn, bicubic, .*edsr, ercsr, gdrrn, .*ssrnet, or FILE.py:CLASS",
        ),
        (lambda: build_model("ssrnet", 5, 31), "2, 3, 4 or 8"),
        (lambda: build_model("ssrnet", 2, 31, filters=8), "features"),
        (lambda: SSRNet(2, block="dense"), "separable, standard"),
        (lambda: SSRNet(2, modules=0), "1 to 1024"),
        (lambda: SSRNet(2, features=4)(torch.rand(3, 8, 8)), r"\(batch, bands, height, width\)"),
    ],
)
def test_bad_input_is_one_clear_error(call, words: str) -> None:
    with pytest.raises(HsisrError, match=words):
        call()


def test_bands_other_than_trained_are_refused() -> None:
    model = SSRNet(2, features=4, modules=1)
    model.set_mean(torch.zeros(31))
    with pytest.raises(HsisrError, match="31 bands and the cube has 7"):
        model(torch.rand(1, 7, 8, 8))


@pytest.mark.parametrize("method", ["ssrnet", "edsr"])
def test_mirror_extends_the_scene_and_crops_back(method: str) -> None:
    torch.manual_seed(0)
    options = {"features": 8, "init": "pytorch"}
    model = build_model(method, 2, 3, **options).eval()
    model.set_mean(torch.tensor([0.1, 0.2, 0.3]))
    lr = torch.rand(1, 3, 6, 4)
    extended = F.pad(lr, (3, 3, 5, 5), mode="reflect")  # 7 pixels are wanted, the scene has 3 and 5 to mirror
    expected = model(extended)[..., 10:-10, 6:-6]
    plain = model(lr)
    model.mirror = 7
    torch.testing.assert_close(model(lr), expected)
    assert (plain - expected).abs().max() > 1e-4
    torch.testing.assert_close(model.train()(lr), plain)  # patches are never mirrored


def test_layer_names_are_those_of_the_shipped_weights() -> None:
    names = list(SSRNet(2, features=4, modules=1, units=1).state_dict())
    blocks = [f"body.0.units.0.blocks.{block}.{layer}" for block in (0, 1) for layer in (0, 2)]
    layers = ["head", *blocks, "body.0.fusion", "body.0.block.0", "body.0.block.2", "upsample", "tail"]
    kinds = ("bias", "parametrizations.weight.original0", "parametrizations.weight.original1")
    assert names == ["mean", *(f"{layer}.{kind}" for layer in layers for kind in kinds)]


CORE = Path(models.__file__).parents[1]
SHOWN = [*sorted((CORE / "models").glob("*.py")), CORE / "degrade.py", CORE / "training" / "losses.py"]


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: path.name)
def test_what_the_book_shows_keeps_to_79_columns(path: Path) -> None:
    assert max(map(len, path.read_text().splitlines())) <= 79
