"""On a CPU nothing of the GPU paths is on; no GPU was at hand to test them on."""

from __future__ import annotations

import pytest
import torch

from hsisr_core.training.gpu import allow_tf32, to_device

CPU = torch.device("cpu")


def test_nothing_is_changed_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("pinned memory on a CPU")

    before = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
    allow_tf32(CPU)
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before
    monkeypatch.setattr(torch.Tensor, "pin_memory", refuse)
    tensor = torch.zeros(3)
    assert to_device(tensor, CPU) is tensor


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_copies_to_a_gpu_arrive() -> None:
    tensor = torch.arange(6.0)
    assert torch.equal(to_device(tensor, torch.device("cuda")).cpu(), tensor)
