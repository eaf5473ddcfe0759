"""On a CPU nothing of the GPU paths is on; no GPU was at hand to test them on."""

from __future__ import annotations

import pytest
import torch

from hsisr_core.gpu import allow_tf32, make_adam, to_device

CPU = torch.device("cpu")


def test_nothing_is_changed_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("pinned memory on a CPU")

    before = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
    allow_tf32(CPU)
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before
    assert not make_adam([torch.nn.Parameter(torch.zeros(2))], 1e-3, CPU).param_groups[0]["fused"]
    monkeypatch.setattr(torch.Tensor, "pin_memory", refuse)
    tensor = torch.zeros(3)
    assert to_device(tensor, CPU) is tensor


def test_a_gpu_gets_the_fused_optimiser() -> None:
    optimizer = make_adam([torch.nn.Parameter(torch.zeros(2))], 1e-3, torch.device("cuda"))
    assert optimizer.param_groups[0]["fused"] is True
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_copies_to_a_gpu_arrive() -> None:
    tensor = torch.arange(6.0)
    assert torch.equal(to_device(tensor, torch.device("cuda")).cpu(), tensor)
