"""The Flame page: the container that `assets/pages/flame/page.js` fills with a window's stacks in time order and as a tree."""

from __future__ import annotations

from dash import html

CONTAINER_ID = "flame"


def layout() -> html.Div:
    """Empty on purpose: it is redrawn while a window is dragged, by the browser."""
    return html.Div(id=CONTAINER_ID, className="page")
