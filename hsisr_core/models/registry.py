"""Every network by its name: the book's, and networks of your own.

A network of your own is registered in a notebook (`register`), or is a class
in a file (`load_network`), which is imported only if its user names it, on the
command line or in HSISR_NETWORKS; never because a preset or a run does.
"""

import hashlib
import inspect
import linecache
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, create_model
from torch import Tensor, nn

from hsisr_core.errors import HsisrError
from hsisr_core.models.base import SuperResolver
from hsisr_core.models.bicubic import Bicubic
from hsisr_core.models.edsr import EDSR
from hsisr_core.models.ercsr import ERCSR
from hsisr_core.models.fcnn3d import FCNN3D
from hsisr_core.models.gdrrn import GDRRN
from hsisr_core.models.mcnet import MCNet
from hsisr_core.models.sfcsr import SFCSR
from hsisr_core.models.ssrchain import SSRChain
from hsisr_core.models.ssrnet import SSRNet

# in the order of Table V, then of their papers, then ours
MODELS: dict[str, type[SuperResolver]] = {
    "bicubic": Bicubic,
    "gdrrn": GDRRN,
    "3d-fcnn": FCNN3D,
    "edsr": EDSR,
    "ssrnet": SSRNet,
    "mcnet": MCNet,
    "sfcsr": SFCSR,
    "ercsr": ERCSR,
    "ssrchain": SSRChain,
}
# files of networks that the user named, for worker processes too
VARIABLE = "HSISR_NETWORKS"
# the halo of a network that does not say how far its SR reaches
WHOLE_SCENE = 1 << 20
Kind = TypeVar("Kind", bound=type)


@dataclass(frozen=True)
class Network:
    """A network of one's own: its class, and the settings it adds to a run."""

    name: str
    kind: type[nn.Module]
    # SHA-256 of the file, or of the notebook's cell, that it is written in
    source: str
    settings: type[BaseModel]


_own: dict[str, Network] = {}


def register(name: str) -> Callable[[Kind], Kind]:
    """Give a network of your own a name, in this process.

    It decorates a `torch.nn.Module` that maps LR (batch, bands, h, w) without
    its mean to SR (batch, bands, r*h, r*w). Its constructor takes ``scale``,
    ``bands`` if it needs them, and its options, each with a default; they are
    settings of a run, and `name` is its ``method``. The whole text of the cell
    or file enters the run's hash; running the cell again replaces the class.
    Its attribute ``halo``, if it has one, says how many LR pixels around one
    can change its SR; without it scenes are never cut into tiles. HsisrError
    if the name is taken, or the class is not such a module.
    """

    def add(kind: Kind) -> Kind:
        code = getattr(getattr(kind, "forward", None), "__code__", None)
        lines = linecache.getlines(code.co_filename) if code else []
        _add(name, kind, "".join(lines))
        return kind

    return add


def load_network(where: str) -> str:
    """Import the class in ``path/to/mine.py:MyNet`` (see `register`), or raise
    HsisrError; returns its name for ``method``, ``mine.py:MyNet``."""
    path, _, kind = where.rpartition(":")
    file = Path(path).expanduser().resolve()
    if file.suffix != ".py":
        raise HsisrError(f"{where}: expected FILE.py:CLASS.")
    if not file.is_file():
        raise HsisrError(f"{where}: there is no file {file}.")
    text = file.read_text(encoding="utf-8")
    module = ModuleType(f"{__name__}.{file.stem}")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module
    try:
        exec(compile(text, file, "exec"), vars(module))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise HsisrError(f"{file} cannot be imported: {reason}.") from error
    if not hasattr(module, kind):
        raise HsisrError(f"{file} has no class {kind!r}.")
    name = f"{file.name}:{kind}"
    _add(name, getattr(module, kind), text)
    named = filter(None, os.environ.get(VARIABLE, "").split(";"))
    os.environ[VARIABLE] = ";".join({*named, f"{file}:{kind}"})
    return name


def _add(name: str, kind: Any, text: str) -> None:
    """Check a network of one's own, and add it."""
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        called = getattr(kind, "__name__", repr(kind))
        raise HsisrError(f"{name}: {called} is not a torch.nn.Module class.")
    if not re.fullmatch("[A-Za-z0-9_.:-]+", name):
        raise HsisrError(f"{name!r} is not a name: use letters and digits.")
    before = _own.get(name)
    if name in MODELS or (before and before.kind.__name__ != kind.__name__):
        raise HsisrError(f"The name {name!r} is taken: choose another one.")
    if not text:
        raise HsisrError(
            f"{name}: the source of {kind.__name__}, whose hash names its "
            "runs, is not found: define it in a file or a notebook's cell."
        )
    options = dict(inspect.signature(kind, eval_str=True).parameters)
    scale, _ = (options.pop(key, None) for key in ("scale", "bands"))
    missing = inspect.Parameter.empty
    if not scale or any(p.default is missing for p in options.values()):
        raise HsisrError(
            f"{name}: its constructor takes `scale`, `bands` if it needs "
            "them, and options that all have defaults; no *args, **kwargs."
        )
    fields: dict[str, Any] = {}
    for key, p in options.items():
        unsaid = p.annotation is missing
        fields[key] = (type(p.default) if unsaid else p.annotation, p.default)
    rules = ConfigDict(strict=True, extra="forbid", protected_namespaces=())
    settings = create_model(kind.__name__, __config__=rules, **fields)
    digest = hashlib.sha256(text.strip().encode()).hexdigest()
    _own[name] = Network(name, kind, digest, settings)


def find_network(name: str) -> Network | None:
    """A network of one's own, or None; HsisrError if its file is not named."""
    name = name.rpartition("/")[2]
    if ".py:" in name and name not in _own:
        for where in filter(None, os.environ.get(VARIABLE, "").split(";")):
            load_network(where)
        if name not in _own:
            raise HsisrError(
                f"{name} is a network in a file, which is code: it is "
                f"imported only if you name it. Run `hsisr --network "
                f"PATH/{name} ...`, or set {VARIABLE}=PATH/{name}."
            )
    return _own.get(name)


def check_source(name: str, source: str | None) -> None:
    """Raise HsisrError unless the network is the one that was trained."""
    option_names(name)
    network = find_network(name)
    if source != (network.source if network else None):
        raise HsisrError(
            f"{name} has changed since it was trained: put the text of then "
            "back, or train again."
        )


def option_names(name: str) -> tuple[str, ...]:
    """The keywords of a network but for `scale` and `bands`."""
    if own := find_network(name):
        return tuple(own.settings.model_fields)
    if name not in MODELS:
        names = ", ".join([*sorted([*MODELS, *_own]), "or FILE.py:CLASS"])
        raise HsisrError(f"method {name!r:.60} is unknown: choose {names}.")
    keywords = inspect.signature(MODELS[name]).parameters
    return tuple(key for key in keywords if key not in ("scale", "bands"))


def build_model(
    name: str, scale: int, bands: int, **options: Any
) -> SuperResolver:
    """Make a network by name.

    Parameters
    ----------
    name : str
        A key of `MODELS`, or a network of your own (`register`).
    scale : {2, 3, 4, 8}
        Factor r.
    bands : int
        Of the cubes; only GDRRN and EDSR, whose channels they are, need it.
    **options
        The network's own keywords, for example ``features=16``.

    Raises
    ------
    HsisrError
        Unknown name or option, or a value the network refuses.
    """
    valid = option_names(name)
    if unknown := sorted(set(options) - set(valid)):
        raise HsisrError(
            f"{name} has no option {unknown[0]!r:.60}; it has: "
            f"{', '.join(valid) or 'none'}."
        )
    own = find_network(name)
    kind = own.kind if own else MODELS[name]
    if "bands" in inspect.signature(kind).parameters:
        options["bands"] = bands
    if own:
        return Own(own, scale, bands, options)
    return MODELS[name](scale=scale, **options)


class Own(SuperResolver):
    """A network of one's own, with what all have: the mean, and the halo
    (its attribute of that name, or the whole scene)."""

    def __init__(
        self, own: Network, scale: int, bands: int, options: dict[str, Any]
    ) -> None:
        super().__init__(scale, WHOLE_SCENE)
        self.name = own.name
        try:
            self.net = own.kind(scale=scale, **options)
            self.halo = getattr(self.net, "halo", self.halo)
            with torch.no_grad():
                self.eval()(torch.zeros(1, bands, 16, 16))
        except HsisrError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise HsisrError(
                f"{own.name} fails on {bands} bands of 16x16 pixels: {reason}"
            ) from error
        self.train()

    def super_resolve(self, lr: Tensor) -> Tensor:  # (batch, bands, h, w)
        sr = self.net(lr)
        *batch_bands, height, width = lr.shape
        shape = (*batch_bands, height * self.scale, width * self.scale)
        if sr.shape != shape:
            raise HsisrError(
                f"{self.name} makes {tuple(sr.shape)} of {tuple(lr.shape)}; "
                f"expected {shape}."
            )
        return sr
