"""ERCSR up to its tail, over the layers of the network."""

from functools import partial, reduce
from typing import Any

from hsisr_core.fast.ways import Way, blocks, outputs
from hsisr_core.models import ERCSR


def ercsr_body(way: Way, net: ERCSR, lr: Any) -> Any:
    """What the tail reads."""
    x, first = way.fork(blocks(way, lr, None, net.head), 2)
    fused = way.fuse(net.fusion, outputs(way, partial(_module, way), net.body, x), net.weights, False, None)
    return way.cut(blocks(way, fused, first, net.body_end))


def _module(way: Way, x: Any, module: Any) -> Any:
    x, own = way.fork(x, 2)
    spatial, again = way.fork(way.convolve(module.spatial, x, True), 2)
    mixed = way.convolve(module.rows, spatial, plus=way.convolve(module.columns, again))
    mixed, skipped = way.fork(way.stage(mixed), 2)
    x = reduce(partial(_unit, way), module.units, mixed)
    return way.cut(way.add(way.add(x, skipped), own))


def _unit(way: Way, x: Any, unit: Any) -> Any:
    x, plus = way.fork(x, 2)
    return way.stage(way.convolve(unit.second, way.convolve(unit.first, x, True), plus=plus))
