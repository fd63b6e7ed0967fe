"""What training programs print is read as a careful human reads it: `tests/data/printed` has the logs, and what they say."""

from __future__ import annotations

import pytest

from tests.support.printed_logs import PRINTED, compared

KNOWN = {
    "lightning_rich_bar_pipe": "the first epoch that is shown is `2/2`: it may be the second or the third",
    "llm_c_train_gpt2": "a share of a metric that is not known as one, over a total",
    "nerfstudio": "a table that is drawn anew, whose columns are step, share and duration in one",
    "openrlhf_ppo_ray": "another worker's bar of micro batches has metrics of the same names as the steps",
}
"""Logs of which numbers are missing, and why."""
WRONG = {"openrlhf_ppo_ray": 8}
"""Numbers that are not the log's, as far as they are known: series of another worker, under its name."""
LOGS = sorted(PRINTED.glob("*.log"))


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
def test_its_steps_and_values_are_those_that_it_prints(log: object) -> None:
    found = compared(PRINTED / str(log))
    name = (PRINTED / str(log)).stem
    assert len(found.wrong) <= WRONG.get(name, 0), found.wrong
    assert not found.missing or name in KNOWN, found.missing


def test_what_is_known_to_be_missing_is_of_logs_that_are_there() -> None:
    assert {*KNOWN, *WRONG} <= {log.stem for log in LOGS}
