"""The door to training: `train` carries out one run."""

import sys

from hsisr_core.training import train

# `hs.train` is the function, also where this module was imported: it stands for the module and has itself as `train`
setattr(train, "train", train)  # noqa: B010 (mypy knows no attributes of functions)
sys.modules[__name__] = train  # type: ignore[assignment]
