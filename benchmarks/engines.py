"""What people run a network with: PyTorch as it is or compiled, ONNX Runtime, OpenVINO. All get the same weights."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch

from benchmarks.plain import fold
from hsisr_core.models import SSRNet

__all__ = ["ENGINES", "make_engine", "missing"]

ENGINES = ("torch.compile", "ONNX Runtime", "OpenVINO")
PACKAGES = {"ONNX Runtime": "onnxruntime", "OpenVINO": "openvino"}


def make_engine(name: str, model: SSRNet, onnx: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function from an LR to an SR cube; `name` is "plain" or one of `ENGINES`, with ", bf16" after it if wanted."""
    code, _, bf16 = name.partition(", ")
    mean = model.mean.numpy()
    if code == "ONNX Runtime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(onnx, options)
        return lambda lr: session.run(None, {"lr": lr[None], "mean": mean})[0][0]
    if code == "OpenVINO":
        import openvino

        hints = {"INFERENCE_PRECISION_HINT": bf16 or "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        compiled = openvino.Core().compile_model(onnx, "CPU", hints)
        return lambda lr: compiled({"lr": lr[None], "mean": mean})["sr"][0]
    network = fold(model)
    called = torch.compile(network, dynamic=True) if code == "torch.compile" else network

    def run(lr: np.ndarray) -> np.ndarray:
        with torch.inference_mode(), torch.autocast("cpu", enabled=bool(bf16)):
            return called(torch.from_numpy(lr)[None])[0].float().numpy()

    return run


def missing(name: str) -> str:
    """Why an engine cannot be measured here, in words; empty if it can."""
    code, _, bf16 = name.partition(", ")
    package = PACKAGES.get(code, "torch")
    if bf16 and not has_bf16():
        return "this processor has neither AVX512-BF16 nor AMX"
    if code == "torch.compile" and not (
        shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    ):
        return "it needs a C++ compiler"
    return "" if find_spec(package) else f"pip install {package}"


def has_bf16() -> bool:
    found = torch.cpu.get_capabilities()
    return any(found.get(name) for name in ("avx512_bf16", "amx_bf16"))
