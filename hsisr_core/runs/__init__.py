"""Runs: settings, folders, plans, workers, results."""

from hsisr_core.runs.config import RunConfig
from hsisr_core.runs.folder import Run, open_run, read_run
from hsisr_core.runs.results import load_results

__all__ = ["Run", "RunConfig", "load_results", "open_run", "read_run"]
