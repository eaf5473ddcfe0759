"""What to ask a cluster for, so that it carries out a run: an estimate with a margin."""

from __future__ import annotations

import math

from hsisr_core.runs import PlannedRun
from hsisr_core.training.estimate import (
    PASSES,
    PEAK_SHARE,
    data_bytes,
    gpu_rate,
    lr_sizes,
    patch_multiply_adds,
    scoring_bytes,
    scoring_multiply_adds,
    train_bytes,
)

__all__ = ["START_MINUTES", "needs"]

# That two cores sustain; 0.03 was measured with the demo preset.
CPU_TFLOPS = 0.02
# Python and PyTorch.
PROCESS_MB = 1500
START_MINUTES = 10
# A job that is stopped at its limit loses the steps since its last checkpoint.
MARGIN = 2.0


def needs(run: PlannedRun, gpu: str | None = None) -> dict[str, int]:
    """Resources of a run's job: `gpu` (0 or 1), `mem_mb` of the host, `runtime` in minutes.

    Nothing is measured, because every job asks again on its own node and must get the same answer.

    Raises
    ------
    HsisrError
        `gpu` is not a name in `hsisr_core.training.estimate.GPUS`.
    """
    config, dataset = run.config, run.dataset
    scorings = 1 + (run.steps // config.evaluate_every if config.evaluate_every else 0)
    training = run.steps * PASSES * config.batch * patch_multiply_adds(config, dataset.bands)
    flop = 2 * (training + scorings * scoring_multiply_adds(config, dataset))
    rate = PEAK_SHARE * gpu_rate(gpu)[1] if gpu else CPU_TFLOPS
    scoring = max(scoring_bytes(config, dataset.bands, size) for size in lr_sizes(config, dataset))
    tensors = 0 if gpu else max(train_bytes(config, dataset.bands), scoring)
    return {
        "gpu": int(gpu is not None),
        "mem_mb": PROCESS_MB + math.ceil(MARGIN * (tensors + data_bytes(config, dataset)) / 1e6),
        "runtime": START_MINUTES + math.ceil(MARGIN * flop / (rate * 1e12) / 60),
    }
