"""Fetch CAVE, Harvard or Foster: download, compare hashes, unpack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hsisr_core.base import run_command
from hsisr_core.data import dataset_source, fetch


def command(
    dataset: Annotated[str, typer.Argument(help="cave, harvard or foster.")],
    to: Annotated[
        Path | None, typer.Option(help="Folder for it; default: data/DATASET of the project.")
    ] = None,
    scenes: Annotated[
        list[str] | None,
        typer.Option(help="Of Foster: only these scenes, with commas between."),
    ] = None,
) -> None:
    """Download a dataset, or continue, compare it with its known or first hash, and unpack it."""
    source = dataset_source(dataset)
    sizes = [archive.size or archive.about for archive in source.archives]
    size = f", {sum(filter(None, sizes)) / 1e9:.1f} GB" if all(sizes) else ""
    typer.echo(f"{source.title}{size}\n{source.page}\nTerms: {source.terms}\nPlease cite: {source.cite}\n")
    if source.incomplete and not scenes:
        typer.echo(f"Note: {source.incomplete}\n")
    names = [name.strip() for text in scenes or () for name in text.split(",") if name.strip()]
    folder, done = fetch(dataset, to, names)
    typer.echo("\n".join(done))
    typer.echo(f"\nNext: python data_scripts/prepare.py {dataset} {folder} --out {folder / 'scenes.h5'}")


if __name__ == "__main__":
    run_command(command)
