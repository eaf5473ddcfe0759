"""Trained weights that come with the package, and any others: `load_pretrained` opens them all."""

from hsisr_core.upscale import load_pretrained
