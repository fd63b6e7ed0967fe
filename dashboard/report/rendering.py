"""Findings as one HTML file of at most a megabyte: in less detail where it would be larger.

Jinja2 writes it, with everything escaped (`docs/decisions/0244`): no text of a run becomes markup.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .findings import Findings
from .page import page_of
from .texts import visible

MOST_BYTES = 1_000_000
TEMPLATES = Path(__file__).parent / "templates"


class Detail(NamedTuple):
    """How much of each part is drawn."""

    boxes: int  # of the flame graph
    plots: int
    lines: int  # of a plot
    places: int  # of a line
    blocks: int  # of the ledger's lane
    rows: int  # of a table
    characters: int  # of a text


DETAILS = (
    Detail(boxes=1200, plots=12, lines=8, places=200, blocks=160, rows=40, characters=300),
    Detail(boxes=600, plots=8, lines=6, places=120, blocks=120, rows=30, characters=200),
    Detail(boxes=200, plots=6, lines=4, places=80, blocks=60, rows=20, characters=120),
    Detail(boxes=50, plots=4, lines=2, places=40, blocks=30, rows=10, characters=60),
)


def html_of(findings: Findings) -> bytes:
    """UTF-8, whole."""
    found = b""
    for detail in DETAILS:
        found = _written(findings, detail)
        if len(found) <= MOST_BYTES:
            break
    return found


def _written(findings: Findings, detail: Detail) -> bytes:
    return _environment().get_template("page.html").render(page=page_of(findings, detail)).encode()


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finished,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _finished(value: Any) -> Any:
    """Whatever is written has no character that cannot be seen or stored."""
    return visible(value) if type(value) is str else value
