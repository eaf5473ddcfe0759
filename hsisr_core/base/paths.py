"""Moved to `hsisr_core.base.files`."""

from hsisr_core.base.files import book_folder, cache_folder, datasets_folder, project_root, runs_folder

__all__ = ["book_folder", "cache_folder", "datasets_folder", "project_root", "runs_folder"]
