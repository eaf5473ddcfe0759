"""The door for chapters: `open_chapter` is the first call of each, `show_source` prints code under an equation."""

import inspect
from typing import Any

from hsisr_core.book import chapter_parameters, open_chapter


def show_source(*objects: Any) -> Any:
    """The source of functions and classes as it stands in the package, as a block of Python on the page."""
    from IPython.display import Markdown

    return Markdown("```python\n" + "\n\n".join(inspect.getsource(item) for item in objects) + "```")
