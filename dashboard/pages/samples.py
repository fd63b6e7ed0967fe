"""The Samples page: `assets/pages/samples/page.js` fills it with what a run, or two, logged to be looked at, and with its checkpoints."""

from __future__ import annotations

from .page import Page

PAGE = Page("v", "Samples", "/samples", module="samples")
