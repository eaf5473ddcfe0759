"""The door to training: `train` carries out one run."""

from hsisr_core.training import train
