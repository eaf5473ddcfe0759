"""The door for chapters: `open_chapter` is the first call of each."""

from hsisr_core.book import chapter_parameters, open_chapter

__all__ = ["chapter_parameters", "open_chapter"]
