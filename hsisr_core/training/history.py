"""The training curve: a CSV that grows a line at a time and can be followed while it does."""

from __future__ import annotations

import csv
from pathlib import Path

from hsisr_core.base.files import atomic_path

__all__ = ["COLUMNS", "History"]

COLUMNS = ("step", "loss", "learning_rate", "seconds", "psnr", "ssim", "sam")


class History:
    """Append rows to `path`. Rows after `last_step` (written after the checkpoint that is resumed) are dropped."""

    def __init__(self, path: Path, last_step: int) -> None:
        self.path = path
        kept: list[list[str]] = []
        if path.is_file() and last_step > 0:
            with path.open(newline="", encoding="utf-8") as file:
                kept = [row for row in csv.reader(file) if len(row) == len(COLUMNS) and row[0].isdigit()]
            kept = [row for row in kept if int(row[0]) <= last_step]
        with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *kept])

    def add(self, row: dict[str, float]) -> None:
        """Append one row; a missing column stays empty (NaN when read)."""
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerow(
                format(row[name], ".8g") if name in row else "" for name in COLUMNS
            )
