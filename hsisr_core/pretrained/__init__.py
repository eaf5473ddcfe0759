"""Trained weights that come with the package, and any others: `load_pretrained` opens them all."""

from hsisr_core.pretrained.load import Pretrained, load_pretrained, shipped

__all__ = ["Pretrained", "load_pretrained", "shipped"]
