"""Texts of source files: what is kept of a run, and which is the newest."""

from __future__ import annotations

from collections.abc import Iterable

from collectors.records import (
    SourceText,
)

MAX_SOURCE_BYTES = 20_000_000
USED_UP = "The 20 MB of source text that are kept for a run were used up by other files."


def newest(texts: Iterable[SourceText], path: str) -> SourceText | None:
    """`texts`: of one run, in order of arrival."""
    kept: dict[str, int] = {}
    found: list[SourceText] = []
    for text in texts:
        if text.sha and text.sha not in kept and sum(kept.values()) + len(text.text.encode()) > MAX_SOURCE_BYTES:
            text = text._replace(sha="", text="", why=USED_UP)
        if text.sha:
            kept[text.sha] = len(text.text.encode())
        if text.path == path:
            found.append(text)
    newest = [text for text in found if text.since_s > max(other.since_s for other in found) - 1.0]
    return next((text for text in newest if text.sha), newest[0] if newest else None)
