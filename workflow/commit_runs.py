"""Copy finished runs to book/results: settings, curve and scores, without weights and without a path of this machine.

python workflow/commit_runs.py runs evidence tune

Of a run that is there already and was trained again (`hsisr train --again`), the scores go to book/results/again.json.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from hsisr_core.base import atomic_text, read_json, run_command, write_json
from hsisr_core.errors import HsisrError
from hsisr_core.runs import known_fingerprint, read_run, results_folder, run_folders


def main(runs: Path, presets: list[str]) -> None:
    """Copy the finished runs of `presets` in the folder `runs` that are not in book/results yet."""
    again = results_folder() / "again.json"
    for folder in run_folders(runs):
        run = read_run(folder)
        target = results_folder() / run.config.preset / folder.name
        if run.config.preset not in presets or not run.finished:
            continue
        metrics = run.metrics
        if target.exists():
            if metrics["weights_sha256"] != read_json(target / "metrics.json").get("weights_sha256"):
                known = read_json(again) if again.exists() else {}
                write_json(
                    again, known | {folder.name: metrics | {"config": read_run(target).config.to_dict()}}
                )
                print(again)
            continue
        data, split = metrics["dataset"], metrics["split"]["name"]
        if metrics["git_commit"] is None or metrics["git_commit"].endswith("+"):
            raise HsisrError(
                f"{folder} was trained with uncommitted changes: train it again from a clean commit."
            )
        if known_fingerprint(data, split) != run.fingerprint:
            raise HsisrError(
                f"{folder}: book/results/fingerprints.json does not name this {data} with split {split}. Add it there."
            )
        config = run.config.changed(data=data, split=split)
        write_json(target / "metrics.json", metrics | {"config": config.to_dict()})
        shutil.copy(folder / "history.csv", target)
        atomic_text(target / "config.yaml", f"fingerprint: {run.fingerprint}\n{config.to_yaml()}")
        print(target)


if __name__ == "__main__":
    run_command(main)
