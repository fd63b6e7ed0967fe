"""What is drawn beside a finding: the series that its rule looked at, and the limit that it compares with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from analysis.expressions.language import BinaryOperation, NumberLiteral, parsed
from collectors.records import Finding

from .conditions import condition_of, series_of
from .config import OWN, UserRule

# Words after the name of the series in the keys of these rules' findings: a rank, a step.
WORDS_AFTER_NAME = {
    "nan": 2,
    "nan_lasting": 1,
    "loss_spike": 2,
    "gradient_blow_up": 1,
    "gradient_vanishing": 1,
    "scaler_collapse": 1,
    "new_best": 2,
    "memory_creep": 1,
}
SERIES = {
    "slow_answers": "service/p99_s",
    "requests_refused": "service/rejected",
    "queue_grows": "service/queue",
    "gpu_memory_creep": "gpu/memory_used_bytes",
    "disk_out": "host/disk_free_bytes",
}
LIMITS = {"slow_answers": "target_s"}  # among the numbers of the finding


class Evidence(NamedTuple):
    """`expression` is a series' name or an expression; `limit` is None where the rule compares with no fixed number."""

    expression: str
    limit: float | None = None


def evidence_of(found: Finding, rules: Sequence[UserRule]) -> Evidence | None:
    """None where no series shows it, and where a rule of `alerts.yaml` is gone."""
    if found.rule.startswith(OWN):
        rule = next((rule for rule in rules if rule.rule == found.rule), None)
        return None if rule is None else _of_rule(rule, found.run)
    key = str(found.fields.get("key", ""))
    if words := WORDS_AFTER_NAME.get(found.rule):
        name = key.rsplit(" ", words)[0]
        return Evidence(_named(name, found.run)) if name else None
    if found.rule == "host_memory_out":
        return Evidence(_named(key, None)) if key else None
    name = SERIES.get(found.rule, "")
    limit = found.fields.get("numbers", {}).get(LIMITS.get(found.rule, ""))
    return Evidence(_named(name, None if name.startswith(("gpu/", "host/")) else found.run), limit) if name else None


def _of_rule(rule: UserRule, run: str | None) -> Evidence:
    if name := series_of(rule.kind, rule.text):
        simple = condition_of(rule.kind, rule.text).simple
        return Evidence(_named(name, run), simple.number if simple else None)
    match parsed(rule.text):
        case BinaryOperation("<" | "<=" | ">" | ">=" | "==" | "!=", _, NumberLiteral(limit, None), at):
            return Evidence(rule.text[: at - 1].strip(), limit)
    return Evidence(rule.text)


def _named(name: str, run: str | None) -> str:
    """One series, whatever its name is made of; without a run, that of the machine."""
    text = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'{{name="{text}"}}' if run is not None else f'{{name="{text}", run=""}}'
