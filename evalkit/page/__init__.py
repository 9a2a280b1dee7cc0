"""The report: one HTML file to look at and listen to, made from loaded records alone.

Each module of `evalkit.page.sections` is a section of the page: a number `ORDER`, and a function `section(view)` that
gives a `Section`, or None where the records have nothing to say there. Files of `templates` are what sections are
written with, and all of `static` is part of every page.
"""

AUDIO = 8_000_000  # bytes of clips inside of a page, where nothing else is asked for
