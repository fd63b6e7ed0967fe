"""What is drawn beside an alert: the series that its rule looked at, and the limit."""

from __future__ import annotations

import pytest

from alerts.config import settings_of
from alerts.evidence import Evidence, evidence_of
from collectors.records import Finding

RULES = settings_of(
    """
rules:
- {name: high, when: train/loss > 8}
- {name: odd, anomaly: val/loss}
- {name: gone, absent: train/loss, for: 5 min}
- {name: ratio, when: (mean(train/loss) - 1) / 2 >= 1.5}
- {name: both, when: train/loss > val/loss}
"""
).rules


def evidence(rule: str, run: str | None = "a", **fields: object) -> Evidence | None:
    return evidence_of(Finding("", run, rule, "alert", 0.0, 1.0, False, "", fields=fields), RULES)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("rule:high", Evidence('{name="train/loss"}', 8.0)),
        ("rule:odd", Evidence('{name="val/loss"}')),
        ("rule:gone", Evidence('{name="train/loss"}')),
        ("rule:ratio", Evidence("(mean(train/loss) - 1) / 2", 1.5)),
        ("rule:both", Evidence("train/loss > val/loss")),
        ("rule:deleted", None),
        ("hung", None),
    ],
)
def test_a_rule_of_ones_own_shows_what_it_compares(rule: str, expected: Evidence | None) -> None:
    assert evidence(rule) == expected


def test_a_built_in_rule_shows_the_series_that_it_found() -> None:
    assert evidence("loss_spike", key='train/"odd" loss 0 120') == Evidence('{name="train/\\"odd\\" loss"}')
    assert evidence("nan_lasting", key="train/loss 3") == Evidence('{name="train/loss"}')
    assert evidence("slow_answers", key="0", numbers={"target_s": 0.2}) == Evidence('{name="service/p99_s"}', 0.2)


def test_a_finding_on_the_machine_shows_a_series_of_the_machine() -> None:
    assert evidence("host_memory_out", None, key="host/memory_used_bytes") == Evidence(
        '{name="host/memory_used_bytes", run=""}'
    )
    assert evidence("rule:high", None) == Evidence('{name="train/loss", run=""}', 8.0)
