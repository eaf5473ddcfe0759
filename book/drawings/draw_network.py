"""Draw SSRNet from its own layers: ``python book/drawings/draw_network.py`` writes book/_assets/network.svg.

Counts, kernels and widths are read from `hsisr_core.models.SSRNet`; only the places are written here.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from hsisr_core.models import SSRNet

HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 446" role="img">
<title>The layers of SSRNet, of its modules, residual units and blocks</title>
<style>
text { font: 12px sans-serif; fill: #222; text-anchor: middle; dominant-baseline: central; }
text.title { font-size: 13px; font-weight: bold; text-anchor: start; }
text.maths { font-size: 13px; font-style: italic; }
path { fill: none; stroke: #555; stroke-width: 1.4; }
path.arrow { marker-end: url(#tip); }
rect, circle { stroke: #555; stroke-width: 1.2; fill: #fff; }
.spatial { fill: #cfe2f7; } .spectral { fill: #fbdcb5; } .full { fill: #d9d2ee; } .relu { fill: #f6cfcf; }
.part { fill: #dcedd4; }
</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0L8 4L0 8z" style="fill: #555; stroke: none"/></marker></defs>"""


class Drawing:
    """Shapes from left to right; `x` is where the last one ends."""

    def __init__(self) -> None:
        self.shapes = [HEAD]
        self.x = 0.0

    def text(self, x: float, y: float, text: str, kind: str = "words") -> None:
        self.shapes.append(f'<text x="{x:g}" y="{y:g}" class="{kind}">{text}</text>')

    def path(self, *points: tuple[float, float], kind: str = "arrow") -> None:
        steps = " L".join(f"{x:g} {y:g}" for x, y in points)
        self.shapes.append(f'<path d="M{steps}" class="{kind}"/>')

    def tensor(self, x: float, y: float, letter: str, index: str) -> None:
        self.text(x, y, f'{letter}<tspan dy="4" font-size="9">{index}</tspan>', "maths")
        self.x = x + 20

    def box(self, y: float, width: float, kind: str, *lines: str) -> tuple[float, float]:
        """An arrow and a box; returns where the box begins and ends."""
        left = self.x + 22
        self.path((self.x, y), (left, y))
        place = f'x="{left:g}" y="{y - 20:g}" width="{width:g}" height="40" rx="4"'
        self.shapes.append(f'<rect {place} class="{kind}"/>')
        for line, text in enumerate(lines):
            self.text(left + width / 2, y + 14 * (line - (len(lines) - 1) / 2), text)
        self.x = left + width
        return left, self.x

    def convolution(self, y: float, width: float, layer: nn.Conv3d, below: str = "") -> tuple[float, float]:
        bands, height, _ = layer.kernel_size
        name = "full" if bands == height else "spatial" if bands == 1 else "spectral"
        below = below or (name if name != "full" else f"{layer.in_channels} → {layer.out_channels}")
        return self.box(y, width, name, "×".join(map(str, layer.kernel_size)), below)

    def plus(self, y: float) -> float:
        """An arrow and the sum of what arrives; returns its middle."""
        x = self.x + 26
        self.path((self.x, y), (x - 8, y))
        self.shapes.append(f'<circle cx="{x:g}" cy="{y:g}" r="8"/>')
        self.path((x - 5, y), (x + 5, y), kind="sign")
        self.path((x, y - 5), (x, y + 5), kind="sign")
        self.x = x + 8
        return x

    def end(self, y: float, letter: str = "", index: str = "") -> None:
        self.path((self.x, y), (self.x + 20, y))
        self.tensor(self.x + 38, y, letter, index)

    def brace(self, left: float, right: float, y: float, name: str) -> None:
        self.path((left, y), (left, y + 6), (right, y + 6), (right, y), kind="brace")
        self.text((left + right) / 2, y + 18, name)


def draw() -> str:
    """The SVG: the network, a module, a unit, a block."""
    net, d = SSRNet(scale=2), Drawing()
    module = net.body[0]

    d.text(4, 14, "The network", "title")
    y, top, modules, sums = 92.0, 50.0, [], []
    d.tensor(16, y, "I", "LR")
    head = d.convolution(y, 60, net.head)
    turn = d.x + 8
    for number in range(1, len(net.body) + 1):
        modules.append(d.box(y, 58, "part", "SSRM", str(number)))
        sums.append(d.plus(y))
        d.path((turn, y), (turn, top), (sums[-1], top), (sums[-1], y - 8))
    d.tensor((turn + sums[-1]) / 2, top - 12, "F", "0")
    d.x = sums[-1] + 8
    bands, side, _ = net.upsample.kernel_size
    kernel = f"{bands}×({side - net.scale}+r)×({side - net.scale}+r)"
    up, _ = d.box(y, 104, "full", kernel, "transposed")
    _, tail = d.convolution(y, 60, net.tail)
    d.end(y, "I", "SR")
    d.brace(*head, y + 28, "IFE")
    d.brace(modules[0][0], sums[-1] + 8, y + 28, f"D = {len(net.body)} modules, GRL")
    d.brace(up, tail, y + 28, "IR")

    d.text(4, 174, "A module (SSRM)", "title")
    y, top, taps = 248.0, 206.0, []
    d.tensor(18, y, "F", "d−1")
    turn = d.x + 8
    for number in range(1, len(module.units) + 1):
        d.box(y, 70, "part", "residual", f"unit {number}")
        taps.append(d.x + 9)
    joined, _ = d.box(y, 74, "", "concat", str(module.fusion.in_channels))
    for n, tap in enumerate(taps[:-1]):
        above, into = top + 10 * n, joined + 24 + 14 * (len(taps) - 2 - n)
        d.path((tap, y), (tap, above), (into, above), (into, y - 20))
    _, fused = d.convolution(y, 74, module.fusion, "ReLU")
    middle = d.plus(y)
    d.path((turn, y), (turn, y + 60), (middle, y + 60), (middle, y + 8))
    d.box(y, 60, "part", "block")
    d.end(y, "F", "d")
    d.brace(joined, fused, y + 28, "LFF")

    d.text(4, 346, "A residual unit", "title")
    y = 396.0
    d.tensor(22, y, "F", "d,n−1")
    turn = d.x + 8
    for _ in module.units[0].blocks:
        d.box(y, 60, "part", "block")
    middle = d.plus(y)
    d.path((turn, y), (turn, y + 38), (middle, y + 38), (middle, y + 8))
    d.end(y, "F", "d,n")

    d.text(376, 346, "A block", "title")
    d.x = 376
    for layer in module.block:
        if isinstance(layer, nn.ReLU):
            d.box(y, 60, "relu", "ReLU")
        else:
            d.convolution(y, 70, layer)
    d.end(y)
    return "\n".join([*d.shapes, "</svg>\n"])


if __name__ == "__main__":
    (Path(__file__).parents[1] / "_assets" / "network.svg").write_text(draw(), encoding="utf-8")
