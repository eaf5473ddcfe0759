"""Print the job scripts that Snakemake would submit to Slurm. Nothing is submitted, and no cluster is needed.

    .venv-snakemake/bin/python workflow/show_slurm.py --config plan=demo

Snakemake has no dry run that goes as far as the job script. So this runs it with the Slurm profile and with stand-ins
for Slurm's commands in front of the real ones: the stand-in for `sbatch` writes down what it is given and refuses.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

PROFILE = Path("workflow/profiles/slurm")
COMMANDS = ("sacct", "sacctmgr", "scancel", "scontrol", "sinfo", "squeue", "sshare")
SBATCH = """#!{python}
import os, shlex, sys
with open({jobs!r}, "a") as file:
    print("$ sbatch", shlex.join(sys.argv[1:]), file=file)
    print(sys.stdin.read() + "\\n", file=file)
sys.exit("shown, not submitted")
"""


def main() -> int:
    if not PROFILE.is_dir():
        print("error: start this from the root of the project.", file=sys.stderr)
        return 2
    profile = (PROFILE / "config.yaml").read_text(encoding="utf-8")
    account = re.search(r"slurm_account=(\S+)", profile)
    with tempfile.TemporaryDirectory() as folder:
        jobs = Path(folder) / "jobs"
        (Path(folder) / "sbatch").write_text(SBATCH.format(python=sys.executable, jobs=str(jobs)))
        for name in COMMANDS:  # they answer nothing, or that the account of the profile exists
            (Path(folder) / name).write_text(
                f"#!/bin/sh\necho {shlex.quote(account[1] if account else '')}\n"
            )
        for file in Path(folder).iterdir():
            file.chmod(0o755)
        result = subprocess.run(
            [
                *(sys.executable, "-m", "snakemake", "--profile", str(PROFILE)),
                *("--slurm-pass-command-as-script", "--retries", "0", *sys.argv[1:]),
            ],
            env=os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if not jobs.is_file():
            print(result.stderr[-3000:], file=sys.stderr)
            print("Nothing was submitted: see above.", file=sys.stderr)
            return 1
        text = jobs.read_text()
    # Snakemake makes the folder of a result before it submits the job
    for metrics in set(re.findall(r"\S+/metrics\.json", text)):
        empty = Path(metrics.strip("'\"")).parent
        if empty.is_dir() and not any(empty.iterdir()):
            empty.rmdir()
    print(text, end="")
    print(f"{text.count('$ sbatch')} jobs shown; none was submitted.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
