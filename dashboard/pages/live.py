"""The Live page: `assets/pages/live/page.js` fills it with lanes, flame graph and log."""

from __future__ import annotations

from .page import Page, about_run

PAGE = Page("1", "Live", "/", module="live", early=about_run)
