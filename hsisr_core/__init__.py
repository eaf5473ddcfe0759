"""hsisr: an executable reproduction of SSRNet (Wang, Li, Li; hyperspectral image super-resolution).

`import hsisr_core as hs` offers the names of `_HOMES`, such as `hs.read_scene` and `hs.train`, each imported when it is
first asked for. It lets OpenMP's threads sleep while they wait for work (OMP_WAIT_POLICY, unless it is set): else they
keep a busy machine's cores from those that have work. PyTorch reads that when it is loaded.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hsisr_core.errors import describe_missing

if TYPE_CHECKING:
    from hsisr_core.data import Dataset, read_scene
    from hsisr_core.explorer import SpectralExplorer
    from hsisr_core.metrics import score
    from hsisr_core.models import SSRNet
    from hsisr_core.predict import super_resolve, super_resolve_array
    from hsisr_core.pretrained import load_pretrained
    from hsisr_core.runs import RunConfig
    from hsisr_core.training import train

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.2.0"

_HOMES = {
    "Dataset": "data", "RunConfig": "runs", "SSRNet": "models", "SpectralExplorer": "explorer",
    "load_pretrained": "pretrained", "read_scene": "scenes", "score": "metrics", "super_resolve": "predict",
    "super_resolve_array": "predict", "train": "training",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hsisr_core' has no attribute {name!r}")
    try:
        return getattr(import_module(f"hsisr_core.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        raise describe_missing(error) from error


def __dir__() -> list[str]:
    return [*_HOMES, "__version__"]
