"""What a viewer sees of answers: no command lines, other processes, paths, secrets; and every callback of Dash, which only reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from access.hosts import Access
from access.roles import GRANTS, Role
from access.tokens import Tokens
from collectors.records import Points, labels_of
from collectors.store.engines import open_store
from dashboard import visitors
from dashboard.api.answers import encode
from dashboard.app import make_app
from dashboard.queries import Queries
from dashboard.visitors import Visitor
from tests.extra_pages import extra_pages
from tests.other_clients import PROXIED, Asked, ask
from tests.serving import served_app
from tests.test_callbacks import files

HIDDEN = "<left out>"


def seen(value: Any, *grants: str, role: Role = Role.VIEWER) -> Any:
    token = visitors.enter(Visitor(role, grants=frozenset(grants)))
    try:
        return json.loads(encode(value))
    finally:
        visitors.leave(token)


INFO = {
    "run": "group/a",
    "cwd": "/home/ada/job",
    "info": {
        "argv": ["/home/ada/job/train.py", "--lr", "3e-4"],
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


def test_pages_of_a_viewer_ask_again_for_a_series_whatever_it_is_called() -> None:
    rows = [
        {"name": "/train/loss", "unit": "", "label": "x"},
        {"name": "/train/loss", "labels": {}},
        {"name": "/home/ada/x.py"},
    ]
    assert [row["name"] for row in seen(rows)] == ["/train/loss", "/train/loss", "…/x.py"]


def test_a_viewers_mistake_says_where_to_look() -> None:
    for sentence in ("GET /api/v1/runs lists them", "no route; /api/docs lists them"):
        assert seen({"error": sentence})["error"] == sentence
    assert seen({"error": "cannot read /home/api/v1/x.py"})["error"] == "cannot read …/x.py"


def test_a_viewer_sees_neither_argv_nor_paths_nor_secrets() -> None:
    found = seen(INFO)
    text = json.dumps(found, ensure_ascii=False)
    assert not [word for word in ("/home", "ada", "/data", '3e-4"', "abc", "hf_") if word in text]
    assert found["run"] == "group/a" and found["info"]["config"]["lr"] == 3e-4
    assert (
        found["cwd"] == "…/job"
        and found["info"]["argv"] == [HIDDEN]
        and found["trouble"] == "cannot read …/a.log (Permission denied)"
    )


class Field(NamedTuple):
    name: str
    text: str


@dataclass(frozen=True)
class GpuProcess:
    pid: int
    command: str
    user: str


@dataclass(frozen=True)
class Row:
    kind: Any
    argv: tuple[str, ...]
    processes: list[GpuProcess]
    fields: list[Field]
    info: dict[str, Any]


def test_a_viewer_sees_of_a_record_what_they_see_of_the_same_object() -> None:
    fields = [("api_key", "abc"), ("path", "/home/ada/x.py")]
    pair = {"name": "/home/ada/job", "text": "see /home/ada/job/x.py"}
    row = Row(
        Field(**pair), ("a", "--token", "b"), [GpuProcess(1, "train.py", "ada")], [Field(*each) for each in fields], {}
    )
    row.info["secret"] = Field("/home/ada", "hf_abcdefghijklmnopqrstuvwx")
    same = {
        "kind": pair,
        "argv": list(row.argv),
        "processes": [{"pid": 1, "command": "train.py", "user": "ada"}],
        "fields": [{"name": name, "text": text} for name, text in fields],
        "info": {"secret": {"name": "/home/ada", "text": "hf_abcdefghijklmnopqrstuvwx"}},
    }
    assert seen(row) == seen(same) and seen(row, *GRANTS) == seen(same, *GRANTS) and seen(row, role=Role.OWNER) == same
    assert not [word for word in ("/home", "ada", "abc", "hf_") if word in json.dumps(seen(row))]


def test_rows_below_a_name_are_looked_into() -> None:
    found = seen({"type": "state", "runs": [INFO], "runs_total": 1})
    assert found["runs"] == [seen(INFO)] and "/home" not in json.dumps(found)


def test_a_comparison_says_that_commands_differ_and_not_how() -> None:
    rows = [
        {
            "section": "command",
            "key": "command",
            "values": ["train.py --lr 1", "train.py --lr 2", None],
            "odd": [True, False, False],
            "differs": True,
        },
        {"section": "config", "key": "api_key", "values": ["abc", "def"], "odd": [True, False], "differs": True},
        {"section": "config", "key": "lr", "values": [1, "2e-4"], "odd": [True, False], "differs": True},
    ]
    values = [row["values"] for row in seen({"differences": rows})["differences"]]
    assert values == [[HIDDEN, HIDDEN, None], [HIDDEN, HIDDEN], [1, "2e-4"]]


def test_what_is_granted_is_seen_and_the_owner_sees_all() -> None:
    assert seen(INFO, "details") == INFO and seen(INFO, role=Role.OWNER) == INFO
    assert seen(INFO, "source", "exports") == seen(INFO)


def test_a_viewer_sees_no_process_of_the_machine() -> None:
    gpus = {
        "gpus": [{"index": 0, "processes": [{"pid": 1, "command": "python x.py", "user": "ada", "name": "python"}]}],
        "processes": 3,
    }
    assert seen({"state": gpus})["state"]["gpus"][0]["processes"] == [] and seen(gpus)["processes"] == 3
    assert seen(gpus, "processes") == gpus


def test_names_by_which_a_page_asks_again_and_numbers_stay() -> None:
    value = {
        "runs": ["/abs/path/run", "token=5"],
        "series": [
            {"name": "train/loss", "unit": "1/s", "labels": {"host": "box"}, "t": np.arange(5.0), "mean": [1.0, "NaN"]}
        ],
        "board": {"charts": [{"expression": "rate(a) /b/c"}]},
        "frames": [{"name": "main", "file": "/home/ada/job/train.py", "line": 3}],
        "address": "/own/page?run=a",
    }
    found = seen(value)
    assert found["runs"] == value["runs"] and found["board"] == value["board"] and found["address"] == value["address"]
    assert found["series"][0]["t"] == [0, 1, 2, 3, 4] and found["series"][0]["name"] == "train/loss"
    assert found["frames"][0] == {"name": "main", "file": "…/train.py", "line": 3}


@pytest.mark.parametrize(
    "text", ["loss 0.5 at step 7", "see http://host/a/b/c", "3/4 of 5/6", "tokens/s", "a / b / c", "…"]
)
def test_plain_text_stays(text: str) -> None:
    assert seen({"text": text}) == {"text": text}


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
    assert seen({"text": text}) == {"text": shown}


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
    owners = viewed.app.state.dash.owners_callbacks
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


def test_a_view_is_shared_listed_and_revoked(viewed: Viewed) -> None:
    made = viewed.ask("/api/v1/share", "POST", {"address": "/flame?run=a&from=1&to=2", "days": 1}, by="owner")
    answer = json.loads(made.text)
    assert made.status == 200 and answer["link"].startswith(f"http://127.0.0.1:{viewed.port}/login#token=dsk_")
    assert answer["link"].endswith("&next=%2Fflame%3Frun%3Da%26from%3D1%26to%3D2") and "ssh -L" in answer["note"]
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
