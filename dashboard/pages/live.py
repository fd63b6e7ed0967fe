"""The Live page: `assets/pages/live/page.js` fills it with lanes, flame graph and log."""

from __future__ import annotations

from ..opening.early import about_run
from .page import Page

PAGE = Page("1", "Live", "/", module="live", early=about_run)
