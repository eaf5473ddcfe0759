"""The `hsisr` command: each verb is a few lines over the module."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from hsisr_core import __version__
from hsisr_core.base import first_process, run_app
from hsisr_core.errors import HsisrError

if TYPE_CHECKING:
    from hsisr_core.runs import PlannedRun

__all__ = ["app", "main"]

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
Key = Annotated[str | None, typer.Option(help="Name of the array in a .mat or HDF5 file.")]
BandAxis = Annotated[
    int | None, typer.Option(help="Which axis of a .npy or HDF5 array is the bands: 0, 1 or 2.")
]
Divisor = Annotated[float | None, typer.Option(help="The value that stands for 1.")]
TableFile = Annotated[
    Path | None,
    typer.Option("-o", "--out", help="Also write a row per run and image: .csv, .parquet or .tex."),
]
Shard = Annotated[
    str | None, typer.Option(metavar="i/n", help="Only part i of n, for several machines or a job array.")
]


def parse_settings(settings: list[str] | None, data: str | None = None) -> dict[str, Any]:
    """Turn ["scale=3", "clip=null"] into typed values, read as YAML; and add `data`, if given."""
    values: dict[str, Any] = {}
    for text in settings or []:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise HsisrError(f"-p {text}: expected NAME=VALUE, for example -p scale=3.")
        try:
            values[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise HsisrError(f"-p {text}: the value is not valid YAML.") from error
    return values | ({"data": data} if data else {})


@app.command()
def book(
    preset: Preset = "demo",
    data: Data = None,
    settings: Settings = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Runs trained at once, then chapters executed at once; default: the cores."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the executed chapters and the pages; default: _build of the project."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Treat Sphinx warnings as errors.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Execute every chapter, also those that nothing has changed for.")
    ] = False,
) -> None:
    """Train what the book shows, execute every chapter, build the pages."""
    from hsisr_core.book import build_book, train_shown
    from hsisr_core.cli.report import results_table
    from hsisr_core.runs import RunConfig, open_run, plan_for_chapters
    from hsisr_core.train import train

    values = parse_settings(settings, data)
    # A chapter may have parameters of its own, too.
    settings_of_runs = {name: value for name, value in values.items() if name in RunConfig.model_fields}
    plan = plan_for_chapters(preset, settings_of_runs)
    index = build_book(
        preset,
        data,
        values,
        jobs=jobs,
        strict=strict,
        force=force,
        before=lambda: train_shown(plan, train, jobs),
        out=out,
    )
    typer.echo(f"\n{results_table(open_run(plan.defaults))}\n\nThe book: {index}")


@app.command()
def train(preset: Preset = "demo", data: Data = None, settings: Settings = None) -> None:
    """Train one run of a preset, or resume it; a finished one is only shown."""
    from hsisr_core.cli.report import results_table
    from hsisr_core.runs import RunConfig
    from hsisr_core.training import leave_group
    from hsisr_core.training import train as train_run

    values = parse_settings(settings, data)
    run = train_run(RunConfig.from_preset(preset, **values))
    if first_process():
        typer.echo(f"{results_table(run)}\n\nThe run: {run.folder}")
    leave_group()


@app.command()
def runs(
    plan: Annotated[
        str, typer.Argument(help="A preset with `runs`: a name in book/presets or a .yaml file.")
    ],
    shard: Shard = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Runs at once on this machine; default: as many as cores, one with a GPU."),
    ] = None,
    status: Annotated[bool, typer.Option("--status", help="Only say how far the runs are.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only estimate what the runs cost.")] = False,
    gpu: Annotated[
        str | None, typer.Option(help="With --dry-run: also the time on this GPU, for example a100.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --dry-run: what workflow/Snakefile needs to know, as JSON.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Allow a plan of more than 200 runs.")] = False,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Work through a plan: reuse finished runs, resume unfinished ones, go on after a failed one."""
    from hsisr_core.cli import report
    from hsisr_core.runs import carry_out, planned_runs, read_plan, run_state
    from hsisr_core.runs import shard as part_of
    from hsisr_core.train import train

    if as_json and not dry_run:
        raise HsisrError("--json: only --dry-run prints JSON; add it.")
    if gpu and not dry_run:
        raise HsisrError(f"--gpu {gpu}: only --dry-run estimates a time on another GPU; add it.")
    overrides = parse_settings(settings, data)
    planned = part_of(planned_runs(read_plan(plan, overrides, many=yes)), shard)
    if as_json:
        typer.echo(json.dumps(cluster_jobs(planned, gpu), indent=2))
        return
    if dry_run:
        from hsisr_core.training import estimate_runs, gpu_rate

        name = gpu_rate(gpu)[0] if gpu else None
        typer.echo(report.estimate_table(planned, estimate_runs(planned, gpu), name))
        return
    if not status:
        carry_out(planned, train, jobs)
    states = [run_state(run) for run in planned]
    typer.echo(report.status_table(planned, states))
    if not status and any(state.state not in ("done", "running") for state in states):
        raise typer.Exit(1)


def cluster_jobs(planned: Sequence[PlannedRun], gpu: str | None) -> list[dict[str, Any]]:
    """A job a run: name, label, steps, the paths of its settings and result, and what it needs.

    Writes each run's settings to the file that is the input of its job, where that does not hold them already: a
    newer file would plan the job again.
    """
    from hsisr_core.base import atomic_text, project_root
    from hsisr_core.training import needs

    def short(path: Path) -> str:
        return str(path.relative_to(root) if path.is_relative_to(root) else path)

    root = project_root()
    jobs = []
    for run in planned:
        name = run.folder.name
        settings = root / "_build" / "workflow" / f"{name}.yaml"
        text = run.config.to_yaml()
        if not settings.is_file() or settings.read_text(encoding="utf-8") != text:
            atomic_text(settings, text)
        paths = {"config": short(settings), "metrics": short(run.folder / "metrics.json")}
        jobs.append({"name": name, "label": run.label, **paths, "steps": run.steps, **needs(run, gpu)})
    return jobs


@app.command()
def results(
    folder: Annotated[
        Path | None, typer.Argument(help="A folder of run folders; default: runs/ of the project.")
    ] = None,
    out: TableFile = None,
) -> None:
    """Print the results of all finished runs, a row per run and image."""
    from hsisr_core.cli.report import frame_table
    from hsisr_core.runs import load_results, short_results, write_table

    table = load_results(folder)
    if out is not None:
        write_table(table, out)
    typer.echo(frame_table(short_results(table)))


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="A finished run folder, or a folder of run folders.")],
    data: Data = None,
    split: Annotated[str | None, typer.Option(help="A split in book/splits, or a path.")] = None,
    self_ensemble: Annotated[
        bool,
        typer.Option(
            "--self-ensemble", help="Also score the mean over eight turned and flipped inputs, as METHOD+."
        ),
    ] = False,
    shard: Shard = None,
    out: TableFile = None,
) -> None:
    """Score the networks of finished runs on the test images again, or on other data."""
    from hsisr_core.cli.report import score_table
    from hsisr_core.runs import write_table
    from hsisr_core.training import finished_runs, rescore, score_frame

    scored, failed = [], []
    for stored in finished_runs(run, shard):
        try:
            scored.append(rescore(stored, data, split, self_ensemble))
        except HsisrError as error:
            # One run was asked for: it is the user's mistake.
            if stored.folder == run:
                raise
            failed.append(f"{stored.folder}: {error}")
            continue
        typer.echo(f"{score_table(scored[-1].rows, stored.config, scored[-1].dataset)}\n\n{stored.folder}\n")
    if out is not None:
        write_table(score_frame(scored), out)
    for line in failed:
        typer.echo(f"error: {line}", err=True)
    if failed:
        raise typer.Exit(1)


@app.command()
def info(
    path: Annotated[
        str, typer.Argument(help="A scene of any format, a folder of PNGs, a store, or 'indian-pines'.")
    ],
    key: Key = None,
    band_axis: BandAxis = None,
    divisor: Divisor = None,
) -> None:
    """Say what a scene is and how it is read."""
    from hsisr_core.cli.report import scene_table, store_table
    from hsisr_core.data import Store, read_scene
    from hsisr_core.scenes import is_store

    if Path(path).is_file() and is_store(Path(path)):
        typer.echo(store_table(Store(path)))
    else:
        typer.echo(scene_table(read_scene(path, key=key, band_axis=band_axis, divisor=divisor)))


@app.command()
def upscale(
    cube: Annotated[str, typer.Argument(help="A scene of any format, a CAVE folder, or 'indian-pines'.")],
    scale: Annotated[int, typer.Option(help="Factor: 2, 3 or 4.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="Name of shipped weights, a packed file, a run folder or 'bicubic'; default: shipped."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Output: .h5, .mat, .npy, .tif or .hdr (ENVI).")
    ] = None,
    tile: Annotated[
        int | None, typer.Option(help="LR pixels a side of a tile; less takes less memory.")
    ] = None,
    bands: Annotated[
        str | None, typer.Option(help="'all', a number of bands, or 0-based indices such as 0,2,10:20.")
    ] = None,
    key: Key = None,
    divisor: Divisor = None,
    band_axis: BandAxis = None,
    nodata: Annotated[
        float | None, typer.Option(help="The value of pixels without a measurement (nan is possible).")
    ] = None,
    keep_type: Annotated[
        bool, typer.Option("--keep-type", help="Write the type of the input instead of float32.")
    ] = False,
    check: Annotated[
        bool | None,
        typer.Option(
            "--check/--no-check", help="Self-test on the reduced cube; default: if it is unlike the training."
        ),
    ] = None,
) -> None:
    """Super-resolve a cube of your own, from disk to disk."""
    from hsisr_core.upscale import parse_bands
    from hsisr_core.upscale import upscale as upscale_cube

    made = upscale_cube(
        cube, scale, model, out, tile=tile, bands=parse_bands(bands), key=key, divisor=divisor, band_axis=band_axis,
        nodata=nodata, keep_type=keep_type, check=check, say=typer.echo,
    )  # fmt: skip
    count, height, width = made.shape
    typer.echo(f"\n{made.path}: {height} x {width} pixels, {count} bands")


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
    run_app(app)
