"""How long the demo run takes until it is a fixed gain above bicubic interpolation."""

from __future__ import annotations

import tempfile
from typing import Any

from hsisr_core.runs import RunConfig
from hsisr_core.training import train

__all__ = ["GAIN", "seconds_to_quality"]

GAIN = 0.5  # dB above bicubic


def seconds_to_quality(init: str, quick: bool) -> dict[str, Any]:
    """Train the demo preset with the starting weights `init`.

    Returns
    -------
    dict
        seconds: of training until the gain is there, scorings included, or None; total: of the whole training;
        best: the largest gain, in dB; steps.
    """
    steps, every = (20, 10) if quick else (2000, 50)
    config = RunConfig.from_preset("demo", init=init, steps=steps, evaluate_every=every, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        run = train(config, folder, progress=False)
        bicubic = run.metrics["mean"]["bicubic"]["psnr"]
        history = run.history()
    scored = history[history["psnr"].notna()]
    gains = scored["psnr"] - bicubic
    reached = scored["seconds"][gains >= (0 if quick else GAIN)]
    return {
        "seconds": float(reached.iloc[0]) if len(reached) else None,
        "total": float(history["seconds"].iloc[-1]),
        "best": float(gains.max()),
        "steps": steps,
    }
