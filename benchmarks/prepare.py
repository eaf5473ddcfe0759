"""Preparing a dataset against a plain scipy/Pillow/h5py loop over the same files: speed and peak memory.

    python -m benchmarks.prepare

It makes scenes of the true sizes in a temporary folder (about 1 GB): two of Harvard (v5 .mat, compressed,
double), two of Foster (v7.3), and four of CAVE (PNG). Each way runs in a process of its own, after one that only
reads the files, so that both find them in memory. The plain loop is what a script would do: load, divide, write
with h5py.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import scipy.io
from PIL import Image

SIZES = {"harvard": (1040, 1392, 31), "foster": (1024, 1344, 33), "cave": (512, 512, 31)}
KEYS = {"harvard": "ref", "foster": "hsi"}


def picture(rng: np.random.Generator, height: int, width: int, bands: int) -> np.ndarray:
    """Something smooth with noise, in the 4096 steps of a sensor: random numbers would compress like no photograph."""
    low = rng.random((height // 16 + 1, width // 16 + 1, bands), np.float32)
    smooth = low.repeat(16, 0).repeat(16, 1)[:height, :width]
    smooth += rng.random(smooth.shape, np.float32) * 0.01
    return np.rint(smooth * 3700).astype(np.float64) / 4095


def make(_: str, folder: Path, __: Path) -> None:
    """Write the scenes of the three datasets."""
    rng = np.random.default_rng(0)
    for dataset, count in (("harvard", 2), ("foster", 2), ("cave", 4)):
        height, width, bands = SIZES[dataset]
        for index in range(count):
            cube = picture(rng, height, width, bands)
            place = folder / dataset / f"scene{index}"
            place.parent.mkdir(exist_ok=True)
            if dataset == "harvard":
                label = np.ones((height, width), np.uint8)
                scipy.io.savemat(f"{place}.mat", {"ref": cube * 0.03, "lbl": label}, do_compression=True)
            elif dataset == "foster":
                with h5py.File(f"{place}.mat", "w", userblock_size=512) as file:
                    file.create_dataset(
                        "hsi", data=cube.T, chunks=True, compression="gzip", compression_opts=3
                    )
            else:
                place.mkdir()
                for band in range(bands):
                    counts = (cube[:, :, band] * 65535).astype(np.uint16)
                    Image.fromarray(counts).save(place / f"{place.name}_{band + 1:02d}.png")


def plain(dataset: str, folder: Path, out: Path) -> None:
    """The obvious loop, kept simple."""
    with h5py.File(out, "w") as file:
        for place in sorted(folder.iterdir()):
            if dataset == "cave":
                cube = (
                    np.stack([np.asarray(Image.open(band)) for band in sorted(place.glob("*.png"))]) / 65535
                )
            elif dataset == "harvard":
                cube = scipy.io.loadmat(place)["ref"].transpose(2, 0, 1)
                cube = cube / cube.max()
            else:
                with h5py.File(place) as source:
                    cube = source["hsi"][:].transpose(0, 2, 1)
                cube = cube / cube.max()
            file.create_dataset(
                place.stem, data=cube.astype(np.float32), compression="gzip", compression_opts=1
            )


def ours(dataset: str, folder: Path, out: Path) -> None:
    """The command's own function."""
    from hsisr_core.data import prepare

    prepare(dataset, folder, out)


def touch(dataset: str, folder: Path, out: Path) -> None:
    """Import everything and read every byte once: what the process needs without a scene."""
    import hsisr_core.data.prepare  # noqa: F401 (its import is what is measured)

    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as opened:
                while opened.read(1 << 20):
                    pass


def measure(way: str, dataset: str, folder: Path, out: Path) -> tuple[float, float, float]:
    """Run one way in its own process; return seconds, seconds of all cores, and the peak resident memory in MB."""
    command = [sys.executable, "-m", "benchmarks.prepare", way, dataset, str(folder), str(out)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(text[-3]), float(text[-2]), float(text[-1])


def report() -> None:
    """Print the table."""
    print(
        "dataset   scene MB source MB | MB/s: ours plain ratio | core s: ours plain | "
        "peak/scene: ours plain | above idle: ours plain"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # in its own process too: a child starts with the peak of its parent
        measure("make", "", folder, folder)
        for dataset, size in SIZES.items():
            scene = np.prod(size) * 4 / 1e6
            source = (
                sum(file.stat().st_size for file in (folder / dataset).rglob("*") if file.is_file()) / 1e6
            )
            _, _, idle = measure("touch", dataset, folder / dataset, folder / "none")
            fast, ours_cpu, ours_peak = measure("ours", dataset, folder / dataset, folder / "ours.h5")
            slow, plain_cpu, plain_peak = measure("plain", dataset, folder / dataset, folder / "plain.h5")
            print(
                f"{dataset:<9} {scene:>8.0f} {source:>9.0f} | {source / fast:>10.1f} {source / slow:>5.1f} "
                f"{slow / fast:>5.2f} | {ours_cpu:>12.1f} {plain_cpu:>5.1f} | "
                f"{ours_peak / scene:>16.2f} {plain_peak / scene:>5.2f} | "
                f"{(ours_peak - idle) / scene:>16.2f} {(plain_peak - idle) / scene:>5.2f}"
            )
    print(
        "MB/s of source files; a scene is its float32 cube; peak is of the whole process. Above idle: less the peak of "
        "a process that imports hsisr_core.data.prepare, Python, NumPy and h5py with it, and reads no scene."
    )


if __name__ == "__main__":
    if len(sys.argv) == 1:
        report()
    else:
        start = time.perf_counter()
        way = {"make": make, "touch": touch, "ours": ours, "plain": plain}[sys.argv[1]]
        way(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
        seconds = time.perf_counter() - start
        unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kibibytes
        print(seconds, time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6)
