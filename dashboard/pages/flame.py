"""The Flame page: `assets/pages/flame/page.js` fills it with a window's stacks in time order and as a tree."""

from __future__ import annotations

from .page import Page, about_run

PAGE = Page("4", "Flame", "/flame", module="flame", early=about_run)
