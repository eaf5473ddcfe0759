"""The `hsisr` command: each verb is a few lines over the module."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from hsisr_core import __version__
from hsisr_core.errors import HsisrError

__all__ = ["app", "carry_out", "main"]

app = typer.Typer(
    help="SSRNet for hyperspectral super-resolution: train it, score it, build the book.",
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)

Preset = Annotated[str, typer.Option(help="Name in book/presets, or a path to a .yaml file.")]
Data = Annotated[
    str | None,
    typer.Option(help="'indian-pines', a folder of scenes or a scenes.h5; default: what the preset says."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "-p", metavar="NAME=VALUE", help="Another value for a setting, for example -p scale=3. Repeatable."
    ),
]


def parse_settings(settings: list[str] | None) -> dict[str, Any]:
    """Turn ["scale=3", "clip=null"] into typed values, read as YAML."""
    values = {}
    for text in settings or []:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise HsisrError(f"-p {text}: expected NAME=VALUE, for example -p scale=3.")
        try:
            values[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise HsisrError(f"-p {text}: the value is no valid YAML.") from error
    return values


@app.command()
def book(
    preset: Preset = "demo",
    data: Data = None,
    settings: Settings = None,
    jobs: Annotated[int, typer.Option(help="Chapters executed at once.")] = 2,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the executed chapters and the pages; default: _build of the project."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Treat Sphinx warnings as errors.")] = False,
) -> None:
    """Train what the book shows, execute every chapter, build the pages."""
    from hsisr_core.book import build_book
    from hsisr_core.report import results_table
    from hsisr_core.runs import RunConfig, open_run
    from hsisr_core.train import train as train_run

    values = parse_settings(settings) | ({"data": data} if data else {})
    config = RunConfig.from_preset(preset, **values)
    index = build_book(
        preset, data, values, jobs=jobs, strict=strict, before=lambda: train_run(config), out=out
    )
    typer.echo(f"\n{results_table(open_run(config))}\n\nThe book: {index}")


@app.command()
def train(preset: Preset = "demo", data: Data = None, settings: Settings = None) -> None:
    """Carry out one run of a preset, or resume it; a finished one is only shown."""
    from hsisr_core.report import results_table
    from hsisr_core.runs import RunConfig
    from hsisr_core.train import train as train_run

    values = parse_settings(settings) | ({"data": data} if data else {})
    run = train_run(RunConfig.from_preset(preset, **values))
    typer.echo(f"{results_table(run)}\n\nThe run: {run.folder}")


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="A finished run folder.")],
    data: Data = None,
    split: Annotated[str | None, typer.Option(help="A split in book/splits, or a path.")] = None,
) -> None:
    """Score a run's network on the test images again, or on other data."""
    from hsisr_core.data import load_dataset
    from hsisr_core.evaluate import evaluate as evaluate_model
    from hsisr_core.evaluate import reduced_pairs
    from hsisr_core.report import score_table
    from hsisr_core.runs import read_run

    stored = read_run(run)
    dataset = load_dataset(data or stored.config.data, split or (None if data else stored.config.split))
    rows = evaluate_model(stored.model(), reduced_pairs(dataset, stored.config.scale), stored.config.method)
    typer.echo(score_table(rows, stored.config, dataset))


@app.command()
def info(
    path: Annotated[
        str, typer.Argument(help="A scene of any format, a folder of PNGs, a store, or 'indian-pines'.")
    ],
    key: Annotated[str | None, typer.Option(help="Name of the array in a .mat or HDF5 file.")] = None,
    band_axis: Annotated[
        int | None, typer.Option(help="Which axis of a .npy or HDF5 array is the bands: 0, 1 or 2.")
    ] = None,
    divisor: Annotated[float | None, typer.Option(help="The value that stands for 1.")] = None,
) -> None:
    """Say what a scene is and how it is read."""
    from hsisr_core.data import Store, read_scene
    from hsisr_core.data.readers_array import is_store
    from hsisr_core.report import scene_table, store_table

    if Path(path).is_file() and is_store(Path(path)):
        typer.echo(store_table(Store(path)))
    else:
        typer.echo(scene_table(read_scene(path, key=key, band_axis=band_axis, divisor=divisor)))


def version(show: bool) -> None:
    if show:
        typer.echo(f"hsisr {__version__}")
        raise typer.Exit


@app.callback()
def options(
    show: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point: a user's mistake is one line on stderr and exit code 2."""
    _guarded(app)


def carry_out(command: Callable[..., None]) -> None:
    """Run a command of its own, such as those in data_scripts/, with the same errors and exit codes."""
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command()(command)
    _guarded(single)


def _guarded(application: typer.Typer) -> None:
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    try:
        application()
    except HsisrError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped; start the same command again to resume", file=sys.stderr)
        sys.exit(130)
