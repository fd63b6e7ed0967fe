"""A dashboard with a token of each role, asked by clients that are not its own user."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from access.hosts import Access
from access.roles import Role
from access.tokens import Tokens
from collectors.records import Points, labels_of
from collectors.store.engines import open_store
from dashboard.app import NEEDS_OF_OTHERS, make_app
from dashboard.auth import KnownRoute, routes_of
from dashboard.queries import Queries
from tests.support.other_clients import NOBODY, PROXIED, Asked, Got, ask_elsewhere, ask_whole
from tests.support.serving import served_app

T0 = 1_764_000_000.0


class House(NamedTuple):
    port: int
    data_dir: Path
    tokens: Tokens
    secrets: dict[str, str]  # by role, a token each
    routes: list[KnownRoute]
    app: Any


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("auth")
    writer = open_store(folder, write=True)
    writer.append([Points("a", labels_of(host="box"), ("train/loss",), (1.0,), T0 + step, step) for step in range(9)])
    writer.close()
    tokens = Tokens(folder)
    roles = {role.value: tokens.new(f"the-{role}", role, None, {}) for role in (Role.OWNER, Role.VIEWER)}
    roles["writer"] = tokens.new("the-writer", Role.WRITER, None, {"runs": "team/"})
    queries = Queries(open_store(folder, write=False), folder, folder)
    app = make_app(queries, Access("0.0.0.0", hosts=("proxy.example",)))
    with served_app(app, "0.0.0.0") as web:
        yield House(web.port, folder, tokens, roles, routes_of(app, NEEDS_OF_OTHERS), app)
    queries.close()


def with_headers(asked: Asked, **headers: str) -> Asked:
    return asked._replace(
        headers={**asked.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
    )


def bearer(house: House, role: str) -> str:
    return f"Bearer {house.secrets[role]}"


def as_other_user(house: House, asked: list[Asked]) -> list[Got]:
    if os.geteuid() != 0:
        pytest.skip("only root may become another user")
    return ask_elsewhere(house.port, asked, uid=NOBODY)


def log_in(house: House, text: str, **fields: str) -> tuple[Got, dict[str, str]]:
    """The answer and its headers."""
    headers = {"Content-Type": "application/x-www-form-urlencoded", **PROXIED}
    return ask_whole(house.port, Asked("POST", "/login", headers, urlencode({"token": text, **fields})))
