"""The Live page: the container that `assets/pages/live/page.js` fills with lanes, flame graph and log."""

from __future__ import annotations

from dash import html

CONTAINER_ID = "live"


def layout() -> html.Div:
    """Empty on purpose: what stands in it changes ten times a second and is drawn by the browser."""
    return html.Div(id=CONTAINER_ID, className="page")
