"""hsisr: an executable reproduction of SSRNet (Wang, Li, Li; hyperspectral image super-resolution).

Importing it lets OpenMP's threads sleep while they wait for work (OMP_WAIT_POLICY, unless it is set): else they keep
a busy machine's cores from those that have work. PyTorch reads that when it is loaded. Imported before, its own
operations wait as they did; the networks here hardly depend on it, since each thread computes large shares alone.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
