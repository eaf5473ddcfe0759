"""Train one network: batches, losses, checkpoints, scores, costs."""

from hsisr_core.training.loop import train

__all__ = ["train"]
