"""The GPUs page: `assets/pages/gpus/page.js` fills it with the heat strip, a lane per metric, and the processes."""

from __future__ import annotations

from ..opening.early import question
from .page import Page

PAGE = Page("2", "GPUs", "/gpus", module="gpus", early=lambda _: (question(noun) for noun in ("processes", "gpus", "series")))
