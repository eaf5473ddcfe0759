"""What every wing stands on: folders, files written whole, threads, and how a command ends."""

from hsisr_core.base.console import first_process, run_app, run_command, to_stderr
from hsisr_core.base.documents import printable, read_json, read_text, read_yaml
from hsisr_core.base.files import (
    AnyPath,
    atomic_path,
    atomic_text,
    book_folder,
    cache_folder,
    datasets_folder,
    project_root,
    remove_leftovers,
    runs_folder,
    sha256_file,
    write_json,
)
from hsisr_core.base.processes import cores, thread_count, worker_pool
