"""Pages that only tests have: the files of `tests/programs/pages/` as if they stood in `dashboard/pages/`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dashboard.pages

FOLDER = Path(__file__).parents[1] / "programs" / "pages"


@contextmanager
def extra_pages() -> Iterator[None]:
    """While the application is made, and as long as it is asked."""
    dashboard.pages.__path__.append(str(FOLDER))
    dashboard.pages.pages.cache_clear()
    try:
        yield
    finally:
        dashboard.pages.__path__.remove(str(FOLDER))
        dashboard.pages.pages.cache_clear()
        for path in FOLDER.glob("*.py"):
            sys.modules.pop(f"dashboard.pages.{path.stem}", None)
