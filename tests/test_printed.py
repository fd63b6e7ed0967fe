"""What training programs print is read as a careful human reads it: `tests/printed` has the logs, and what they say."""

from __future__ import annotations

import pytest

from tests.printed_logs import PRINTED, compared

KNOWN = {
    "cleanrl_ppo_gymnasium1": "`SPS: 7` alone on a line, between two lines of one step",
    "diffusers_text_to_image": "a bar is drawn several times at one step: the last values of a step count",
    "espnet2_asr": "an epoch's results follow `1epoch results:`, whose length no line says",
    "lightning_rich_bar": "a bar of two lines is drawn again at its last step, with other values",
    "lightning_rich_bar_pipe": "the first epoch that is shown is `2/2`: it may be the second or the third",
    "llm_c_train_gpt2": "a share of a metric that is not known as one, over a total",
    "nerfstudio": "a table that is drawn anew, whose columns are step, share and duration in one",
    "openrlhf_ppo_ray": "bars of micro batches have metrics of the same names as the steps",
    "speechbrain": "the bar's batches are the steps, not the epochs",
    "tutorial_pytorch_cifar10": "a sentence: `Accuracy of the network on the 10000 test images: 55 %`",
    "tutorial_yunjey_resnet": "a sentence: `Accuracy of the model on the test images: 79.41 %`",
}
"""Logs of which numbers are missing, and why."""
WRONG = {"lightning_rich_bar": 1, "openrlhf_ppo_ray": 8}
"""Numbers that are not the log's, as far as they are known."""
LOGS = sorted(PRINTED.glob("*.log"))


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
def test_its_steps_and_values_are_those_that_it_prints(log: object) -> None:
    found = compared(PRINTED / str(log))
    name = (PRINTED / str(log)).stem
    assert len(found.wrong) <= WRONG.get(name, 0), found.wrong
    assert not found.missing or name in KNOWN, found.missing


def test_nearly_all_are_read_whole() -> None:
    """95 % of the logs that are no sentences, and no others are said to be incomplete."""
    assert {*KNOWN} <= {log.stem for log in LOGS}
    assert len(KNOWN) <= 0.12 * len(LOGS)
