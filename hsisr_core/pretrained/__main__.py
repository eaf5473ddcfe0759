"""`python -m hsisr_core.pretrained RUN NAME`: pack a finished run into the shipped weights (for maintainers)."""

from pathlib import Path
from typing import Annotated

import typer

from hsisr_core.base import run_command
from hsisr_core.runs import FOLDER, read_run
from hsisr_core.upscale import pack


def main(
    run: Annotated[Path, typer.Argument(help="A finished run folder.")],
    name: Annotated[str, typer.Argument(help="Name of the weights, for example ssrnet-32-x2-cave.")],
    out: Annotated[Path, typer.Option(help="Folder of the weights and their index.json.")] = FOLDER,
) -> None:
    """Pack a finished run: its weights, a model card and an entry in index.json."""
    path = pack(read_run(run), name, out)
    typer.echo(f"{path}\n\n{path.with_suffix('.md').read_text(encoding='utf-8')}")


if __name__ == "__main__":
    run_command(main)
