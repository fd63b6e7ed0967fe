"""Alerts over HTTP: what fires, mutes, the file of rules, a test message; and from a script to a receiver through the real collector."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from alerts.collector import AlertsCollector
from collectors.machine.finder import Finder
from collectors.records import Event, Finding, RunInfo
from collectors.store.engines import open_store
from dashboard.pages.alerts import alert_rows
from dashboard.queries import Queries
from deepseek.log import RunLog
from tests.conftest import ROOT, wait_for
from tests.support.alerting import receiving
from tests.support.serving import Answer, Web, served

TEXT = "receivers:\n- {name: phone, kind: ntfy, topic: abc}\n- {name: here, kind: desktop}\nrules:\n- {name: high, when: train/loss > 5}\n"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    now_s = time.time()
    writer = open_store(tmp_path, write=True)
    lasting = Finding("h", "a", "hung", "alert", now_s - 900, now_s, False, "It hangs.")
    writer.append(
        [
            RunInfo("a", {}),
            lasting,
            Finding("c", "b", "crash", "alert", now_s - 60, now_s - 60, True, "It failed."),
            Finding("o", "b", "crash", "alert", now_s - 7200, now_s - 7200, True, "It failed before."),
            Event("b", "start", now_s - 3600),
            Finding("n", "a", "new_best", "note", now_s - 60, now_s - 60, True, "New best."),
            Finding("r", "a", "rule:high", "alert", now_s - 60, now_s, False, "high: 9."),
        ]
    )
    queries = Queries(open_store(tmp_path, write=False), tmp_path, tmp_path)
    with served(queries) as web:
        yield web
    queries.close()
    writer.close()


def post(web: Web, path: str, body: Any) -> Answer:
    return web.ask(f"/api/v1/alerts/{path}", "POST", json.dumps(body).encode())


def test_what_fires_what_is_muted_and_what_the_rules_are_at(web: Web, tmp_path: Path) -> None:
    assert post(web, "text", {"text": TEXT}).status == 200
    assert (tmp_path / "alerts.yaml").read_text() == TEXT
    said = web.ask("/api/v1/alerts").json
    assert [row["id"] for row in said["firing"]] == ["c", "r", "h"] or {row["id"] for row in said["firing"]} == {
        "c",
        "r",
        "h",
    }
    assert {row["id"] for row in said["recent"]} == {"c", "o", "r", "h"}
    assert [(row["name"], row["state"], row["firing"]) for row in said["rules"]] == [("high", "firing", 1)]
    assert [(row["name"], row["target"], row["waiting"]) for row in said["receivers"]] == [
        ("phone", "https://ntfy.sh, a topic of its own", 0),
        ("here", "this browser", 0),
    ]
    muted = post(web, "mute", {"rule": "crash", "hours": 2}).json
    assert {row["id"] for row in muted["firing"]} == {"r", "h"}
    assert {row["id"] for row in muted["muted"]} == {"c"}
    assert muted["mutes"][0]["until"] == pytest.approx(time.time() + 7200, abs=60)
    assert post(web, "mute", {"run": "a"}).json["firing"] == []
    post(web, "mute", {"run": "a", "on": False})
    assert {row["id"] for row in post(web, "mute", {"rule": "crash", "on": False}).json["firing"]} == {"c", "r", "h"}


def test_an_acknowledged_alert_is_listed_and_no_longer_counts(web: Web, tmp_path: Path) -> None:
    def firing() -> int:
        """As the bar of every page counts them."""
        queries = Queries(open_store(tmp_path, write=False), tmp_path, tmp_path)
        try:
            return queries.alerts.firing()
        finally:
            queries.close()

    assert firing() == 3
    seen = post(web, "acknowledge", {"findings": ["h", "c"]}).json
    assert seen["acknowledged"] == ["c", "h"] and {row["id"] for row in seen["firing"]} == {"c", "r", "h"}
    assert firing() == 1
    assert "finding: h" in (tmp_path / "acknowledged.yaml").read_text()
    assert post(web, "acknowledge", {"findings": ["h"], "on": False}).json["acknowledged"] == ["c"]
    assert firing() == 2
    unknown = post(web, "acknowledge", {"findings": ["r", "rule:gone"]})
    assert (unknown.status, "no finding 'rule:gone'" in unknown.json["error"]) == (404, True)
    assert web.ask("/api/v1/alerts").json["acknowledged"] == ["c"], "nothing was changed"
    for body in ({"findings": []}, {"findings": [7]}, {"findings": ["x" * 201]}, {}):
        assert post(web, "acknowledge", body).status == 400
    (tmp_path / "acknowledged.yaml").write_text("acknowledged: [1, {finding: &a x}]")
    assert web.ask("/api/v1/alerts").json["acknowledged"] == ["c"], "what was read before holds"
    refused = post(web, "acknowledge", {"findings": ["h"]})
    assert refused.status == 400 and "correct or delete it" in refused.json["error"]


def test_a_crash_fires_until_it_is_acknowledged_or_its_run_starts_again(tmp_path: Path) -> None:
    now_s = time.time()
    with closing(open_store(tmp_path, write=True)) as writer:
        crashes = [
            Finding(run, run, "crash", "alert", now_s - 7 * 3600, now_s - 7 * 3600, True, "It failed.") for run in "xyz"
        ]
        writer.append(
            [*(RunInfo(run, {}) for run in "xyz"), *(Event(run, "start", now_s - 8 * 3600) for run in "xyz"), *crashes]
        )
        queries = Queries(open_store(tmp_path, write=False), tmp_path, tmp_path)
        with served(queries) as web:
            shown = web.ask("/api/v1/alerts").json
            assert {row["id"] for row in shown["firing"]} == {"x", "y", "z"}
            post(web, "acknowledge", {"findings": ["x"]})
            writer.append([Event("y", "start", now_s - 6 * 3600)])
            assert [row["id"] for row in web.ask("/api/v1/alerts").json["firing"]] == ["z"]
            rows = {row["run"]: row["outcome"] for row in alert_rows(crashes, queries.alerts.now())}
        queries.close()
    assert rows == {"x": "acknowledged", "y": "run started again", "z": "active"}


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("text", {"text": "rules:\n- {name: a, when: train/loss >}"}, "line 2: when: column 13: the expression ends"),
        (
            "text",
            {"text": "receivers:\n- name: a\n  kind: email\n  server: x\n  to: a@x.org\n  password: hunter2"},
            "line 6: password is a secret",
        ),
        ("text", {"text": "a: [\n"}, "line 2: it is not YAML"),
        ("text", {"text": "\ud800"}, "UTF-8"),
        ("mute", {"hours": 0}, "hours"),
        ("mute", {"rule": ""}, "rule"),
        ("test", {"receiver": "nope"}, "there is no receiver 'nope'"),
    ],
)
def test_a_wrong_change_is_one_sentence_and_changes_nothing(
    web: Web, tmp_path: Path, path: str, body: Any, sentence: str
) -> None:
    answer = post(web, path, body)
    assert answer.status == 400
    assert sentence in answer.json["error"]
    assert not (tmp_path / "alerts.yaml").exists()
    assert not (tmp_path / "mutes.yaml").exists()


def test_a_secret_that_stands_in_the_file_is_not_shown_and_not_saved_over(web: Web, tmp_path: Path) -> None:
    (tmp_path / "alerts.yaml").write_text(
        "receivers:\n- {name: a, kind: apprise, url: 'slack://T/B/sesame'}\n- name: m\n  kind: email\n  password: sesame\n"
    )
    answer = web.ask("/api/v1/alerts")
    assert b"sesame" not in answer.body
    assert answer.json["trouble"].startswith("line 2: url is a secret")
    refused = post(web, "text", {"text": answer.json["text"]})
    assert (refused.status, "a secret was left out here" in refused.json["error"]) == (400, True)


class NoProcesses(Finder):
    def found(self) -> Any:
        return {}


def test_from_finding_to_delivery_it_takes_few_turns(tmp_path: Path) -> None:
    """40 causes within 4 s; the collector turns once a second, as its supervisor has it."""
    store = open_store(tmp_path, write=True)
    with receiving() as receiver:
        (tmp_path / "alerts.yaml").write_text(
            f"rate: 1000/h\nreceivers:\n- {{name: hook, kind: webhook, url: '{receiver.url}'}}\n"
        )
        collector = AlertsCollector(store, tmp_path, NoProcesses("host"))
        stored_s: dict[str, float] = {}
        turns_s = list[float]()
        next_turn_s, began_s = time.monotonic(), time.monotonic()
        while len(receiver.got) < 40 and time.monotonic() - began_s < 60:
            number = len(stored_s)
            if number < 40:
                now_s = time.time()
                found = Finding(f"f{number}", "a", f"cause{number}", "alert", now_s, now_s, True, "It failed.")
                store.append([found])
                collector.take([found])
                stored_s[found.id] = now_s
            if time.monotonic() >= next_turn_s:
                next_turn_s = time.monotonic() + collector.period_s
                turns_s.append(time.time())
                collector.collect()
            time.sleep(0.1)
        spans = [(stored_s[got.json["findings"][0]], got.time_s) for got in receiver.got]
        collector.close()
    store.close()
    assert len(spans) == 40
    assert max(sum(stored <= turn_s <= got for turn_s in turns_s) for stored, got in spans) <= 5


def test_what_a_script_says_reaches_a_receiver_through_the_real_collector(tmp_path: Path) -> None:
    data = tmp_path / ".deepseek"
    data.mkdir(mode=0o700)
    with receiving() as receiver:
        (data / "alerts.yaml").write_text(f"receivers:\n- {{name: hook, kind: webhook, url: '{receiver.url}'}}\n")
        command = [sys.executable, "-m", "collector", "--log-dir", str(tmp_path), "--no-profile"]
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ)
        try:
            with RunLog(tmp_path, run="a") as log:
                log.scalars(1, loss=0.5)
                log.alert("accuracy below 0.5", step=1)
                wait_for(lambda: receiver.got, 25)
            said = receiver.got[0].json
            assert (said["rule"], said["run"], said["step"]) == ("script_alert", "a", 1)
            assert said["sentences"] == ["The script says: accuracy below 0.5"]
            queries = Queries(open_store(data, write=False), tmp_path, data)
            with served(queries) as web:
                assert post(web, "test", {"receiver": "hook"}).json == {
                    "ok": True,
                    "sentence": "hook has taken a test message.",
                }
                receiver.status = 500
                assert post(web, "test", {"receiver": "hook"}).json == {
                    "ok": False,
                    "sentence": "hook did not take the test message: it answers 500.",
                }
                states = [row["state"] for row in web.ask("/api/v1/alerts/history").json["messages"]]
                assert sorted(states) == ["delivered", "delivered", "failed"]
            queries.close()
        finally:
            process.terminate()
            process.wait(60)
