"""Of lines with secrets of many forms no route of logs gives a viewer a part: no digit as a value, no letter in a template, no place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from access.roles import DETAILS, Role
from access.tokens import Tokens
from collectors.records import LogLine
from collectors.store.engines import open_store
from dashboard.app import make_app
from dashboard.queries import Queries
from deepseek.log.redaction import LEFT_OUT, redacted
from tests.support.other_clients import PROXIED, Asked, ask
from tests.support.serving import served_app

T0 = 1_764_000_000.0
DIGITS, LETTERS = "9021077", "qzjwkx"
MARKS = (DIGITS, LETTERS, "NiJ", "OiJIUz")
FORMS = (  # the first {} is the end of the secret, the second a number that all may see
    "login password=9021077{} ok {}",
    "login passwd: 9021077{}.5 ok {}",
    "login password=-9021077{} ok {}",
    "uses sk-qzjwkxabcdefghij9021077{} in step {}",
    'reads {{"password": "qzjwkx9021077{}"}} step {}',
    "python t.py --api-key qzjwkx9021077{} --step {}",
    "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.qzjwkxghi.zzz9021077{} step {}",
    "fetches https://ada:qzjwkx9021077{}@example.org/x step {}",
    "Überall \U0001f600 token=qzjwkx9021077{} \U0001f600 loss {}",
    "from /home/{} api_key='qzjwkx 9021077' /srv/qzjwkx/b9/data.bin lr {}",
    "x=5 " * 240 + "password=9021077{}qzjwkx {}",
    "y" * 960 + " eyJhbGciOiJIUzI1NiJ9qzjwkx9021077{}qzjwkx.qzjwkxqzjwkx.qzjwkx {}",
)
LINES = 400  # of each form
ODD = range(300, 316)  # lines that have other digits


class LogSite(NamedTuple):
    port: int
    secrets: dict[str, str]

    def ask(self, route: str, by: str = "viewer", **given: Any) -> Any:
        address = f"/api/v1/{route}?{urlencode({name.rstrip('_'): value for name, value in given.items()})}"
        got = ask(self.port, Asked("GET", address, {"Authorization": f"Bearer {self.secrets[by]}", **PROXIED}))
        assert got.status == 200, (address, got.text)
        if by == "viewer":
            assert not [mark for mark in MARKS if mark in got.text], (address, got.text)
        return json.loads(got.text.encode("latin-1"))  # as which `ask` reads it


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LogSite]:
    folder = tmp_path_factory.mktemp("viewer") / "logs"
    writer = open_store(folder, write=True)
    for number, form in enumerate(FORMS):
        texts = [form.format(99999 if at in ODD else at % 3, at) for at in range(LINES)]
        writer.append([LogLine(f"r{number}", "out.log", T0 + at, 20, text) for at, text in enumerate(texts)])
    tokens = Tokens(folder)
    secrets = {"viewer": tokens.new("v", Role.VIEWER, None, {}), "owner": tokens.new("o", Role.OWNER, None, {})}
    secrets["detailed"] = tokens.new("d", Role.VIEWER, None, {"grants": [DETAILS]})
    queries = Queries(open_store(folder, write=False), folder, folder)
    with served_app(make_app(queries)) as web:
        yield LogSite(web.port, secrets)
    queries.close()
    writer.close()


@pytest.mark.parametrize("number", range(len(FORMS)))
def test_no_value_of_a_field_is_of_a_secret(site: LogSite, number: int) -> None:
    run = f"r{number}"
    for template in site.ask("logs/templates", "owner", run=run)["templates"]:
        shown = {row["id"]: row for row in site.ask("logs/templates", run=run)["templates"]}[template["id"]]
        assert LEFT_OUT in shown["text"] and LEFT_OUT in shown["example"] and shown["fields"] <= template["fields"]
        hidden = 0
        for field in range(min(template["fields"], 8)):
            asked = {"run": run, "template": template["id"], "field": field, "limit": 40}
            values, owners = site.ask("logs/field", **asked)["v"], site.ask("logs/field", "owner", **asked)
            assert all(value is None or value == own for value, own in zip(values, owners["v"], strict=True))
            assert site.ask("logs/field", "detailed", **asked) == owners
            hidden += all(value is None for value in values)
        if 0 < template["fields"] <= 8 and hidden < template["fields"]:
            assert shown["fields"] == template["fields"] - hidden and values == owners["v"], (
                "the last number may be seen"
            )


@pytest.mark.parametrize("number", range(len(FORMS)))
def test_places_are_those_of_the_text_that_is_sent(site: LogSite, number: int) -> None:
    run = f"r{number}"
    page, owners = site.ask("logs/lines", run=run, limit=3), site.ask("logs/lines", "owner", run=run, limit=3)
    for row, own in zip(page["lines"], owners["lines"], strict=True):
        opened = site.ask("logs/line", run=run, number=row["number"])
        owns = site.ask("logs/line", "owner", run=run, number=row["number"])
        assert opened["line"]["text"] == row["text"] != own["text"] and len(opened["numbers"]) == len(owns["numbers"])
        for (lo, hi), (from_, to) in zip(opened["numbers"], owns["numbers"], strict=True):
            assert lo == hi or part(row["text"], lo, hi) == part(own["text"], from_, to)
    for given in ({"q": "9021077"}, {"q": "sk-[a-z]+|password.|token|eyJ.*|[0-9]+", "regex": True}):
        for row in site.ask("logs/lines", run=run, limit=5, **given)["lines"]:
            assert all(0 <= lo < hi <= len(row["text"].encode("utf-16-le")) // 2 for lo, hi in row["spans"])
            assert "regex" in given or not row["spans"]


def part(text: str, lo: int, hi: int) -> str:
    return text.encode("utf-16-le")[2 * lo : 2 * hi].decode("utf-16-le")


@pytest.mark.parametrize("number", range(len(FORMS)))
def test_no_other_route_shows_a_part(site: LogSite, number: int) -> None:
    run, text = f"r{number}", FORMS[number].format(1, 5)
    for characters in {*range(1, 80), *range(len(text) - 60, len(text))}:
        site.ask("logs/lines", run=run, limit=1, characters=max(1, characters))
    for route in ("logs", "logs/crash"):
        site.ask(route, run=run)
    site.ask("logs/difference", run=run, from_=T0 + ODD[0] - 0.5, to=T0 + ODD[-1] + 0.5)
    site.ask("logs/templates", run=run, q="9021077", only_hits=True)


def test_a_change_of_a_secrets_digits_is_a_change_for_its_owner_alone(site: LogSite) -> None:
    window = {"run": "r0", "from_": T0 + ODD[0] - 0.5, "to": T0 + ODD[-1] + 0.5}
    assert DIGITS in json.dumps(site.ask("logs/difference", "owner", **window))
    assert not [
        change
        for change in site.ask("logs/difference", **window)["changes"]
        if change["kind"] == "number" and change["field"] == 0
    ]


@pytest.mark.parametrize("form", FORMS)
def test_what_is_left_out_stays_so_the_second_time(form: str) -> None:
    once = redacted(form.format(1, 5))
    assert redacted(once) == once and LEFT_OUT in once
