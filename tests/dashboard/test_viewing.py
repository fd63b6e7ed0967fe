"""What a viewer sees of answers: no command lines, other processes, paths, secrets; and every callback of Dash, which only reads."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pytest
from fastapi import APIRouter
from numpy.typing import NDArray
from typing_extensions import TypedDict

from access.hosts import Access
from access.roles import GRANTS, Role, needs
from access.tokens import Tokens
from collectors.records import OfProcess, Points, Privacy, Private, Public, Searched, UserFields, labels_of
from collectors.store.engines import open_store
from dashboard import visitors
from dashboard.address import publish
from dashboard.api.answers import Answer, AnswerRoute, ErrorAnswer, encode
from dashboard.app import make_app
from dashboard.queries import Queries
from dashboard.viewing import UntypedText
from dashboard.visitors import Visitor
from tests.dashboard.test_callbacks import files
from tests.support.extra_pages import extra_pages
from tests.support.other_clients import PROXIED, Asked, ask
from tests.support.serving import served_app

HIDDEN = "<left out>"


def seen(value: Any, shape: Any, *grants: str, role: Role = Role.VIEWER) -> Any:
    token = visitors.enter(Visitor(role, grants=frozenset(grants)))
    try:
        return json.loads(encode(value, shape))
    finally:
        visitors.leave(token)


class Process(TypedDict):
    pid: int
    command: OfProcess
    user: OfProcess


class Machine(TypedDict):
    gpu: Public
    processes: Annotated[list[Process], Privacy.PROCESS]


class Described(TypedDict):
    run: Public
    cwd: Searched
    unmarked: str
    secret: Private
    info: UserFields
    trouble: Searched | None


class Field(NamedTuple):
    name: Public
    text: Searched
    value: float | Literal["NaN"] = 0.5


@dataclass(frozen=True)
class Line:
    field: Field
    fields: tuple[Field, ...]
    by_name: dict[Searched, Field]
    pair: tuple[int, Searched]
    times: NDArray[np.float64]
    _own: str = ""


RUN: Described = {
    "run": "/group/a",
    "cwd": "/home/ada/job",
    "unmarked": "kept to ourselves",
    "secret": "",
    "info": {
        "argv": ["/home/ada/job/train.py", "--lr", "3e-4"],
        "launched": {"env": {"HOME": "/home/ada"}, "times": 3},
        "config": {
            "lr": 3e-4,
            "data": "/data/secret/imagenet",
            "api_key": "abc",
            "note": "see hf_abcdefghijklmnopqrstuvwx",
        },
        "user": "ada",
    },
    "trouble": "cannot read /home/ada/job/logs/a.log (Permission denied)",
}


def test_a_viewer_gets_of_each_field_what_its_type_says() -> None:
    found = seen(RUN, Described)
    text = json.dumps(found, ensure_ascii=False)
    assert not [word for word in ("/home", "ada", "/data", '3e-4"', "abc", "hf_", "ourselves") if word in text]
    assert (
        found["run"] == "/group/a" and found["cwd"] == "…/job" and found["unmarked"] == HIDDEN and not found["secret"]
    )
    assert found["info"]["argv"] == [HIDDEN] and found["info"]["launched"] == {"env": HIDDEN, "times": 3}
    assert found["info"]["config"]["lr"] == 3e-4 and found["trouble"] == "cannot read …/a.log (Permission denied)"


def test_what_is_granted_is_seen_and_the_owner_sees_all() -> None:
    assert seen(RUN, Described, "details") == RUN and seen(RUN, Described, role=Role.OWNER) == RUN
    assert seen(RUN, Described, "source", "exports") == seen(RUN, Described)


def test_what_a_type_does_not_declare_is_left_out() -> None:
    assert seen({**RUN, "more": "text"}, Described) == seen(RUN, Described)
    assert seen({**RUN, "more": "at /home/ada/x"}, Annotated[Described, Privacy.OPEN])["more"] == "at …/x"
    assert seen([{**RUN, "argv": ["a"]}], list[Annotated[Described, Privacy.OPEN]])[0]["argv"] == [HIDDEN]


def test_records_are_seen_field_by_field_wherever_they_stand() -> None:
    field = Field("/train/loss", "reads /home/ada/x.py", math.nan)
    line = Line(field, (field, field), {"/home/ada/y": field}, (3, "/home/ada/z"), np.arange(3.0), "own")
    shown = {"name": "/train/loss", "text": "reads …/x.py", "value": None}
    found = {"field": shown, "fields": [shown] * 2, "by_name": {"…/y": shown}, "pair": [3, "…/z"], "times": [0, 1, 2]}
    assert seen(line, Line) == found and seen([line], list[Line]) == [found]


def test_a_viewer_sees_no_process_of_the_machine() -> None:
    machine: Machine = {"gpu": "0", "processes": [{"pid": 1, "command": "python x.py", "user": "ada"}]}
    assert seen(machine, Machine) == seen(machine, Machine, "details") == {"gpu": "0", "processes": []}
    assert seen(machine, Machine, "processes") == machine


@pytest.mark.parametrize(
    "shape", [Any, list[Any], dict[Public, Any], TypedDict("Odd", {"a": Any}), bytes, object, set[str]], ids=str
)
def test_a_type_that_does_not_say_what_viewers_get_is_refused_when_the_routes_are_made(shape: Any) -> None:
    def answer() -> Any:
        return Answer({})

    answer.__annotations__["return"] = Answer[shape]
    router = APIRouter(route_class=AnswerRoute)
    router.get("/owners", response_model=None)(answer)
    with pytest.raises(UntypedText):
        router.get("/viewers", response_model=None)(needs(Role.VIEWER)(answer))


def test_a_viewers_mistake_says_where_to_look() -> None:
    for sentence in ("GET /api/v1/runs lists them", "no route; /api/docs lists them"):
        assert seen({"error": sentence}, ErrorAnswer)["error"] == sentence
    assert seen({"error": "cannot read /home/api/v1/x.py"}, ErrorAnswer)["error"] == "cannot read …/x.py"


@pytest.mark.parametrize(
    "text", ["loss 0.5 at step 7", "see http://host/a/b/c", "3/4 of 5/6", "tokens/s", "a / b / c", "…"]
)
def test_plain_text_stays(text: str) -> None:
    assert seen(text, Searched) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot read '/home/ada/my project/new data/x.py'", "cannot read '…/x.py'"),
        ('open("/mnt/a b/c, d/e f.pt")', 'open("…/e f.pt")'),
        ("see file:///home/ada/x%20y/z.html", "see file://…/z.html"),
        ("GET '/api/v1/runs' of '/home/ada/x'", "GET '/api/v1/runs' of '…/x'"),
        ("the user's /home/ada/x and '/ is not closed", "the user's …/x and '/ is not closed"),
    ],
)
def test_folders_with_spaces_and_of_addresses_are_left_out(text: str, shown: str) -> None:
    assert seen(text, Searched) == shown


class Viewed:
    def __init__(self, port: int, folder: Path, app: Any, secrets: dict[str, str]) -> None:
        self.port, self.folder, self.app, self.secrets = port, folder, app, secrets

    def ask(self, path: str, method: str = "GET", body: Any = None, by: str = "viewer") -> Any:
        headers = {
            "Authorization": f"Bearer {self.secrets[by]}",
            **PROXIED,
            **({"Content-Type": "application/json"} if body is not None else {}),
        }
        return ask(self.port, Asked(method, path, headers, None if body is None else json.dumps(body)))


@pytest.fixture(scope="module")
def viewed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewed]:
    folder = tmp_path_factory.mktemp("viewed")
    writer = open_store(folder, write=True)
    writer.append(
        [Points("a", labels_of(host="box"), ("train/loss",), (1.0,), 1_764_000_000.0 + step, step) for step in range(9)]
    )
    writer.close()
    tokens = Tokens(folder)
    secrets = {"viewer": tokens.new("v", Role.VIEWER, None, {}), "owner": tokens.new("o", Role.OWNER, None, {})}
    secrets["granted"] = tokens.new("g", Role.VIEWER, None, {"grants": list(GRANTS)})
    queries = Queries(open_store(folder, write=False), folder, folder)
    with extra_pages():
        app = make_app(queries, Access(hosts=("colleague.example",)))
        with served_app(app) as web:
            yield Viewed(web.port, folder, app, secrets)
    queries.close()


def test_every_callback_as_viewer_reads_and_changes_nothing(viewed: Viewed) -> None:
    viewed.ask("/api/v1/runs")  # readers of the store leave files beside it
    before = files(viewed.folder)
    callbacks = {output: known for output, known in viewed.app.state.dash.callback_map.items() if "callback" in known}
    owners = viewed.app.state.owners_callbacks
    assert (
        len(callbacks) > 5
        and any("alerts" in output for output in owners)
        and any("settings" in output for output in owners)
    )
    for output, known in callbacks.items():
        one = not output.startswith("..")
        names = output.strip(".").split("...")
        outputs = [{"id": name.rpartition(".")[0], "property": name.rpartition(".")[2]} for name in names]
        body = {
            "output": output,
            "outputs": outputs[0] if one else outputs,
            "inputs": [{**each, "value": None} for each in known["inputs"]],
            "state": [{**each, "value": None} for each in known["state"]],
            "changedPropIds": [],
        }
        got = viewed.ask("/_dash-update-component", "POST", body)
        if output in owners:
            assert got.status == 403 and viewed.ask("/_dash-update-component", "POST", body, by="owner").status in (
                200,
                204,
            ), output
        else:
            assert got.status in (200, 204, 400), (output, got)
        assert str(viewed.folder) not in got.text, output
    after = files(viewed.folder)
    assert {name: after[name] for name in before} == before and all(
        "sqlite" in name for name in set(after) - set(before)
    )


def test_pages_of_the_owner_say_so_and_are_not_listed(viewed: Viewed) -> None:
    for path in ("/settings", "/alerts"):
        got = viewed.ask(path)
        assert got.status == 403 and "owner" in got.text
    page = viewed.ask("/").text
    assert 'data-role="viewer"' in page and 'href="/settings"' not in page and 'href="/flame"' in page
    assert 'data-role="owner"' in viewed.ask("/", by="owner").text


def test_what_is_granted_is_allowed(viewed: Viewed) -> None:
    for path in (
        "/api/v1/source?run=a&file=x.py",
        "/api/v1/export?run=a&expr=train/loss",
        "/api/v1/processes",
        "/api/v1/table?format=csv",
        "/api/v1/diff?run=a",
    ):
        refused = viewed.ask(path)
        assert refused.status == 403 and "--grant" in json.loads(refused.text)["error"], path
        assert viewed.ask(path, by="granted").status in (200, 404), path


def test_a_report_for_a_viewer_keeps_nothing(viewed: Viewed) -> None:
    path = "/api/v1/report?run=a&from=1764000000&to=1764000008"
    assert viewed.ask(path, by="granted").status == 200 and not (viewed.folder / "kept.jsonl").exists()
    assert viewed.ask(path, by="owner").status == 200 and (viewed.folder / "kept.jsonl").exists()


def test_a_dashboard_that_others_reach_shares_the_address_that_they_open(viewed: Viewed) -> None:
    with publish(viewed.folder, f"http://127.0.0.1:{viewed.port}", f"http://box:{viewed.port}"):
        place = json.loads(viewed.ask("/api/v1/share", by="owner").text)
        made = json.loads(viewed.ask("/api/v1/share", "POST", {"address": "/runs", "days": 1}, by="owner").text)
    assert place["others"] and not place["ways"] and f"Anyone who can reach box:{viewed.port}" in place["text"], place
    assert made["link"].startswith(f"http://box:{viewed.port}/login#token=dsk_") and made["note"] == ""


def test_a_view_is_shared_listed_and_revoked(viewed: Viewed) -> None:
    place = json.loads(viewed.ask("/api/v1/share", by="owner").text)
    assert not place["others"] and "Nobody else can open this link" in place["text"], place
    assert [way["command"].partition(" ")[0] for way in place["ways"]] == ["ssh", "--host"]
    made = viewed.ask("/api/v1/share", "POST", {"address": "/flame?run=a&from=1&to=2", "days": 1}, by="owner")
    answer = json.loads(made.text)
    assert made.status == 200 and answer["link"].startswith(f"http://127.0.0.1:{viewed.port}/login#token=dsk_")
    assert answer["link"].endswith("&next=%2Fflame%3Frun%3Da%26from%3D1%26to%3D2") and "ssh -N -L" in answer["note"]
    listed = json.loads(viewed.ask("/api/v1/tokens", by="owner").text)["tokens"]
    row = next(row for row in listed if row["name"] == answer["name"])
    assert row["view"] == "/flame?run=a&from=1&to=2" and row["role"] == "viewer" and "dsk_" not in json.dumps(listed)
    viewed.secrets["shared"] = answer["link"].split("token=")[1].split("&")[0]
    assert viewed.ask("/api/v1/runs", by="shared").status == 200
    assert viewed.ask("/api/v1/share", "POST", {"address": "/"}, by="shared").status == 403
    assert viewed.ask("/api/v1/tokens/revoke", "POST", {"name": answer["name"]}, by="owner").status == 200
    assert viewed.ask("/api/v1/runs", by="shared").status == 401
    for body in (
        {"address": "//evil.example"},
        {"address": "http://evil.example/"},
        {"address": "/", "days": 365},
        {"address": "/", "grants": ["all"]},
    ):
        assert viewed.ask("/api/v1/share", "POST", body, by="owner").status == 400
