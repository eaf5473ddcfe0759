"""Runs: their settings, their folders, plans of many of them, the workers that carry a plan out, and the results."""

from hsisr_core.runs.config import AUGMENTATIONS, EXECUTION_FIELDS, RunConfig, preset_path, preset_values
from hsisr_core.runs.folder import (
    HISTORY,
    Run,
    find_run,
    known_fingerprint,
    open_run,
    peak_bytes,
    read_run,
    reset_peak,
    results_folder,
    run_lock,
)
from hsisr_core.runs.packed import FOLDER, KEY, build_packed, read_packed, shipped, shipped_file
from hsisr_core.runs.plan import Plan, PlannedRun, plan_for_chapters, planned_runs, read_plan, shard
from hsisr_core.runs.results import load_results, run_folders, short_results, write_table
from hsisr_core.runs.status import STATES, RunState, record_failure, run_state
from hsisr_core.runs.work import Train, carry_out
