"""The chapters: their parameters, their execution, the pages."""

from hsisr_core.book.chapter import chapter_parameters, open_chapter

__all__ = ["chapter_parameters", "open_chapter"]
