"""Alerts: from findings to messages that real receivers get, each once, also where they were dead for an hour."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectors.records import Finding, Points
from collectors.store.engines import open_store
from tests.support.alerting import NOW_S, Alerting, Clock, alerting, crash, hang, receiving, webhook


def test_a_crash_is_one_message_with_its_sentence_and_id(tmp_path: Path) -> None:
    with receiving() as receiver, alerting(tmp_path, webhook(receiver.url, "link: http://box:8080\n")) as alerts:
        alerts.store_all([crash("a b/é")])
        alerts.turns(5)
        (got,) = receiver.got
        said = got.json
        assert (said["state"], said["rule"], said["run"], said["step"]) == ("firing", "crash", "a b/é", 7)
        assert said["sentences"] == ["The run failed at step 7: OutOfMemoryError."]
        assert said["id"] == got.headers["idempotency-key"]
        assert said["link"] == "http://box:8080/training?runs=a%20b%2F%C3%A9"
        alerts.store_all([crash("a b/é")])
        alerts.turns(100)
        assert len(receiver.got) == 1


def test_a_flood_of_points_pushes_out_no_finding(tmp_path: Path) -> None:
    rule = "rules:\n- {name: high, when: x > 1e9}\n"
    with receiving() as receiver, alerting(tmp_path, webhook(receiver.url, rule)) as alerts:
        alerts.store_all([crash("a")])
        points = [Points("a", (), ("x",), (1.0,), NOW_S, step) for step in range(60_000)]
        alerts.collector.take(points)
        alerts.turns(5)
        assert [got.json["rule"] for got in receiver.got] == ["crash"]


def test_one_message_for_a_whole_sweep_and_for_all_ranks(tmp_path: Path) -> None:
    with receiving() as receiver, alerting(tmp_path, webhook(receiver.url)) as alerts:
        alerts.store_all([crash(f"sweep/{number}") for number in range(30)])
        alerts.turns(4)
        assert [got.json["count"] for got in receiver.got] == [30]
        assert len(receiver.got[0].json["runs"]) == 30
        alerts.store_all([crash(f"late/{number}") for number in range(5)])
        alerts.turns(50)
        assert len(receiver.got) == 1, "within group_s"
        alerts.turns(20)
        assert [got.json["count"] for got in receiver.got] == [30, 5]
        alerts.turns(60)
        alerts.store_all([crash("ranks", rank=rank) for rank in range(8)])
        alerts.turns(4)
        said = receiver.got[-1].json
        assert (said["count"], said["run"], said["ranks"]) == (1, "ranks", list(range(8)))


def test_what_lasts_is_said_to_be_over_once_its_beginning_has_arrived(tmp_path: Path) -> None:
    with receiving() as receiver, alerting(tmp_path, webhook(receiver.url)) as alerts:
        alerts.store_all([hang("a", NOW_S - 400, NOW_S)])
        alerts.turns(4)
        assert receiver.got[0].json["line"] == "train.py:12 in step"
        receiver.status = 503
        alerts.store_all([hang("b", NOW_S - 400, NOW_S, id_="b")])
        alerts.turns(70)
        alerts.store_all(
            [hang("a", NOW_S - 400, NOW_S + 70, over=True), hang("b", NOW_S - 400, NOW_S + 70, over=True, id_="b")]
        )
        alerts.turns(100)
        receiver.status = 200
        alerts.turns(700)
        states = [(got.json["state"], got.json["run"]) for got in receiver.got]
        assert states[0] == ("firing", "a")
        assert states.index(("firing", "b")) < states.index(("resolved", "b"))
        assert sorted(states) == [("firing", "a"), ("firing", "b"), ("resolved", "a"), ("resolved", "b")]
        ended = next(got.json for got in receiver.got if got.json["state"] == "resolved")
        assert ended["sentences"][0].startswith("Over after ")


def test_what_is_over_before_its_message_is_sent_is_not_said_to_fire(tmp_path: Path) -> None:
    with receiving() as receiver, alerting(tmp_path, webhook(receiver.url)) as alerts:
        alerts.store_all([hang("a", NOW_S - 400, NOW_S)])
        alerts.turns(4)
        alerts.store_all([hang("b", NOW_S - 400, NOW_S + 10, id_="b")])
        alerts.turns(5)
        alerts.store_all([hang("b", NOW_S - 400, NOW_S + 20, over=True, id_="b")])
        alerts.turns(200)
        said = [(got.json["state"], got.json["run"], got.json["text"][:10]) for got in receiver.got]
        assert [row[:2] for row in said] == [("firing", "a"), ("resolved", "b")]
        assert said[1][2] == "Over after"


def test_a_receiver_that_was_dead_for_an_hour_gets_everything_once(tmp_path: Path) -> None:
    with receiving() as receiver, alerting(tmp_path, webhook(receiver.url, "group_s: 0\nrate: 1000/h\n")) as alerts:
        receiver.status = 500
        for number in range(60):
            alerts.store_all([crash(f"run{number}", alerts.clock.now_s)])
            alerts.turns(12, 5.0)
        assert not receiver.got
        attempts = [message.attempts for message in alerts.collector._outbox.waiting()]
        assert len(attempts) == 60
        assert sum(attempts) < 40, "it backs off"
        receiver.status = 200
        alerts.turns(130, 5.0)
        assert sorted(got.json["run"] for got in receiver.got) == sorted(f"run{number}" for number in range(60))
        assert len(set(receiver.ids())) == 60


def test_back_off_goes_on_after_a_restart(tmp_path: Path) -> None:
    with receiving() as receiver:
        receiver.status = 500
        with alerting(tmp_path, webhook(receiver.url)) as alerts:
            alerts.store_all([crash("a")])
            alerts.turns(300)
            (before,) = alerts.collector._outbox.waiting()
            now_s = alerts.clock.now_s
        assert before.next_s > now_s
        receiver.status = 200
        again = Alerting(tmp_path, Clock(now_s))
        again.turn()
        assert not receiver.got
        again.turns(1, before.next_s - now_s)
        assert [got.json["run"] for got in receiver.got] == ["a"]
        again.close()


def test_quiet_hours_keep_messages_until_they_are_over(tmp_path: Path) -> None:
    quiet = "quiet: {from: 22:00, to: 7:00, zone: Europe/Berlin, but: [hung]}\n"
    midnight_s = 1_795_000_000.0 // 86400 * 86400 - 3600  # in Berlin, in winter
    with receiving() as receiver, alerting(tmp_path, webhook(receiver.url, quiet), midnight_s) as alerts:
        alerts.store_all([crash("a", midnight_s), hang("b", midnight_s - 400, midnight_s)])
        alerts.turns(10)
        assert [got.json["run"] for got in receiver.got] == ["b"]
        alerts.turns(1, 6.9 * 3600)
        assert len(receiver.got) == 1
        alerts.turns(2, 400)
        assert [got.json["run"] for got in receiver.got] == ["b", "a"]


def test_what_is_more_than_the_rate_is_summed_up_in_one_message(tmp_path: Path) -> None:
    with receiving() as receiver, alerting(tmp_path, webhook(receiver.url, "group_s: 0\nrate: 3/h\n")) as alerts:
        for number in range(10):
            alerts.store_all([crash(f"run{number}", alerts.clock.now_s)])
            alerts.turns(4)
        assert len(receiver.got) == 3
        alerts.turns(3700)
        assert [got.json["title"] for got in receiver.got[3:]] == ["7 alerts in one message"]
        assert receiver.got[3].json["count"] == 7
        assert {message.state for message in alerts.collector._outbox.sent()} == {"delivered", "summed"}


def test_muted_and_opted_out_findings_are_never_sent_and_notes_that_are_opted_in_are(tmp_path: Path) -> None:
    rules = "rules:\n- finding: finished\n  alert: no\n- finding: [new_best, data_stall]\n  runs: sweep/*\n"
    note = Finding("n", "sweep/1", "new_best", "note", NOW_S, NOW_S, True, "New best.")
    with receiving() as receiver, alerting(tmp_path, webhook(receiver.url, rules)) as alerts:
        (tmp_path / "mutes.yaml").write_text("mutes:\n- {rule: crash, run: a, until: 2100-01-01T00:00:00Z}\n")
        finished = Finding("f", "b", "finished", "alert", NOW_S, NOW_S, True, "The run is finished.")
        alerts.store_all([crash("a"), crash("b"), finished, note, note._replace(id="o", run="other")])
        alerts.turns(5)
        assert sorted(got.json["run"] for got in receiver.got) == ["b", "sweep/1"]
        (tmp_path / "mutes.yaml").unlink()
        alerts.turns(30)
        assert len(receiver.got) == 2, "a moment that was muted is over"


def test_what_lasts_longer_than_its_mute_is_sent_then(tmp_path: Path) -> None:
    with receiving() as receiver, alerting(tmp_path, webhook(receiver.url)) as alerts:
        (tmp_path / "mutes.yaml").write_text("mutes:\n- {run: a, until: 2026-11-18T14:00:00Z}\n")
        alerts.store_all([hang("a", NOW_S - 400, NOW_S)])
        until_s = 1_795_010_400.0
        alerts.turns(int((until_s - NOW_S) / 100) - 1, 100)
        assert not receiver.got
        alerts.turns(20, 20)
        assert len(receiver.got) == 1


def test_what_was_over_before_there_were_alerts_is_no_news(tmp_path: Path) -> None:
    store = open_store(tmp_path, write=True)
    store.append([crash("old", NOW_S - 4000), hang("going on", NOW_S - 4000, NOW_S)])
    store.close()
    with receiving() as receiver, alerting(tmp_path, webhook(receiver.url)) as alerts:
        alerts.turns(10)
        assert [got.json["run"] for got in receiver.got] == ["going on"]


def test_a_finding_that_was_stored_just_before_a_kill_is_sent_by_the_next_process(tmp_path: Path) -> None:
    with receiving() as receiver:
        with alerting(tmp_path, webhook(receiver.url)) as alerts:
            alerts.turn()
            alerts.store.append([crash("a")])  # the collector of alerts never sees it
        with alerting(tmp_path, webhook(receiver.url)) as alerts:
            alerts.turns(5)
        assert [got.json["run"] for got in receiver.got] == ["a"]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_to_another_host_is_not_followed(tmp_path: Path, status: int) -> None:
    with receiving() as receiver, receiving() as other, alerting(tmp_path, webhook(receiver.url)) as alerts:
        receiver.status, receiver.location = status, f"{other.url}/steal"
        alerts.store_all([crash("a")])
        alerts.turns(10)
        assert not other.got
        (message,) = alerts.collector._outbox.waiting()
        assert message.error == f"it answers {status}"


def test_a_receiver_that_is_dead_does_not_delay_another(tmp_path: Path) -> None:
    text = (
        "receivers:\n- {name: dead, kind: webhook, url: 'http://127.0.0.1:9/'}\n- {name: b, kind: webhook, url: '%s'}\n"
    )
    with receiving() as receiver, alerting(tmp_path, text % receiver.url) as alerts:
        alerts.store_all([crash("a")])
        alerts.turns(4)
        assert len(receiver.got) == 1
        assert [message.receiver for message in alerts.collector._outbox.waiting()] == ["dead"]
