"""Checkpoints come back bit for bit, a damaged one costs only the steps since the one before; the curve goes on."""

from __future__ import annotations

import errno
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hsisr_core.errors import HsisrError
from hsisr_core.models import SSRNet
from hsisr_core.training import checkpoint
from hsisr_core.training.checkpoint import History, load_latest, save_checkpoint, write_tensors


def training(seed: int) -> tuple[SSRNet, torch.optim.Adam]:
    torch.manual_seed(seed)
    model = SSRNet(2, features=4, modules=1, units=1)
    model.set_mean(torch.rand(3))
    return model, torch.optim.Adam(model.parameters(), lr=1e-3)


def step(model: SSRNet, optimizer: torch.optim.Adam) -> None:
    model(torch.ones(1, 3, 6, 6)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def weights(model: SSRNet) -> list[torch.Tensor]:
    return [value.clone() for value in model.state_dict().values()]


def test_a_restored_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    model, optimizer = training(0)
    step(model, optimizer)
    save_checkpoint(tmp_path, model, optimizer, {"step": 1, "seconds": 2.5})
    other, other_optimizer = training(7)
    assert load_latest(tmp_path, other, other_optimizer, 9) == {"step": 1, "seconds": 2.5}
    for pair in ((model, optimizer), (other, other_optimizer)):
        step(*pair)
    assert all(torch.equal(a, b) for a, b in zip(weights(model), weights(other), strict=True))


def damage_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 255
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


def foreign(path: Path) -> None:
    path.write_bytes(b"not a checkpoint")


@pytest.mark.parametrize("harm", [damage_a_byte, cut, foreign])
def test_a_damaged_checkpoint_falls_back_and_says_so(tmp_path: Path, harm: Any) -> None:
    model, optimizer = training(0)
    for number in (1, 2):
        step(model, optimizer)
        save_checkpoint(tmp_path, model, optimizer, {"step": number})
    harm(tmp_path / "step-00000002.safetensors")
    with pytest.warns(UserWarning, match=r"step-00000002.safetensors is damaged"):
        assert load_latest(tmp_path, *training(7), 9) == {"step": 1}


def test_a_checkpoint_of_another_network_is_left_out(tmp_path: Path) -> None:
    model, optimizer = training(0)
    step(model, optimizer)
    save_checkpoint(tmp_path, model, optimizer, {"step": 1})
    larger = SSRNet(2, features=5, modules=1, units=1)
    before = weights(larger)
    with pytest.warns(UserWarning, match="damaged"):
        assert load_latest(tmp_path, larger, torch.optim.Adam(larger.parameters()), 9) is None
    assert all(torch.equal(a, b) for a, b in zip(weights(larger), before, strict=True)), "nor a part of it"


@pytest.mark.slow
def test_every_flipped_bit_is_refused(tmp_path: Path) -> None:
    """All bits of the state; of names, types, shapes and values a part."""
    model, optimizer = training(0)
    step(model, optimizer)
    save_checkpoint(tmp_path, model, optimizer, {"step": 1, "seconds": 2.5, "loss_sum": 0.25})
    (path,) = tmp_path.iterdir()
    good = path.read_bytes()
    first, start = good.index(b'"state"'), 8 + int.from_bytes(good[:8], "little")
    bits = [
        *range(8 * first, 8 * (first + 80)),
        *range(0, 8 * start, 41),
        *range(8 * start, 8 * len(good), 997),
    ]
    target = training(7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for bit in bits:
            content = bytearray(good)
            content[bit // 8] ^= 1 << bit % 8
            path.write_bytes(content)
            assert load_latest(tmp_path, *target, 9) is None, bit


@pytest.mark.parametrize(("name", "steps"), [("step-00000002", 9), ("step-1", 9), ("step-00000001", 1)])
def test_the_step_is_that_of_the_name_and_of_this_training(tmp_path: Path, name: str, steps: int) -> None:
    model, optimizer = training(0)
    step(model, optimizer)
    save_checkpoint(tmp_path, model, optimizer, {"step": 1})
    (tmp_path / "step-00000001.safetensors").rename(tmp_path / f"{name}.safetensors")
    with pytest.warns(UserWarning, match="its step is not that of its name, or beyond the training"):
        assert load_latest(tmp_path, *training(7), steps) is None


def test_a_checkpoint_of_version_0_1_0_is_resumed(tmp_path: Path) -> None:
    """Its checksum covers the tensors only."""
    model, optimizer = training(0)
    step(model, optimizer)
    save_checkpoint(tmp_path, model, optimizer, {"step": 1})
    path = tmp_path / "step-00000001.safetensors"
    tensors = load_file(path)
    write_tensors(path, tensors, {"state": '{"step": 1}', "sha256": checkpoint._checksum(tensors, None)})
    assert load_latest(tmp_path, *training(7), 9) == {"step": 1}


def test_two_are_kept(tmp_path: Path) -> None:
    model, optimizer = training(0)
    for number in (1, 2, 3):
        step(model, optimizer)
        save_checkpoint(tmp_path, model, optimizer, {"step": number})
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "step-00000002.safetensors",
        "step-00000003.safetensors",
    ]


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_half(path: Path, content: bytes) -> None:
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(HsisrError, match="No space left"):
        write_tensors(tmp_path / "weights.safetensors", training(0)[0].state_dict())
    assert list(tmp_path.iterdir()) == []


def test_a_history_goes_on_after_the_checkpoint(tmp_path: Path) -> None:
    """Rows after it, and a line that was cut while it was written, are dropped."""
    path = tmp_path / "history.csv"
    history = History(path, 0)
    for number in (0, 10, 20):
        history.add({"step": number, "loss": 0.5, "learning_rate": 1e-4, "seconds": 1.25})
    with path.open("a") as file:
        file.write("30,0.")
    History(path, 10).add({"step": 20, "psnr": 40.123456789})
    assert path.read_text().splitlines() == [
        "step,loss,learning_rate,seconds,psnr,ssim,sam",
        "0,0.5,0.0001,1.25,,,",
        "10,0.5,0.0001,1.25,,,",
        "20,,,,40.123457,,",
    ]
