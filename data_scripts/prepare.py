"""Read the scenes of a dataset as the protocol says and write them to one store, scenes.h5."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from hsisr_core.base import run_command
from hsisr_core.data import DATASETS, dataset_source, prepare
from hsisr_core.errors import HsisrError


def command(
    dataset: Annotated[str, typer.Argument(help="cave, harvard, foster, or other for scenes of your own.")],
    folder: Annotated[Path, typer.Argument(help="Folder with the scenes, anywhere in it.")],
    out: Annotated[Path, typer.Option(help="The store to write.")],
    split: Annotated[
        str | None,
        typer.Option(help="Only the scenes of this split, reduced where it says so, such as cave-sample."),
    ] = None,
    wavelengths: Annotated[
        str | None, typer.Option(help="Only the bands at FIRST:LAST:STEP nm, both ends included.")
    ] = None,
) -> None:
    """Prepare a dataset."""
    start = time.perf_counter()
    store, left_out = prepare(dataset, folder, out, split, _centres(wavelengths))
    seconds = time.perf_counter() - start
    for place, why in left_out.items():
        typer.echo(f"left out: {place}: {why}")
    megabytes = sum(size for _, size, _ in store.sources) / 1e6
    typer.echo(
        f"{store.path}: {len(store.names)} scenes of {store.dataset} from {megabytes:.0f} MB in "
        f"{seconds:.0f} s ({megabytes / seconds:.0f} MB/s), {store.path.stat().st_size / 1e6:.0f} MB"
    )
    if dataset in DATASETS and split is None and wavelengths is None:
        source = dataset_source(dataset)
        typer.echo(f"The paper has {source.scenes} scenes of {source.bands} bands.")
    typer.echo(f"\nNext: hsisr info {store.path}")


def _centres(text: str | None) -> list[float]:
    """[560, 580, ..., 700] for "560:700:20"."""
    if text is None:
        return []
    try:
        first, last, step = map(float, text.split(":"))
        return list(np.arange(first, last + step / 2, step))
    except (ValueError, ZeroDivisionError) as error:
        raise HsisrError(f"--wavelengths {text}: expected FIRST:LAST:STEP, such as 560:700:20.") from error


if __name__ == "__main__":
    run_command(command)
