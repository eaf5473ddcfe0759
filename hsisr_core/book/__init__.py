"""The chapters: their parameters, their execution, the pages."""

from hsisr_core.book.chapter import Chapter, chapter_parameters, open_chapter
from hsisr_core.book.execute import BookError, execute_chapters
from hsisr_core.book.pages import book_pages, build_book, build_pages, keep_figures, train_shown
