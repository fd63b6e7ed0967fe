"""Forgotten runs: which there are, how one becomes forgotten, and how it is taken back."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from typing_extensions import TypedDict

from access.roles import Role, needs

from ..mutations import Changes
from ..queries import Queries
from ..user_files.forgotten import ForgottenRun
from .answers import Answer
from .parameters import RunInPath
from .runs import AboutRow, about_row


class ForgottenRow(TypedDict):
    """`remove` is the line of a shell that removes its files, "" where it would be too long."""

    run: str
    forgotten_s: float
    files: int
    size_bytes: int
    remove: str
    about: AboutRow


class ForgottenList(TypedDict):
    forgotten: list[ForgottenRow]


class TakenBack(TypedDict):
    run: str


class Nothing(BaseModel):
    """No fields."""

    model_config = ConfigDict(extra="forbid")


def add_routes(router: APIRouter, queries: Queries) -> None:
    @router.get(
        "/forgotten", response_model=None, summary="Forgotten runs, the newest first, and how to remove their files"
    )
    @needs(Role.OWNER)
    def forgotten() -> Answer[ForgottenList]:
        return Answer({"forgotten": [forgotten_row(found) for found in queries.forgotten()]})


def add_changes(router: APIRouter, queries: Queries, changes: Changes) -> None:
    @router.post(
        "/runs/{run:any}/forget",
        response_model=None,
        summary="Remove a run that has ended from the dashboard; its files stay",
    )
    @needs(Role.OWNER)
    def forget(run: RunInPath, given: Nothing) -> Answer[ForgottenRow]:
        return Answer(forgotten_row(changes.forget(run)))

    @router.post("/runs/{run:any}/take_back", response_model=None, summary="Read the files of a forgotten run again")
    @needs(Role.OWNER)
    def take_back(run: RunInPath, given: Nothing) -> Answer[TakenBack]:
        changes.take_back(run)
        return Answer({"run": run})


def forgotten_row(found: ForgottenRun) -> ForgottenRow:
    return {
        "run": found.run,
        "forgotten_s": found.forgotten_s,
        "files": found.files,
        "size_bytes": found.size_bytes,
        "remove": found.remove,
        "about": about_row(found.about),
    }
