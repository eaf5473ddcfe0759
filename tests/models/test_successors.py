"""MCNet, SFCSR and ERCSR: parameters as their authors' code has them, and their figures written out as functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hsisr_core.errors import HsisrError
from hsisr_core.models import SuperResolver, build_model, count_parameters, multiply_adds

COUNTS = {
    "mcnet": (1_928_334, 2_038_926, 2_174_094),
    "sfcsr": (1_084_882, 1_269_842, 1_232_850),
    "ercsr": (1_348_742, 1_459_334, 1_594_502),
}


@pytest.mark.parametrize("method", COUNTS)
def test_parameters_to_the_digit(method: str) -> None:
    assert tuple(count_parameters(build_model(method, scale, 31)) for scale in (2, 3, 4)) == COUNTS[method]


def randomised(method: str, scale: int, bands: int) -> SuperResolver:
    """A small network whose lengths of weights and learned factors have something to get wrong."""
    torch.manual_seed(0)
    model = build_model(method, scale, bands, features=4).double().eval()
    model.set_mean(torch.linspace(0.2, 0.6, bands))
    model.mean = model.mean.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + torch.rand_like(parameter))
    return model


class Written:
    """Plain functions with the weights of a network."""

    def __init__(self, model: SuperResolver) -> None:
        self.model, self.r = model, model.scale

    def conv(self, x: Tensor, name: str) -> Tensor:
        layer: Any = self.model.get_submodule(name)
        padding = [side // 2 for side in layer.weight.shape[2:]]
        return (F.conv3d if x.ndim == 5 else F.conv2d)(x, layer.weight, layer.bias, padding=padding)

    def both(self, x: Tensor, name: str) -> Tensor:
        """Two convolutions without ReLU."""
        return self.conv(self.conv(x, f"{name}.0"), f"{name}.1")

    def factors(self, name: str) -> Tensor:
        return self.model.get_parameter(name)

    def enlarge(self, x: Tensor) -> Tensor:
        layer: Any = self.model.get_submodule("upsample")
        return F.conv_transpose3d(x, layer.weight, layer.bias, stride=(1, self.r, self.r), padding=1)

    def mcnet(self, lr: Tensor) -> Tensor:
        first = x = self.conv((lr - self.model.mean)[:, None], "head")
        for m in range(4):
            entered, results = x, []
            for u in range(3):
                block = self.conv(x, f"body.{m}.units.{u}.0").relu()
                x = self.conv(block, f"body.{m}.units.{u}.2").relu() + x
                flat = self.conv(x, f"body.{m}.branches.{u}.0").relu()
                results.append(
                    self.conv(flat, f"body.{m}.branches.{u}.2") * self.factors(f"body.{m}.weights")[u]
                )
            x = self.conv(torch.cat(results, 1), f"body.{m}.fusion").relu() + entered
            x = self.conv(self.conv(x, f"body.{m}.block.0").relu(), f"body.{m}.block.2").relu() + first
        return self.conv(self.enlarge(x), "tail")[:, 0] + self.model.mean

    def ercsr(self, lr: Tensor) -> Tensor:
        lr = lr - self.model.mean
        first = x = self.both(lr[:, None], "head")
        kept = []
        for m in range(4):
            spatial = self.conv(x, f"body.{m}.spatial").relu()
            t = y = self.conv(spatial, f"body.{m}.rows") + self.conv(spatial, f"body.{m}.columns")
            for u in range(2):
                name = f"body.{m}.units.{u}"
                first_2d, second_2d = self.flat(f"{name}.first"), self.flat(f"{name}.second")
                y = torch.stack([second_2d(first_2d(band).relu()) for band in y.unbind(2)], 2) + y
            x = y + t + x
            kept.append(x * self.factors("weights")[m])
        x = self.both(self.conv(torch.cat(kept, 1), "fusion"), "body_end") + first
        nearest = lr.repeat_interleave(self.r, 2).repeat_interleave(self.r, 3)
        return self.both(self.enlarge(x), "tail")[:, 0] + nearest + self.model.mean

    def flat(self, name: str) -> Callable[[Tensor], Tensor]:
        """The 2-D convolution of one band."""
        layer: Any = self.model.get_submodule(name)
        return lambda band: F.conv2d(band, layer.weight[:, :, 0], layer.bias, padding=1)

    def sfcsr(self, lr: Tensor) -> Tensor:
        bands, handed, sr = lr.shape[1], None, []
        for i in range(bands):
            near = (
                [0, 1, 2]
                if i == 0
                else [bands - 3, bands - 2, bands - 1]
                if i == bands - 1
                else [i - 1, i, i + 1]
            )
            x = x0 = self.both(lr[:, None, near], "head_3d")
            y = y0 = self.conv(lr[:, [i]], "head")
            xs, ys = [], []
            for m in range(5):
                name = f"body.{m}"
                out = self.conv(x, f"{name}.first.spatial") + self.conv(x, f"{name}.first.spectral")
                out = self.conv(out.relu(), f"{name}.second.spatial") + self.conv(
                    out.relu(), f"{name}.second.spectral"
                )
                x = out + x + x0
                y = self.conv(y, f"{name}.flat") + y
                y = self.conv(torch.cat([x[:, :, 0], x[:, :, 1], x[:, :, 2], y], 1), f"{name}.fusion") + y0
                xs.append(x * self.factors("weights_3d")[m])
                ys.append(y * self.factors("weights_2d")[m])
            x = self.both(self.conv(torch.cat(xs, 1), "end_3d.0"), "end_3d.1")
            y = self.both(torch.cat(ys, 1), "end_2d")
            w = self.factors("fusion.weights")
            x = self.conv(
                torch.cat([x[:, :, 0] * w[0], x[:, :, 1] * w[1], x[:, :, 2] * w[2], y * w[3]], 1),
                "fusion.reduce",
            )
            x = self.conv(x, "fusion.end")
            if handed is not None:
                w = self.factors("context.weights")
                x = self.conv(torch.cat([x * w[0], handed * w[1]], 1), "context.reduce")
                x = self.conv(x, "context.end")
            handed = x
            x = x + y0
            for k, factor in enumerate({4: (2, 2), 8: (2, 2, 2)}.get(self.r, (self.r,))):
                x = F.pixel_shuffle(self.conv(x, f"enlarge.{k}"), factor)
            sr.append(self.conv(x, "tail"))
        return torch.cat(sr, 1)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("method", COUNTS)
def test_wiring_follows_the_figure(method: str, scale: int) -> None:
    model = randomised(method, scale, 5)
    lr = torch.rand(2, 5, 6, 5, dtype=torch.float64)
    torch.testing.assert_close(model(lr), getattr(Written(model), method)(lr), rtol=1e-9, atol=1e-9)


def test_no_gradient_crosses_from_a_band_of_sfcsr_to_the_one_before_it() -> None:
    """The state handed on counts in SR of the last band, but the first band, not a neighbour, gets no gradient."""
    model = randomised("sfcsr", 2, 6)
    lr = torch.rand(1, 6, 5, 5, dtype=torch.float64, requires_grad=True)
    sr = model(lr)
    sr[:, 5].sum().backward()
    assert lr.grad is not None
    assert (lr.grad.abs().amax(dim=(0, 2, 3)) > 0).tolist() == [False, False, False, True, True, True]
    moved = lr.detach().clone()
    moved[:, 0] += 0.1
    assert (model(moved) - sr)[:, 5].abs().max() > 1e-9


def test_sfcsr_needs_three_bands() -> None:
    with pytest.raises(HsisrError, match="at least 3 bands and the cube has 2"):
        build_model("sfcsr", 2, 2, features=4)(torch.rand(1, 2, 8, 8))


def test_multiply_adds_by_hand() -> None:
    """3-D convolutions cost nine or three taps per voxel; each band of SFCSR is computed from three."""
    f, low, high = 64, 8 * 8, 16 * 16

    def total(method: str) -> int:
        return multiply_adds(build_model(method, 2, 5), 5, 8, 8)

    units = 4 * (4 * 12 * f * f + 6 * 9 * f * f + 3 * f * f)
    assert total("mcnet") == 5 * (low * (27 * f + units + 48 * f * f) + high * 27 * f)
    units = 4 * 7 * 9 * f * f
    ends = 9 * f + 3 * f * f + 4 * f * f + 12 * f * f
    assert total("ercsr") == 5 * (low * (ends + units + 48 * f * f) + high * (9 * f * f + 3 * f))
    three = 3 * (9 * f + 3 * f * f + 5 * 24 * f * f + (5 + 12) * f * f)
    one = 9 * f + 5 * (9 + 4) * f * f + (5 + 9 + 4 + 1) * f * f + 9 * 4 * f * f
    assert total("sfcsr") == low * (5 * (three + one) + 4 * 3 * f * f) + 5 * high * 9 * f
