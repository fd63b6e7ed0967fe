"""What people say of a finding: it is to be sent, or it is of no use; and a case that was kept can be judged again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.config import is_of, settings_of
from collectors.records import Event, Finding, Points, labels_of
from collectors.store.engines import open_store
from dashboard.queries import Queries
from dashboard.user_files.alerts import opted_in
from tests.support.healthy_recordings import by_second, read_case
from tests.support.judged import T0, JudgedRuns
from tests.support.serving import Web, served

HOST = labels_of(host="box")


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    writer = open_store(tmp_path, write=True)
    loss = [
        Points("a", HOST, ("train/loss",), (math.nan if step >= 300 else 1 + step % 7 / 50,), T0 + step, step)
        for step in range(330)
    ]
    machine = [
        Points(None, HOST, ("host/memory_used_bytes",), (1e9,), T0 + second, None) for second in range(0, 330, 10)
    ]
    found = Finding("nan-1", "a", "nan", "note", T0 + 300, T0 + 300, True, "train/loss is NaN at step 300.", 0, 300)
    writer.append([*loss, *machine, Event("a", "checkpoint", T0 + 200, seconds=1.0), found])
    queries = Queries(open_store(tmp_path, write=False), tmp_path, tmp_path)
    with served(queries) as web:
        yield web
    queries.close()
    writer.close()


def test_what_was_of_no_use_can_be_judged_again(web: Web, tmp_path: Path) -> None:
    answer = web.ask("/api/v1/findings/useless", "POST", orjson.dumps({"id": "nan-1"}))
    assert answer.status == 200 and answer.json == {"file": "cases/nan-1.json.gz"}
    case = read_case(tmp_path / answer.json["file"])
    assert case.name == "a" and len(case.series) == 2 and [event.kind for event in case.events] == ["checkpoint"]
    judged = JudgedRuns(open_store(tmp_path / "again", write=True), stored=False)
    judged.begin("a")
    seconds = by_second(case, T0)
    judged.go_on(case.seconds + 5, lambda now_s: seconds.get(int(now_s - T0), []))
    assert {"nan", "nan_lasting"} <= {found.rule for found in judged.found.values()}
    assert web.ask("/api/v1/findings/useless", "POST", orjson.dumps({"id": "none"})).status == 404


def test_a_note_is_sent_once_a_user_says_so(web: Web, tmp_path: Path) -> None:
    (tmp_path / "alerts.yaml").write_text(
        "# mine\nreceivers:\n- {name: hook, kind: webhook, url: http://127.0.0.1:9/x}\n"
    )
    answer = web.ask("/api/v1/findings/send", "POST", orjson.dumps({"rule": "loss_spike", "run": "a*[x]"}))
    assert answer.status == 200 and "loss_spike finds in a*[x]" in answer.json["sentence"]
    assert web.ask("/api/v1/findings/send", "POST", orjson.dumps({"rule": "nan", "run": None})).status == 200
    text = (tmp_path / "alerts.yaml").read_text()
    assert text.startswith("# mine\n") and settings_of(text).troubles == ()
    assert [(policy.rules, policy.runs) for policy in settings_of(text).policies] == [
        (("nan",), "*"),
        (("loss_spike",), "a*[x]"),
    ]
    assert is_of("a*[x]", "a*[x]")
    assert web.ask("/api/v1/findings/send", "POST", orjson.dumps({"rule": "no such", "run": None})).status == 400


def test_a_file_with_a_secret_in_it_is_left_alone_with_a_sentence(web: Web, tmp_path: Path) -> None:
    text = "receivers:\n- {name: hook, kind: webhook, url: 'http://127.0.0.1:9/hook?token=s3cr3t-9'}\n"
    (tmp_path / "alerts.yaml").write_text(text)
    answer = web.ask("/api/v1/findings/send", "POST", orjson.dumps({"rule": "nan", "run": None}))
    assert answer.status == 400 and answer.json["error"].startswith("line 2: there is a secret in url")
    assert b"s3cr3t-9" not in answer.body and (tmp_path / "alerts.yaml").read_text() == text


TEXTS = (
    "",
    "rules: []\n",
    "rules:\n  - {name: x, when: a > 1}\nlink: http://h\n",
    "rules:\n- finding: [nan]\n",
    "link: http://h  # where\n",
)


@given(st.sampled_from(TEXTS), st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=20))
def test_any_run_can_be_named_beside_any_text(text: str, run: str) -> None:
    before, after = settings_of(text), settings_of(opted_in(text, "nan", run))
    assert (
        after.troubles == ()
        and len(after.policies) == len(before.policies) + 1
        and len(after.rules) == len(before.rules)
    )
