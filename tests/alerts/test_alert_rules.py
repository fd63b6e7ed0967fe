"""Own rules of alerts.yaml: what they find, and what is said of a wrong one."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from alerts.config import settings_of
from analysis.findings.watch import WITH_RUN
from collectors.machine.run_state import RunActivity
from collectors.records import Event, Finding, Points
from tests.support.alerting import NOW_S, Alerting, alerting, receiving, webhook


def points(run: str | None, time_s: float, value: float, name: str = "train/loss", step: int = 1) -> Points:
    return Points(run, (("host", "box"),), (name,), (value,), time_s, step)


def logged(alerts: Alerting, values: list[float], name: str = "train/loss", run: str = "a") -> list[Finding]:
    """A value a second."""
    news = []
    for value in values:
        alerts.store_all([points(run, alerts.clock.now_s, value, name)])
        news += alerts.turn()
    return [row for row in news if isinstance(row, Finding)]


def test_a_threshold_that_holds_for_its_time_is_a_finding_a_message_and_over_again(tmp_path: Path) -> None:
    rule = "rules:\n- {name: high, when: train/loss > 5, for: 10 s}\n"
    with receiving() as receiver, alerting(tmp_path, webhook(receiver.url, rule)) as alerts:
        assert not logged(alerts, [1, 9, 9, 9, 9, 4, 9, 9, 9])
        begun = logged(alerts, [9] * 12)
        assert [(row.rule, row.run, row.over) for row in begun] == [("rule:high", "a", False)]
        assert "train/loss is 9 (train/loss > 5 for " in begun[0].sentence
        assert begun[0].from_s == NOW_S + 6
        over = logged(alerts, [1] * 45)
        assert [row.over for row in over] == [True]
        alerts.turns(30)
        assert [got.json["state"] for got in receiver.got] == ["firing", "resolved"]
        assert receiver.got[0].json["sparkline_of"] == "train/loss"


def test_an_expression_holds_by_run(tmp_path: Path) -> None:
    rule = "rules:\n- {name: gap, when: val/loss - train/loss > 2, for: 3 s, runs: sweep/*}\n"
    with alerting(tmp_path, rule) as alerts:
        found: list[Finding] = []
        for _ in range(30):
            now_s = alerts.clock.now_s
            for run, gap in (("sweep/1", 3.0), ("sweep/2", 1.0), ("other", 9.0)):
                alerts.store_all([points(run, now_s, 1.0), points(run, now_s, 1.0 + gap, "val/loss")])
            found += [row for row in alerts.turn() if isinstance(row, Finding)]
        assert {(row.run, row.rule) for row in found} == {("sweep/1", "rule:gap")}
        assert alerts.collector.status()["rules"] == {}


def test_a_series_that_stays_away_is_found_while_its_run_is_alive(tmp_path: Path) -> None:
    rule = "rules:\n- {name: no val, absent: val/loss, for: 20 s}\n"
    with alerting(tmp_path, rule) as alerts:
        logged(alerts, [1.0], "val/loss")
        assert not logged(alerts, [1.0] * 15)
        (found,) = logged(alerts, [1.0] * 10)
        assert (found.rule, found.run) == ("rule:no val", "a")


def test_what_is_unlike_its_own_last_hour_is_found(tmp_path: Path) -> None:
    rule = "rules:\n- {name: odd, anomaly: tokens, times: 8}\n"
    with alerting(tmp_path, rule) as alerts:
        assert not logged(alerts, [100.0 + number % 5 for number in range(100)], "tokens")
        found = logged(alerts, [40.0] * 10, "tokens")
        assert [row.rule for row in found] == ["rule:odd"]
        assert "spreads from the median 102 of its last hour" in found[0].sentence


def test_a_series_of_the_machine_may_have_a_rule(tmp_path: Path) -> None:
    with alerting(tmp_path, "rules:\n- {name: hot, when: gpu/temperature_c > 90}\n") as alerts:
        alerts.store_all([Points(None, (("gpu", "3"),), ("gpu/temperature_c",), (95.0,), alerts.clock.now_s, None)])
        (found,) = alerts.turns(3)
        assert isinstance(found, Finding)
        assert (found.run, found.sentence) == (None, "gpu/temperature_c of GPU 3 is 95 (gpu/temperature_c > 90).")


class Lives:
    """What the files of the run "a" say of its life: it has no process here."""

    def __init__(self, folder: Path, interval_s: float = 1.0) -> None:
        self.activity = RunActivity("a", folder, {}, [Event("a", "start", NOW_S)], [], NOW_S, interval_s)

    def __call__(self, names: Collection[str]) -> list[RunActivity]:
        return [self.activity] if "a" in names else []

    def wrote(self, time_s: float) -> None:
        self.activity = self.activity._replace(last_line_s=time_s)

    def end(self, time_s: float, status: str) -> None:
        self.activity = self.activity._replace(ends=[Event("a", "end", time_s, fields={"status": status})])


OWN_RULES = [
    "when: train/loss > 8",
    "when: train/loss * 1 > 8",
    "absent: val/loss, for: 60 s",
    "anomaly: train/loss",
]


@pytest.mark.parametrize("rule", OWN_RULES)
def test_what_a_rule_found_is_unresolved_where_its_run_died_with_it(tmp_path: Path, rule: str) -> None:
    lives = Lives(tmp_path)
    text = f"rules:\n- {{name: own, {rule}}}\n"
    with receiving() as receiver, alerting(tmp_path, webhook(receiver.url, text), live_runs=lives) as alerts:
        begun = logged(alerts, [1.0 + number % 5 / 10 for number in range(80)] + [100.0] * 10)
        assert {(row.rule, row.over) for row in begun} == {("rule:own", False)}
        lives.end(alerts.clock.now_s, "failed")
        (over,) = [row for row in alerts.turns(60) if isinstance(row, Finding) and row.over]
        assert over.fields[WITH_RUN] and over.id == begun[0].id
        alerts.turns(30)
        assert [got.json["state"] for got in receiver.got] == ["firing", "unresolved"]
        assert not [row for row in alerts.turns(900, 5.0) if isinstance(row, Finding)]


def test_what_a_rule_found_is_resolved_where_it_was_before_its_run_ended(tmp_path: Path) -> None:
    lives = Lives(tmp_path)
    with alerting(tmp_path, "rules:\n- {name: high, when: train/loss > 8}\n", live_runs=lives) as alerts:
        logged(alerts, [9.0] * 20 + [1.0])
        lives.end(alerts.clock.now_s, "finished")
        (over,) = [row for row in alerts.turns(60) if isinstance(row, Finding) and row.over]
        assert WITH_RUN not in over.fields


@pytest.mark.parametrize("rule", OWN_RULES[:3])
def test_what_a_rule_found_goes_on_while_a_run_that_writes_rarely_is_silent(tmp_path: Path, rule: str) -> None:
    lives = Lives(tmp_path, 720.0)
    with alerting(tmp_path, f"rules:\n- {{name: own, {rule}}}\n", live_runs=lives) as alerts:
        found: list[Finding] = []
        for _ in range(8):
            lives.wrote(alerts.clock.now_s)
            alerts.store_all([points("a", alerts.clock.now_s, 9.0)])
            found += [row for row in alerts.turns(72, 10.0) if isinstance(row, Finding)]
        assert len({row.id for row in found}) == 1 and not any(row.over for row in found)
        alerts.store_all([points("a", alerts.clock.now_s, 1.0, name) for name in ("train/loss", "val/loss")])
        over = [row for row in alerts.turns(9, 10.0) if isinstance(row, Finding) and row.over]
        assert [WITH_RUN in row.fields for row in over] == [False]


@pytest.mark.parametrize("died", [False, True])
def test_what_a_rule_found_ends_with_a_run_that_died_while_nothing_was_collected(tmp_path: Path, died: bool) -> None:
    lives = Lives(tmp_path, 60.0)
    text = "rules:\n- {name: high, when: train/loss > 8}\n"
    with alerting(tmp_path, text, live_runs=lives) as alerts:
        (begun,) = logged(alerts, [9.0])
        until_s = alerts.clock.now_s + 300
    if died:
        lives.end(until_s - 200, "killed")
    with alerting(tmp_path, text, until_s, live_runs=lives) as alerts:
        over = [row for row in alerts.turns(90) if isinstance(row, Finding)]
        assert [(row.id, row.over, row.fields.get(WITH_RUN)) for row in over] == (
            [(begun.id, True, True)] if died else []
        )
        alerts.store_all([points("a", alerts.clock.now_s, 1.0)])
        later = [row for row in alerts.turns(60) if isinstance(row, Finding)]
        assert [(row.id, WITH_RUN in row.fields) for row in later] == ([] if died else [(begun.id, False)])


WRONG = """receivers:
- {name: hook, kind: webhook, url: https://example.org}
- {name: odd, kind: webhok, url: https://example.org}
rules:
- {name: good, when: train/loss > 5}
- {name: bad expression, when: train/loss >}
- {name: unknown key, wen: train/loss > 5}
- {name: good, when: a > 1}
- finding: data_stal
- {name: to whom, when: a > 1, to: [hok]}
- {name: how long, when: a > 1, for: 5 parsecs}
- {name: also good, absent: val/loss, for: 1h}
quiet: {from: 25:00, to: 7:00, zone: Europe/Berlin}
rate: many
"""


def test_each_mistake_is_one_sentence_with_its_line_and_the_rest_holds() -> None:
    found = settings_of(WRONG)
    assert [rule.name for rule in found.rules] == ["good", "also good"]
    assert [receiver.name for receiver in found.receivers] == ["hook"]
    assert [str(trouble) for trouble in found.troubles] == [
        "line 3: there is no kind 'webhok'; did you mean webhook?; kinds: ntfy, email, slack, webhook, desktop, apprise",
        "line 6: when: column 13: the expression ends where a series, a number or a function should follow",
        "line 7: a rule has no key 'wen'; did you mean when?",
        "line 8: the name 'good' is there twice",
        "line 9: there is no finding 'data_stal'; did you mean data_stall?; docs/findings.md lists them",
        "line 10: there is no receiver 'hok'; did you mean hook?",
        "line 11: '5 parsecs' is no duration such as 30d (units: s, min, h, d, w)",
        "line 13: from is a time of the day such as 22:00",
        "line 14: rate is a number of messages such as 30/h",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "x: [",
        "- a",
        "rules: 7",
        "rules:\n- 7",
        "\x00",
        "a: &b c",
        "rules:\n- {when: {a: b}}",
        "receivers: {}",
        "reciever: []",
    ],
)
def test_odd_files_are_a_sentence(text: str) -> None:
    found = settings_of(text)
    assert found.troubles
    assert not found.rules


def test_a_file_that_is_changed_by_hand_is_taken_at_once_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    with receiving() as receiver, alerting(tmp_path, webhook(receiver.url)) as alerts:
        alerts.turn()
        (tmp_path / "alerts.yaml").write_text(webhook(receiver.url, "rules:\n- {name: high, when: train/loss > 5}\n"))
        alerts.turn()
        assert logged(alerts, [9] * 3)
        (tmp_path / "alerts.yaml").write_text("rules: [")
        alerts.turns(3)
        assert [rule.name for rule in alerts.collector._settings.rules] == ["high"]
        assert alerts.collector._settings.troubles


@pytest.mark.parametrize("name", ["x", "train/loss"])
def test_a_comparison_is_looked_at_at_every_point(tmp_path: Path, name: str) -> None:
    rule = f"rules:\n- {{name: high, when: {name} > 5}}\n"
    with receiving() as receiver, alerting(tmp_path, webhook(receiver.url, rule)) as alerts:
        for step in range(20):
            values = [1.0, 9.0, 2.0] if step == 7 else [1.0, 2.0, 3.0]
            alerts.store_all(
                [points("a", alerts.clock.now_s + n / 4, value, name, 3 * step + n) for n, value in enumerate(values)]
            )
            alerts.turn()
        (got,) = receiver.got
        assert got.json["time_s"] == NOW_S + 7.25
        assert got.json["sentences"] == [f"{name} is 9 ({name} > 5)."]


@pytest.mark.parametrize("lasted_s", [200, 299, 301, 500])
def test_what_was_true_for_long_enough_between_two_looks_is_found(tmp_path: Path, lasted_s: int) -> None:
    """A log that is written in pieces."""
    rule = "rules:\n- {name: high, when: train/loss > 5, for: 5 min}\n"
    with alerting(tmp_path, rule) as alerts:
        values = [1.0] * 50 + [9.0] * (lasted_s + 1) + [1.0] * 50
        alerts.clock.now_s += len(values)
        alerts.store_all([points("a", NOW_S + second, value) for second, value in enumerate(values)])
        found = [row for row in alerts.turns(3) if isinstance(row, Finding)]
        assert {(row.from_s - NOW_S, row.to_s - row.from_s) for row in found} == (
            {(50.0, lasted_s)} if lasted_s >= 300 else set()
        )


def test_a_stretch_that_ends_between_two_looks_began_where_it_did(tmp_path: Path) -> None:
    rule = "rules:\n- {name: high, when: train/loss > 5, for: 10 s}\n"
    with alerting(tmp_path, rule) as alerts:
        assert not logged(alerts, [1.0, 9.0])
        alerts.clock.now_s += 12
        alerts.store_all([points("a", NOW_S + 2 + second, 9.0 if second < 11 else 1.0) for second in range(12)])
        (found,) = [row for row in alerts.turns(2) if isinstance(row, Finding)]
        assert (found.from_s - NOW_S, found.to_s - NOW_S) == (1.0, 12.0)


def test_a_clock_that_is_ahead_delays_no_rule(tmp_path: Path) -> None:
    with alerting(tmp_path, "rules:\n- {name: high, when: train/loss > 5, for: 5 s}\n") as alerts:
        found = []
        for _ in range(10):
            alerts.store_all([points("a", alerts.clock.now_s + 600.0, 9.0)])
            found += [row for row in alerts.turn() if isinstance(row, Finding)]
        assert [row.rule for row in found] == ["rule:high"]
