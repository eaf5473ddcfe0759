"""Load the results of 2,000 synthetic run folders, against reading config.yaml and metrics.json of each.

Run by hand: ``python benchmarks/results.py [FOLDERS]``.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from hsisr_core.runs import RunConfig, load_results, read_run

IMAGES = 7  # CAVE's test images


def write_runs(folder: Path, count: int) -> None:
    """Run folders as `train` leaves them, with made-up scores and empty weights."""
    names = ("psnr", "mpsnr", "ssim", "sam", "rmse", "ergas", "zero_pixels")
    for seed in range(count):
        config = RunConfig.from_preset("demo", seed=seed)
        run = folder / f"ssrnet-x2-synthetic-{seed:010x}"
        run.mkdir()
        (run / "config.yaml").write_text(f"fingerprint: '0'\n{config.to_yaml()}")
        rows = [
            {"image": f"scene {image}", "result": result, **dict.fromkeys(names, 30 + seed / 7 + image)}
            for image in range(IMAGES)
            for result in ("bicubic", "ssrnet")
        ]
        metrics = {
            "config": config.to_dict(), "dataset": "synthetic", "fingerprint": "0", "images": rows,
            "mean": {"ssrnet": rows[0]}, "steps": 2000, "seconds": 100.0, "parameters": 81474,
            "versions": {"torch": "2"}, "protocol": "x" * 250,
        }  # fmt: skip
        (run / "metrics.json").write_text(json.dumps(metrics, indent=2))


def plain(folder: Path) -> pd.DataFrame:
    """The same table through `read_run`, which parses YAML."""
    rows = []
    for path in sorted(folder.iterdir()):
        run = read_run(path)
        rows += [run.config.to_dict() | image for image in run.metrics["images"]]
    return pd.DataFrame(rows)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    with tempfile.TemporaryDirectory() as name:
        write_runs(Path(name), count)
        seconds = {}
        for method in (load_results, plain):
            started = time.perf_counter()
            table = method(Path(name))
            seconds[method.__name__] = time.perf_counter() - started
            assert len(table) == count * IMAGES * 2
            print(
                f"{method.__name__:<13}{seconds[method.__name__]:7.2f} s, {len(table):,} rows of {count:,} runs"
            )
    print(f"ratio        {seconds['plain'] / seconds['load_results']:7.1f}")


if __name__ == "__main__":
    main()
