"""Changes of alerts.yaml by form: what they keep of the text, secrets, and when a rule would have fired."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.config import UserRule, settings_of
from alerts.preview import preview_of
from collectors.records import Points, RunInfo, labels_of
from collectors.store.engines import open_store
from dashboard.queries import Queries
from dashboard.user_files.alerts import with_channel, with_notice, with_policy, with_quiet, with_rule, with_switch
from tests.support.alerting import NOW_S, receiving
from tests.support.serving import Answer, Web, served

TEXT = """# mine
link: http://gpu-box:8080   # where
rules:
# about the loss
- name: high   # inside
  when: train/loss > 8
# between
- {finding: [data_stall, finished], to: phone}

# the channels
receivers:
  # Anna's
  - {name: phone, kind: ntfy, topic: abc}
  - {name: here, kind: desktop}
# the end
"""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    writer = open_store(tmp_path, write=True)
    writer.append([RunInfo("a", {})])
    queries = Queries(open_store(tmp_path, write=False), tmp_path, tmp_path)
    with served(queries) as web:
        yield web
    queries.close()
    writer.close()


def post(web: Web, path: str, body: Any) -> Answer:
    return web.ask(f"/api/v1/alerts/{path}", "POST", json.dumps(body).encode())


def test_a_changed_rule_costs_only_the_comments_within_it() -> None:
    changed = with_rule(TEXT, "high", {"name": "high", "when": "train/loss > 9", "for": "5 min"})
    assert changed == TEXT.replace(
        "- name: high   # inside\n  when: train/loss > 8\n", "- name: high\n  when: train/loss > 9\n  for: 5 min\n"
    )


def test_what_is_added_and_deleted_leaves_all_other_lines() -> None:
    more = with_rule(TEXT, None, {"name": "hot", "when": "x > 1"})
    assert [line for line in more.splitlines() if line not in TEXT.splitlines()] == ["- name: hot", "  when: x > 1"]
    assert with_rule(more, "hot", None) == TEXT
    assert with_quiet(with_quiet(TEXT, {"from": "22:00", "to": "8:00", "zone": "UTC"}), None).strip() == TEXT.strip()


def test_a_renamed_channel_is_renamed_in_rules_and_the_last_one_of_a_rule_stays() -> None:
    changed = settings_of(with_channel(TEXT, "phone", {"name": "tel", "kind": "ntfy", "topic": "abc"}))
    assert changed.troubles == () and changed.policies[0].to == ("tel",)
    with pytest.raises(ValueError, match="choose another channel for it first"):
        with_channel(TEXT, "phone", None)


def test_a_switch_says_only_what_is_not_so_already() -> None:
    off = with_switch(TEXT, "crash", False)
    assert not settings_of(off).policies[0].alerts
    assert with_switch(off, "crash", True) == TEXT
    assert not settings_of(with_switch(TEXT, "rule:high", False)).rules[0].enabled
    assert settings_of(with_switch(with_switch(TEXT, "rule:high", False), "rule:high", True)).rules[0].enabled


def test_a_notice_is_about_one_run() -> None:
    policy = settings_of(with_notice(TEXT, "crash", "a", ["here"])).policies[0]
    assert (policy.rules, policy.runs, policy.to) == (("crash",), "a", ("here",))
    assert with_notice(with_notice(TEXT, "finished", "a", []), "finished", "a", ["phone"]).count("runs: a") == 1


@given(
    st.sampled_from(("", "rules: []\n", "{rules: [], link: 'http://h'}", TEXT, "rules:\n-\n  name: x\n  when: a > 1\n")),
    st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=20),
)  # fmt: skip
def test_any_name_fits_beside_any_text(text: str, name: str) -> None:
    name = name.strip() or "x"
    before, after = settings_of(text), settings_of(with_policy(text, ["nan"], name, {"alert": "no"}))
    assert after.troubles == () and after.policies[0].runs == name
    assert [rule.text for rule in after.rules] == [rule.text for rule in before.rules]


def test_a_secret_is_kept_in_a_file_of_its_own_and_goes_with_its_channel(web: Web, tmp_path: Path) -> None:
    with receiving() as receiver:
        channel = {"name": "team", "kind": "slack", "url": f"{receiver.url}/sesame"}
        made = post(web, "channel", {"name": None, "channel": channel})
        assert made.status == 200 and b"sesame" not in made.body
        assert "sesame" not in (tmp_path / "alerts.yaml").read_text()
        folder = tmp_path / "alerts" / "secrets"
        (kept,) = folder.iterdir()
        assert kept.read_text() == f"{receiver.url}/sesame" and kept.stat().st_mode & 0o077 == 0
        same = post(web, "channel", {"name": "team", "channel": {"name": "us", "kind": "slack", "url": ""}})
        assert same.status == 200 and list(folder.iterdir()) == [kept]
        assert post(web, "channel", {"name": "us", "channel": None}).status == 200
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("channel", {"channel": {"name": "a", "kind": "slack", "url": "nowhere"}}, "url is an address"),
        ("channel", {"channel": {"name": "a", "kind": "slack"}}, "needs url"),
        ("channel", {"channel": {"name": "a", "kind": "pigeon"}}, "there is no kind 'pigeon'"),
        ("rule", {"rule": {"name": "a", "kind": "when", "expression": "loss >"}}, "the expression ends"),
        ("rule", {"name": "gone", "rule": None}, "there is no rule 'gone' any more"),
        ("quiet", {"quiet": {"from": "25:00", "to": "8:00", "zone": "UTC"}}, "from is a time of the day"),
        ("switch", {"rule": "pigeon", "on": True}, "there is no rule 'pigeon'"),
    ],
)
def test_a_wrong_form_is_one_sentence_and_changes_nothing(
    web: Web, tmp_path: Path, path: str, body: Any, sentence: str
) -> None:
    answer = post(web, path, body)
    assert (answer.status, sentence in answer.json["error"]) == (400, True)
    assert not (tmp_path / "alerts.yaml").exists() and not (tmp_path / "alerts" / "secrets").exists()


def test_a_mistake_elsewhere_does_not_hinder_a_form(web: Web, tmp_path: Path) -> None:
    (tmp_path / "alerts.yaml").write_text("rules:\n- {name: bad, wen: x}\n")
    assert post(web, "rule", {"rule": {"name": "ok", "kind": "when", "expression": "x > 1"}}).status == 200
    assert "wen: x" in (tmp_path / "alerts.yaml").read_text()


def test_a_preview_is_when_a_rule_would_have_fired(tmp_path: Path) -> None:
    store = open_store(tmp_path, write=True)
    begin = NOW_S - 3000
    values = [9.0 if 100 <= at < 200 or at == 400 else 1.0 for at in range(500)]
    store.append([Points("a", labels_of(rank=0), ("train/loss",), (value,), begin + 2 * at, at) for at, value in enumerate(values)])  # fmt: skip
    store.append([Points("a", labels_of(rank=0), ("train/loss",), (1.0,), begin + 2000, 600)])

    def fired(kind: str, text: str, for_s: float) -> list[tuple[float, float]]:
        rule = UserRule("r", kind, text, for_s, 1)  # type: ignore[arg-type]  # of its kinds
        found = preview_of(store, rule, ["a", "gone"], NOW_S, begin - 1)
        assert found.runs == 1
        return [(each.from_s - begin, each.to_s - begin) for each in found.firings]

    assert fired("when", "train/loss > 8", 60.0) == [(260.0, 398.0)]
    assert fired("when", "train/loss > 8", 0.0) == [(200.0, 398.0), (800.0, 800.0)]
    assert len(fired("when", "train/loss * 2 > 16", 60.0)) == 1
    assert fired("absent", "train/loss", 600.0) == [(1598.0, 2000.0)]
    assert (800.0, 800.0) in fired("anomaly", "train/loss", 0.0)
    store.close()
