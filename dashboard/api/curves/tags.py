"""The names of the series of several runs."""

from __future__ import annotations

from fastapi import APIRouter
from typing_extensions import TypedDict

from collectors import catalog
from collectors.analysis.directions import direction_of

from ...auth.roles import Role, needs
from ...curves.asked import SharedTag
from ...queries import Queries
from ...user_files.directions import Direction
from ..answer import Answer
from ..parameters import RunNames


class TagRow(TypedDict):
    """`points` of all runs together, `runs` that have it, `ranks` of the run that has the most, `direction`: which values are better.

    `progress`: it only counts how far a run is whose text was read, which the axis shows.
    """

    name: str
    unit: str
    label: str
    points: int
    runs: int
    ranks: int
    direction: Direction | None
    progress: bool


class TagList(TypedDict):
    tags: list[TagRow]


def add_routes(router: APIRouter, queries: Queries) -> None:
    @router.get("/tags", response_model=None, summary="The series that any of these runs has, by name")
    @needs(Role.VIEWER)
    def tags(run: RunNames) -> Answer[TagList]:
        chosen = queries.directions()
        return Answer({"tags": [tag_row(tag, direction_of(tag.name, chosen)) for tag in queries.overlays.tags(run)]})


def tag_row(tag: SharedTag, direction: Direction | None) -> TagRow:
    return {
        "name": tag.name,
        "unit": catalog.unit_of(tag.name),
        "label": catalog.label_of(tag.name),
        "points": tag.points,
        "runs": tag.runs,
        "ranks": tag.ranks,
        "direction": direction,
        "progress": tag.progress,
    }
