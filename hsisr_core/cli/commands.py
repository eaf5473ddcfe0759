"""The `hsisr` command: each verb is a few lines over the module."""

import json
import os.path
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from typer import Argument, Option

from hsisr_core import __version__
from hsisr_core.base import atomic_text, first_process, printable, project_root, run_app
from hsisr_core.errors import HsisrError

app = typer.Typer(
    help="SSRNet for hyperspectral super-resolution: train it, score it, build the book.",
    epilog="Environment variables: HSISR_RUNS, HSISR_CACHE and HSISR_DATASETS are the folders of the runs, of prepared "
    "data and of fetched datasets (else runs, _build/data and data, of the clone or the current folder); "
    "HSISR_NETWORKS names networks of your own that commands may import; HSISR_REPOSITORY is the address behind the "
    "buttons of the pages; HSISR_DATA is for the tests alone.",
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)

Preset = Annotated[str, Option(help="Name in book/presets, or a path to a .yaml file.")]
Data = Annotated[str | None, Option(help="'indian-pines', a folder or a scenes.h5; default: the preset's.")]
Settings = Annotated[list[str] | None, Option("-p", metavar="NAME=VALUE", help="As in scale=3; repeatable.")]
Jobs = Annotated[int | None, Option(min=1, help="At once; default: as many as cores, one run with a GPU.")]
Shard = Annotated[str | None, Option(metavar="i/n", help="Only part i of n, for several machines or jobs.")]
Key = Annotated[str | None, Option(help="Name of the array in a .mat or HDF5 file.")]
BandAxis = Annotated[int | None, Option(help="Which axis of an array is the bands: 0, 1 or 2.")]
NoData = Annotated[float | None, Option(help="The value of unmeasured pixels (nan is possible).")]
Divisor = Annotated[float | None, Option(help="The value that stands for 1.")]
_CUBE = "A .h5, .mat, .npy, .tif or .hdr (ENVI), replaced if it is there; default: CUBE-xSCALE here."
CubeFile = Annotated[Path | None, Option("-o", "--out", help=_CUBE)]
TableFile = Annotated[Path | None, Option("-o", "--out", help="Write them to a .csv, .parquet or .tex, too.")]


def say(text: object, err: bool = False) -> None:
    """Print text, in which names from files may stand."""
    typer.echo(printable(str(text)), err=err)


def parse_settings(settings: list[str] | None, data: str | None = None, **reading: Any) -> dict[str, Any]:
    """Turn ["scale=3", "clip=null"] into typed values, read as YAML; and add the other options that are given."""
    values: dict[str, Any] = {}
    for text in settings or []:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise HsisrError(f"-p {text}: expected NAME=VALUE, for example -p scale=3.")
        try:
            values[name] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise HsisrError(f"-p {text}: the value is not valid YAML.") from error
        if name == "method" and ".py" in value:
            from hsisr_core.models import load_network

            values[name] = load_network(value)
    return values | {name: value for name, value in {"data": data, **reading}.items() if value is not None}


@app.command()
def book(
    preset: Annotated[str | None, Option(help="For all chapters; default: their own; with -p demo.")] = None,
    data: Data = None,
    settings: Settings = None,
    jobs: Jobs = None,
    out: Annotated[Path | None, Option(help="Folder of the chapters and pages; default: _build.")] = None,
    strict: Annotated[bool, Option("--strict", help="Treat Sphinx warnings as errors.")] = False,
    force: Annotated[bool, Option("--force", help="Execute every chapter, changed or not.")] = False,
) -> None:
    """Train what the book shows, execute every chapter, build the pages."""
    from hsisr_core.book import build_book, train_shown
    from hsisr_core.cli.report import results_table
    from hsisr_core.runs import RunConfig, open_run, plan_for_chapters
    from hsisr_core.train import train

    values = parse_settings(settings, data)
    # A chapter may have parameters of its own, too.
    settings_of_runs = {name: values[name] for name in values if name in RunConfig.model_fields}
    # committed runs have settings of their own: others are trained, which takes hours but for the demo's
    preset = preset or ("demo" if settings_of_runs else None)
    plan = plan_for_chapters(preset or "demo", settings_of_runs)
    shown = plan.shown() if preset else replace(plan, entries=((None, plan.defaults),))
    first = partial(train_shown, shown, train, jobs)
    index = build_book(preset, values, jobs=jobs, strict=strict, force=force, out=out, before=first)
    say(f"\n{results_table(open_run(plan.defaults))}\n\nThe book: {index}")


@app.command()
def figures(
    preset: Preset = "evidence", data: Data = None, settings: Settings = None, jobs: Jobs = None
) -> None:
    """Draw the chapters' figures of scenes, and keep them in book/results/figures for those without the data."""
    from hsisr_core.book import keep_figures

    keep_figures(preset, parse_settings(settings, data), jobs)


@app.command()
def split(
    folder: Annotated[Path, Argument(help="A folder of scenes.")],
    test: Annotated[float, Option(help="Share of the scenes that test.", min=0, max=1)] = 0.2,
    seed: Annotated[int, Option(help="Another seed, another division.")] = 1,
    out: Annotated[Path | None, Option("-o", "--out", help="The split; default: FOLDER.yaml here.")] = None,
) -> None:
    """Divide the scenes of a folder at random, but the same way everywhere, into those that train and test."""
    from hsisr_core.data import find_scenes, write_split
    from hsisr_core.scenes import existing

    scenes, _ = find_scenes(existing(folder))
    path = out or Path(f"{folder.resolve().name}.yaml")
    made = write_split(path, scenes, test, seed)
    say(f"{path}: {len(made.train)} scenes train, {len(made.test)} test.")
    say(f"Next: hsisr train --data {folder} -p split={path}")


@app.command()
def train(
    preset: Preset = "demo",
    data: Data = None,
    settings: Settings = None,
    key: Key = None,
    band_axis: BandAxis = None,
    divisor: Divisor = None,
    again: Annotated[bool, Option("--again", help="Train here a run that came with the book.")] = False,
) -> None:
    """Train one run of a preset, or resume it; a finished one is only shown."""
    from hsisr_core.cli.report import results_table
    from hsisr_core.models import MODELS, option_names
    from hsisr_core.runs import RunConfig
    from hsisr_core.training import leave_group
    from hsisr_core.training import train as train_run

    values = parse_settings(settings, data, key=key, band_axis=band_axis, divisor=divisor)
    config = RunConfig.from_preset(preset, **values)
    own = option_names(config.method)
    # of a preset they may stand there for other networks
    if foreign := sorted(set(values) & {*chain(*map(option_names, MODELS))} - {*own}):
        raise HsisrError(f"{config.method} has no option {foreign[0]!r}; it has: {', '.join(own)}.")
    run = train_run(config, again=again)
    if first_process():
        say(f"{results_table(run)}\n\nThe run: {run.folder}")
    leave_group()


@app.command()
def runs(
    plan: Annotated[str, Argument(help="A preset with `runs`: a name in book/presets or a .yaml file.")],
    shard: Shard = None,
    jobs: Jobs = None,
    status: Annotated[bool, Option("--status", help="Only say how far the runs are.")] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Only estimate what the runs cost.")] = False,
    gpu: Annotated[str | None, Option(help="With --dry-run: also on this GPU, for example a100.")] = None,
    as_json: Annotated[bool, Option("--json", help="With --dry-run: for workflow/Snakefile.")] = False,
    data: Data = None,
    settings: Settings = None,
    key: Key = None,
    band_axis: BandAxis = None,
    divisor: Divisor = None,
) -> None:
    """Work through a plan: reuse finished runs, resume unfinished ones, go on after a failed one."""
    from hsisr_core.cli import report
    from hsisr_core.data import declare_dataset, load_dataset
    from hsisr_core.runs import carry_out, planned_runs, read_plan, run_state
    from hsisr_core.runs import shard as part_of
    from hsisr_core.train import train
    from hsisr_core.training import estimate_runs

    if (as_json or gpu) and not dry_run:
        raise HsisrError("--json and --gpu say what only --dry-run estimates; add it.")
    values = parse_settings(settings, data, key=key, band_axis=band_axis, divisor=divisor)
    # a job of Snakemake is named by the data themselves
    load = declare_dataset if dry_run and not as_json else load_dataset
    planned = part_of(planned_runs(read_plan(plan, values), load=load), shard)
    if as_json:
        say(json.dumps([cluster_job(run, gpu) for run in planned], indent=2))
    elif dry_run:
        say(report.estimate_table(planned, estimate_runs(planned, gpu), gpu))
    else:
        if not status:
            carry_out(planned, train, jobs)
        states = [run_state(run) for run in planned]
        say(report.status_table(planned, states))
        if not status and any(state.state not in ("done", "running") for state in states):
            raise typer.Exit(1)


def cluster_job(run: Any, gpu: str | None) -> dict[str, Any]:
    """A planned run as a job: what it needs, and the paths of its result and of its settings (written here)."""
    from hsisr_core.training import needs

    settings, text = project_root() / "_build/workflow" / f"{run.folder.name}.yaml", run.config.to_yaml()
    # A newer file would plan the job again.
    if not settings.is_file() or settings.read_text(encoding="utf-8") != text:
        atomic_text(settings, text)
    paths = {"config": os.path.relpath(settings), "metrics": os.path.relpath(run.folder / "metrics.json")}
    return {"name": run.folder.name, "label": run.label, **paths, "steps": run.steps, **needs(run, gpu)}


@app.command()
def results(
    folder: Annotated[Path | None, Argument(help="A folder of run folders; default: the project's.")] = None,
    out: TableFile = None,
) -> None:
    """Print the results of all finished runs, a row per run and image."""
    from hsisr_core.runs import load_results, short_results, write_table

    table = load_results(folder)
    if out is not None:
        write_table(table, out)
    text = short_results(table).to_string(index=False, float_format="{:.4f}".format)
    say("No finished run." if table.empty else text)


@app.command()
def evaluate(
    run: Annotated[Path, Argument(help="A run folder, a folder of them, or the name of shipped weights.")],
    data: Data = None,
    split: Annotated[str | None, Option(help="A split in book/splits, or a path.")] = None,
    self_ensemble: Annotated[bool, Option("--self-ensemble", help="Score METHOD+, too.")] = False,
    out: TableFile = None,
) -> None:
    """Score the networks of finished runs on the test images again, or on other data."""
    import pandas as pd

    from hsisr_core.cli.report import score_table
    from hsisr_core.runs import read_run, results_folder, run_folders, shipped, write_table
    from hsisr_core.training import rescore

    tables, failed = [], []
    if entry := next((entry for entry in shipped() if entry["name"] == str(run)), None):
        run = next(results_folder().glob(f"*/{entry['run']}"))
    for folder in [path for path in run_folders(run) if (path / "metrics.json").is_file()] or [run]:
        try:
            tables.append(rescore(read_run(folder), data, split, self_ensemble))
        except HsisrError as error:
            # One run was asked for: it is the user's mistake.
            if folder == run:
                raise
            failed.append(f"error: {folder}: {error}")
        else:
            say(f"{score_table(tables[-1])}\n\n{folder}\n")
    if out is not None and tables:
        write_table(pd.concat(tables), out)
    if failed:
        say("\n".join(failed), err=True)
        raise typer.Exit(1)


@app.command()
def info(
    path: Annotated[str, Argument(help="A scene of any format, a CAVE folder, a store, 'indian-pines'.")],
    key: Key = None,
    band_axis: BandAxis = None,
    divisor: Divisor = None,
    nodata: NoData = None,
) -> None:
    """Say what a scene is and how it is read."""
    from hsisr_core.cli.report import scene_table, store_table
    from hsisr_core.data import Store, read_scene
    from hsisr_core.scenes import is_store

    if Path(path).is_file() and is_store(Path(path)):
        say(store_table(Store(path)))
    else:
        scene = read_scene(path, key=key, band_axis=band_axis, divisor=divisor, nodata=nodata)
        say(scene_table(scene))


@app.command()
def upscale(
    cube: Annotated[str, Argument(help="A scene of any format, a CAVE folder, or 'indian-pines'.")],
    scale: Annotated[int, Option(help="Factor: 2, 3, 4 or 8.")],
    model: Annotated[str | None, Option(help="Weights, a packed file, a run folder, 'bicubic'.")] = None,
    out: CubeFile = None,
    tile: Annotated[int | None, Option(min=1, help="LR pixels a side; less takes less memory.")] = None,
    bands: Annotated[str | None, Option(help="'all', a number, or indices from 0 such as 0,2,10:20.")] = None,
    key: Key = None,
    divisor: Divisor = None,
    band_axis: BandAxis = None,
    nodata: NoData = None,
    keep_type: Annotated[bool, Option("--keep-type", help="Write the input's type, not float32.")] = False,
    check: Annotated[bool | None, Option(help="Self-test; default: if unlike the training.")] = None,
    precision: Annotated[str, Option(help="'float32', or 'bf16' on a GPU, AVX512-BF16 or AMX.")] = "float32",
) -> None:
    """Super-resolve a cube of your own, from disk to disk."""
    from hsisr_core.upscale import parse_bands
    from hsisr_core.upscale import upscale as upscale_cube

    path, made = upscale_cube(
        cube, scale, model, out, tile=tile, bands=parse_bands(bands), key=key, divisor=divisor, band_axis=band_axis,
        nodata=nodata, keep_type=keep_type, check=check, precision=precision, say=say,
    )  # fmt: skip
    count, height, width = made.shape
    say(f"\n{path}: {height} x {width} pixels, {count} bands")


@app.command()
def export(
    model: Annotated[str, Argument(help="Shipped weights, a packed file or a run folder.")],
    out: Annotated[Path, Option("-o", "--out", help="The .onnx file.")],
) -> None:
    """Write a trained network as ONNX, for engines that run without PyTorch."""
    from hsisr_core.upscale import export_onnx

    say(export_onnx(model, out))


@app.command()
def pack(
    run: Annotated[Path, Argument(help="A finished run folder.")],
    name: Annotated[str, Argument(help="Name of the weights, such as mynet-x2.")],
    out: Annotated[Path, Option("-o", "--out", help="The folder.")] = Path(),
) -> None:
    """Pack a finished run to hand it on: NAME.safetensors, and NAME.md, its card."""
    from hsisr_core.runs import read_run
    from hsisr_core.upscale import pack as pack_run

    say(pack_run(read_run(run), name, out))


def version(show: bool) -> None:
    if show:
        say(f"hsisr {__version__}")
        raise typer.Exit


@app.callback()
def options(
    show: Annotated[bool, Option("--version", callback=version, is_eager=True)] = False,
    network: Annotated[list[str] | None, Option(metavar="FILE.py:CLASS", help="Your own network.")] = None,
) -> None:
    for where in network or []:
        from hsisr_core.models import load_network

        load_network(where)


def main() -> None:
    """Entry point: a user's mistake is one line on stderr and exit code 2."""
    run_app(app)
