"""Peak memory and time of `hsisr upscale` on two scenes, one with sixteen times the pixels of the other.

Run by hand: ``python benchmarks/upscale_memory.py [MODEL | bicubic] [SIDE] [TILE]`` (defaults: bicubic, 2048, 0:
the tile that the command picks).
The scenes are made of noise on the fly, 31 bands of float32 (.npy), SIDE / 4 and SIDE pixels a side; each is
enlarged by 2 in a process of its own, whose peak (VmHWM, Python and PyTorch included) is printed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BANDS = 31
ENLARGE = """
import sys
from hsisr_core.runs import peak_bytes
from hsisr_core.upscale import upscale
upscale(sys.argv[1], 2, sys.argv[2], sys.argv[3], tile=int(sys.argv[4]) or None, check=False)
print(peak_bytes())
"""


def make_scene(path: Path, side: int) -> None:
    """Write a scene of noise, band by band."""
    scene = np.lib.format.open_memmap(path, "w+", np.float32, (BANDS, side, side))
    for band in range(BANDS):
        scene[band] = np.random.default_rng(band).random((side, side), np.float32)
    scene.flush()


def main(model: str = "bicubic", side: str = "2048", tile: str = "0") -> None:
    with tempfile.TemporaryDirectory() as folder:
        for pixels in (int(side) // 4, int(side)):
            scene, out = Path(folder, "scene.npy"), Path(folder, "large.npy")
            make_scene(scene, pixels)
            started = time.monotonic()
            command = [sys.executable, "-c", ENLARGE, str(scene), model, str(out), tile]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            sizes = (scene.stat().st_size / 1e6, out.stat().st_size / 1e6)
            print(
                f"{pixels} x {pixels} x {BANDS}, x2, {model}, tile {tile}: peak {int(done.stdout) / 1e6:.0f} MB, "
                f"{time.monotonic() - started:.0f} s; input {sizes[0]:.0f} MB, output {sizes[1]:.0f} MB"
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
