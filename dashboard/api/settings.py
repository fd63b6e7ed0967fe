"""The settings of the dashboard, its tokens, and links that share a view."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Body, Request
from pydantic import BaseModel, ConfigDict, Field, StrictStr, WithJsonSchema
from typing_extensions import TypedDict

from access.hosts import is_loopback
from access.roles import Role, needs
from access.tokens import GRANTS_SCOPE, RUNS, VIEW, Credential, DamagedTokens, TokenError, Tokens, free_name

from ..address import port_of, public_of
from ..auth import link_of, safe_path
from ..mutations import Changes
from ..network import path_to
from ..queries import BadRequest, NotFound, Queries
from ..user_files.settings import SETTINGS, Settings, SettingValue
from .answers import Answer
from .parameters import MAX_CHARACTERS

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


# Who may come in: the tokens of this dashboard, links that share a view, and their end.

DAY_S = 86400.0
SHARED = "view"  # names of links: view, view-2, ...


class TokenRow(TypedDict):
    """Never its secret. `browsers` are logged in with it; `view` is the address that a link leads to."""

    name: str
    role: str
    kind: str
    created_s: float
    expires_s: float | None
    grants: list[str]
    runs: str
    view: str
    browsers: int


class TokenList(TypedDict):
    """`trouble` says why no token is taken."""

    tokens: list[TokenRow]
    trouble: str


class ShareWay(TypedDict):
    """What a command does for whoever may open the link."""

    text: str
    command: str


class SharePlace(TypedDict):
    """Who can open a link: `others` is whether any but this machine can reach `address`; `text` says it, `ways` change it."""

    address: str
    others: bool
    text: str
    ways: list[ShareWay]


class ShareAnswer(TypedDict):
    """`link` is shown once. `note` says what its holder needs besides, "" for nothing."""

    name: str
    link: str
    expires_s: float
    note: str


class NewShare(BaseModel):
    """`address` is the view's: path and query."""

    model_config = ConfigDict(extra="forbid")

    address: StrictStr = Field(max_length=MAX_CHARACTERS)
    days: Literal[1, 7, 30] = 7
    grants: list[Literal["source", "exports", "processes", "details"]] = []


class RevokedToken(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: StrictStr = Field(max_length=MAX_CHARACTERS)


ONLY_HERE = "Nobody else can open this link: the dashboard listens on this machine only."
TUNNEL = "Somebody with an account on {host} can run this first:"
LISTEN = "Or start the dashboard with this option, and everybody on the network who has a link can open it. Behind a proxy, name its host with --allow-host."
OTHERS = "Anyone who can reach {place} and has the link can open it until it expires."


def share_place(request: Request, data_dir: Path) -> SharePlace:
    """Where others reach this dashboard: as this browser does, else under the address that it has for other machines."""
    here = request.headers.get("origin") or f"{request.url.scheme}://{request.url.netloc}"
    for address in (here, _origin_of(public_of(data_dir) or "")):
        name = urlsplit(address).hostname or ""
        if name and not is_loopback(name):
            return {
                "address": address,
                "others": True,
                "text": OTHERS.format(place=urlsplit(address).netloc),
                "ways": [],
            }
    host, port = socket.gethostname(), port_of(data_dir) or urlsplit(here).port or 80
    mine = urlsplit(here).port or port
    tunnel: ShareWay = {"text": TUNNEL.format(host=host), "command": f"ssh -N -L {mine}:127.0.0.1:{port} {host}"}
    return {
        "address": here,
        "others": False,
        "text": ONLY_HERE,
        "ways": [tunnel, {"text": LISTEN, "command": "--host 0.0.0.0"}],
    }


def _origin_of(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


def add_routes(router: APIRouter, queries: Queries, tokens: Tokens) -> None:
    @router.get("/settings", response_model=None, summary="The settings of the dashboard")
    @needs(Role.OWNER)
    def settings() -> Answer[SettingList]:
        return Answer(setting_list(queries.settings()))

    @router.get("/tokens", response_model=None, summary="The tokens, without their secrets")
    @needs(Role.OWNER)
    def listed() -> Answer[TokenList]:
        return Answer(token_list(tokens))

    @router.post("/tokens/revoke", response_model=None, summary="End a token, and what is open with it")
    @needs(Role.OWNER)
    def revoke(given: RevokedToken) -> Answer[TokenList]:
        try:
            tokens.revoke(given.name)
        except TokenError as error:
            raise NotFound(str(error)) from None
        except DamagedTokens as error:
            raise BadRequest(str(error)) from None
        return Answer(token_list(tokens))

    @router.get("/share", response_model=None, summary="Who can open a link to this dashboard")
    @needs(Role.OWNER)
    def place_of_links(request: Request) -> Answer[SharePlace]:
        return Answer(share_place(request, queries.data_dir))

    @router.post("/share", response_model=None, summary="A link by which others see this view, and look around")
    @needs(Role.OWNER)
    def share(request: Request, given: NewShare) -> Answer[ShareAnswer]:
        address = safe_path(given.address)
        if address != given.address:
            raise BadRequest("address is the path and query of a page, such as /flame?run=a")
        expires_s = time.time() + given.days * DAY_S
        scopes: dict[str, Any] = {VIEW: address, **({GRANTS_SCOPE: list(given.grants)} if given.grants else {})}
        try:
            name = free_name(SHARED, [each.name for each in tokens.all()])
            secret = tokens.new(name, Role.VIEWER, expires_s, scopes)
        except (DamagedTokens, TokenError) as error:
            raise BadRequest(str(error)) from None
        place = share_place(request, queries.data_dir)
        link = link_of(f"{place['address']}{path_to('/')}", secret, address)
        note = (
            ""
            if place["others"]
            else " ".join([place["text"], *(f"{way['text']} {way['command']}" for way in place["ways"])])
        )
        return Answer({"name": name, "link": link, "expires_s": expires_s, "note": note})


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


def token_list(tokens: Tokens) -> TokenList:
    try:
        found = tokens.all()
    except DamagedTokens as error:
        return {"tokens": [], "trouble": str(error)}
    return {"tokens": [token_row(each, found) for each in found if not each.of], "trouble": ""}


def token_row(credential: Credential, others: list[Credential]) -> TokenRow:
    return {
        "name": credential.name,
        "role": credential.role,
        "kind": credential.kind,
        "created_s": credential.created_s,
        "expires_s": credential.expires_s,
        "grants": list(credential.scopes.get(GRANTS_SCOPE, [])),
        "runs": str(credential.scopes.get(RUNS, "")),
        "view": str(credential.scopes.get(VIEW, "")),
        "browsers": sum(other.of == credential.name for other in others),
    }
