"""The `hsisr` command."""

from hsisr_core.cli.commands import main
