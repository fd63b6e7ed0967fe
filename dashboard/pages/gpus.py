"""The GPUs page: the container that `assets/pages/gpus/page.js` fills with the heat strip, a lane a metric, and the processes."""

from __future__ import annotations

from dash import html

CONTAINER_ID = "gpus"


def layout() -> html.Div:
    """Empty on purpose: what stands in it changes ten times a second and is drawn by the browser."""
    return html.Div(id=CONTAINER_ID, className="page")
