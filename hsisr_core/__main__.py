"""`python -m hsisr_core` is the `hsisr` command."""

from hsisr_core.cli import main

main()
