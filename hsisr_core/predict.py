"""The door to `super_resolve`."""

from hsisr_core.fast import super_resolve, super_resolve_tiles
