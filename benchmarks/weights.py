"""Scores of all shipped weights on the same scenes, for chapter "A cube of your own": ``python -m benchmarks.weights``.

python -m benchmarks.weights path/to/stuffed_toys_ms path/to/UPavia_Subset.mat --out book/results/weights.json

None of them was trained on these scenes. A scene is cropped to a multiple of the scale, reduced, super-resolved
and scored as `hsisr upscale` does it: with the cube's own mean where its bands are not those of the training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hsisr_core.base import run_command, write_json
from hsisr_core.data import read_scene
from hsisr_core.degrade import make_pair
from hsisr_core.runs import shipped
from hsisr_core.training import evaluate
from hsisr_core.upscale import adapt_network, load_pretrained


def main(
    scenes: Annotated[list[str], typer.Argument(help="Scenes that no shipped weights were trained on.")],
    out: Annotated[Path, typer.Option(help="The .json file.")],
) -> None:
    """Score all shipped weights, and bicubic interpolation, on each of `scenes`."""
    rows: list[dict[str, Any]] = []
    for path in scenes:
        scene = read_scene(path)
        for scale in (2, 3, 4):
            lr, hr = make_pair(scene.cube, scale)
            names = [entry["name"] for entry in shipped() if entry["scale"] == scale]
            for name in names:
                network, mean = adapt_network(
                    load_pretrained(name), lr.mean(axis=(1, 2)).astype("float32"), scene.wavelengths
                )
                scores = evaluate(network, {scene.name: (lr, hr)}, name, bicubic=name == names[0])
                rows += [row | {"scale": scale, "mean": mean} for row in scores]
                print(rows[-1])
    write_json(out, {"rows": rows})


if __name__ == "__main__":
    run_command(main)
