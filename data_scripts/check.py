"""Print the data sheet of a store and draw its contact sheet; exit code 1 when something is off."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hsisr_core.base import run_command
from hsisr_core.data import Store, data_sheet
from hsisr_core.plots import contact_sheet


def command(
    store: Annotated[Path, typer.Argument(help="A store that prepare.py wrote, scenes.h5.")],
    picture: Annotated[
        Path | None, typer.Option(help="The contact sheet; default: beside the store, as .png.")
    ] = None,
) -> None:
    """Check prepared scenes."""
    sheet = data_sheet(Store(store))
    typer.echo(str(sheet))
    target = picture or store.with_suffix(".png")
    contact_sheet(sheet, target)
    typer.echo(f"\nContact sheet: {target}")
    if sheet.problems:
        raise typer.Exit(1)


if __name__ == "__main__":
    run_command(command)
