"""The same numbers, sooner: how a network is trained and run; networks know nothing of it."""

from hsisr_core.fast.doors import Trainer, bytes_needed, check_precision, has_engine, runner
from hsisr_core.fast.scene import reuse_memory, super_resolve, super_resolve_tiles
from hsisr_core.fast.threads import one_thread
