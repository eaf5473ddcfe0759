"""Train one network: batches, losses, checkpoints, scores, costs."""

from hsisr_core.training.checkpoint import write_tensors
from hsisr_core.training.cost import (
    GPUS,
    PEAK_SHARE,
    Estimate,
    estimate_runs,
    gpu_rate,
    measure_costs,
    needs,
    training_flop,
)
from hsisr_core.training.devices import leave_group, make_accelerator
from hsisr_core.training.evaluate import (
    TEST_SIDE,
    describe_protocol,
    evaluate,
    mean_scores,
    reduce_measured,
    reduced_pairs,
    rescore,
    super_resolve_clipped,
    tile_for,
)
from hsisr_core.training.loop import build_sampler, git_commit, train, train_step, versions
from hsisr_core.training.losses import LOSSES
from hsisr_core.training.patches import PatchSampler
