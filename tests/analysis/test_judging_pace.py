"""How often rules look where they would take more than their share: the ledger of a slowed run is not put off, nor are alerts."""

from __future__ import annotations

from analysis.findings.collector import MAX_OF_ALERTS, MAX_SLOWDOWN, TRIFLE_S, RuleSchedule, has_slowed
from analysis.findings.rule import AnyRule, RecentPoints
from analysis.findings.rules import BY_NAME

NOTE, ALERT, LEDGER = BY_NAME["loss_spike"], BY_NAME["crash"], BY_NAME["data_stall"]


def slow() -> RuleSchedule:
    """Rules have taken a whole core."""
    paces = RuleSchedule(0.01, 0.0)
    paces.passed(30.0, 30.0)
    return paces


def next_s(paces: RuleSchedule, rule: AnyRule, ledger_s: float = 1.0) -> float:
    key = "run", rule.name
    paces.looked(key, rule, 100.0, ledger_s)
    return next(second for second in range(1000) if paces.is_due(key, 100.0 + second))


def test_rules_within_their_share_look_as_often_as_is_meant() -> None:
    paces = RuleSchedule(0.01, 0.0)
    paces.passed(0.1, 30.0)
    assert paces.slack == 1.0 and next_s(paces, LEDGER) == LEDGER.every_s - 1


def test_rules_that_take_more_look_less_often_but_alerts_soon() -> None:
    paces = slow()
    assert paces.slack == MAX_SLOWDOWN
    assert next_s(paces, NOTE) == NOTE.every_s * MAX_SLOWDOWN - 1
    assert next_s(paces, ALERT) == ALERT.every_s * MAX_OF_ALERTS - 1


def test_a_ledger_that_had_nothing_to_read_is_made_again_as_is_meant() -> None:
    paces = slow()
    assert next_s(paces, LEDGER) == LEDGER.every_s * MAX_SLOWDOWN - 1
    assert next_s(paces, LEDGER, TRIFLE_S / 2) == LEDGER.every_s - 1


def test_a_ledger_may_be_early_after_its_usual_time() -> None:
    paces = slow()
    key = "run", LEDGER.name
    paces.looked(key, LEDGER, 100.0, 1.0)
    assert not paces.may_be_early(key, 105.0)
    assert paces.may_be_early(key, 100.0 + LEDGER.every_s)
    paces.let_go("run")
    assert paces.is_due(key, 101.0) and not paces.may_be_early(key, 1e9)


def test_a_run_has_slowed_where_clearly_fewer_steps_come() -> None:
    steps = RecentPoints()
    steps.take_all((0.1 * number, number, number) for number in range(600))
    assert not has_slowed(steps, 60.0)
    steps.take_all((60 + 0.2 * number, 600 + number, number) for number in range(40))
    assert has_slowed(steps, 68.0)
    assert not has_slowed(None, 68.0) and not has_slowed(RecentPoints(), 68.0)
