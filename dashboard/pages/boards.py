"""The Boards page: charts that users arrange in files. `assets/pages/boards/page.js` draws one of them and edits it."""

from __future__ import annotations

from .page import Page

PAGE = Page("6", "Boards", "/boards", module="boards")
