"""The settings of the dashboard: a row each, and a change of some."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import WithJsonSchema
from typing_extensions import TypedDict

from access.roles import Role, needs

from ..mutations import Changes
from ..queries import Queries
from ..user_files.settings import SETTINGS, Settings, SettingValue
from .answers import Answer

GivenValue = Annotated[
    Any, WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}]})
]  # each row checks its own
Given = Annotated[dict[str, GivenValue], Body(description="by key; what is not named stays as it is")]


class SettingRow(TypedDict):
    key: str
    value: float | str
    default: float | str
    unit: str
    help: str


class SettingList(TypedDict):
    """`trouble` says why all values are defaults although there is a file."""

    settings: list[SettingRow]
    trouble: str


def add_routes(router: APIRouter, queries: Queries) -> None:
    @router.get("/settings", response_model=None, summary="The settings of the dashboard")
    @needs(Role.OWNER)
    def settings() -> Answer[SettingList]:
        return Answer(setting_list(queries.settings()))


def add_changes(router: APIRouter, queries: Queries, changes: Changes) -> None:
    @router.post("/settings", response_model=None, summary="Change some settings")
    @needs(Role.OWNER)
    def change_settings(given: Given) -> Answer[SettingList]:
        return Answer(setting_list(changes.set_settings(given)))


def setting_list(settings: Settings) -> SettingList:
    def row(key: str, default: SettingValue, unit: str, text: str) -> SettingRow:
        return {"key": key, "value": settings.values[key], "default": default, "unit": unit, "help": text}

    return {
        "settings": [row(setting.key, setting.default, setting.unit, setting.help) for setting in SETTINGS],
        "trouble": settings.trouble,
    }
