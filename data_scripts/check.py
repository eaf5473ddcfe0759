"""Print the data sheet of a store; exit code 1 when something is off."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hsisr_core.base import run_command
from hsisr_core.data import Store, data_sheet


def command(
    store: Annotated[Path, typer.Argument(help="A store that prepare.py wrote, scenes.h5.")],
) -> None:
    """Check prepared scenes."""
    opened = Store(store)
    table, problems = data_sheet(opened)
    nm = opened.wavelengths(opened.names[0])
    typer.echo(f"dataset      {opened.dataset}, {len(table)} scenes")
    typer.echo(f"wavelengths  {nm[0]:g} to {nm[-1]:g} nm, {len(nm)} bands")
    typer.echo(f"fingerprint  {opened.fingerprint}\n")
    typer.echo(table.to_string(index=False, float_format="%.4f") + "\n")
    typer.echo("\n".join(f"PROBLEM: {problem}" for problem in problems) or "No problems found.")
    if problems:
        raise typer.Exit(1)


if __name__ == "__main__":
    run_command(command)
