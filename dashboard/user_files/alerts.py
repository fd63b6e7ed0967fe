"""The rules and channels of alerts, in `<data>/alerts.yaml`, which users edit beside us, and the secrets of channels beside it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

from access.files import write_bytes
from alerts.config import (
    FILE,
    MAX_NODES,
    MAX_RULES_BYTES,
    OWN,
    RULES_FILE,
    SECRET,
    AlertSettings,
    is_reference,
    settings_of,
    web_address,
)
from alerts.routing import is_alert, receivers_of
from analysis.findings.rules import BY_NAME
from collectors.records import Finding
from deepseek.log.redaction import LEFT_OUT

from .yaml_lines import Table, changed, data_of

Entry: TypeAlias = dict[str, Any]


class WrongField(ValueError):
    """A change that cannot be, for the value of one of its fields, whose key is `field`."""

    def __init__(self, sentence: str, field: str) -> None:
        super().__init__(sentence)
        self.field = field


SECRETS = "alerts/secrets"  # in the data folder: a file for each secret that was typed into a form
MAX_SECRET = 4096


def save_alerts(data_dir: Path, text: str, before: str | None = None) -> None:
    """As it is, comments and all. Mistakes that `before` has as well do not hinder a change of something else.

    Raises ValueError: what is wrong first, with its line; Unwritable.
    """
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise ValueError("line 1: no half characters (lone surrogates)") from None
    if len(data) > MAX_RULES_BYTES:
        raise ValueError(f"line 1: alerts.yaml has at most {MAX_RULES_BYTES >> 10} KiB")
    if before is None and LEFT_OUT in text:
        line = text[: text.index(LEFT_OUT)].count("\n") + 1
        raise ValueError(f"line {line}: a secret was left out here; write env:NAME or file:/path in its place")
    check_mistakes(text, before)
    write_bytes(data_dir / RULES_FILE, data)


def check_mistakes(text: str, before: str | None) -> None:
    """Raises ValueError for the first mistake that `before` does not have; a secret that stands in it must go first."""
    if before is not None and settings_of(before).literals:
        before = None
    known = {trouble.what for trouble in settings_of(before).troubles} if before is not None else set()
    for trouble in settings_of(text).troubles:
        if trouble.what not in known:
            raise WrongField(str(trouble) if before is None else trouble.what, trouble.key)


# Changes by form: each takes the text as it is, and returns it with one entry more, less or otherwise.


def with_rule(text: str, name: str | None, rule: Mapping[str, Any] | None) -> str:
    """`name` is that of the rule about series that is replaced, None for a new one; without `rule` it is deleted. Raises ValueError."""

    def change(table: Table) -> None:
        rules = _listed(table, "rules")
        _put(rules, _place(rules, "name", name, "rule"), rule)

    return changed(text, RULES_FILE, change, MAX_RULES_BYTES, MAX_NODES)


def with_policy(text: str, findings: Sequence[str], runs: str, policy: Mapping[str, Any] | None) -> str:
    """What findings of some runs do: the entry about just these, which is made anew at the top, where it comes before others. Raises ValueError."""

    def change(table: Table) -> None:
        rules = _listed(table, "rules")
        same = [row for row in rules if _is_about(row, findings, runs)]
        for row in same:
            rules.remove(row)
        if policy is not None:
            rules.insert(0, {"finding": list(findings), **({} if runs == "*" else {"runs": runs}), **policy})

    return changed(text, RULES_FILE, change, MAX_RULES_BYTES, MAX_NODES)


def with_channel(text: str, name: str | None, channel: Mapping[str, Any] | None) -> str:
    """`name` is that of the channel that is replaced, None for a new one; without `channel` it is deleted. Rules follow. Raises ValueError."""

    def change(table: Table) -> None:
        channels = _listed(table, "receivers")
        _put(channels, _place(channels, "name", name, "channel"), channel)
        new = channel["name"] if channel else None
        for rule in _listed(table, "rules") if name is not None and new != name else ():
            to = rule.get("to") if isinstance(rule, dict) else None
            words = [to] if isinstance(to, str) else to
            if isinstance(words, list) and name in words:
                rule["to"] = [new if word == name else word for word in words if new is not None or word != name]
                if not rule["to"]:
                    rules = rule.get("name") or rule.get("finding")
                    raise ValueError(f"the rule {rules!r} notifies {name} alone; choose another channel for it first")

    return changed(text, RULES_FILE, change, MAX_RULES_BYTES, MAX_NODES)


def with_quiet(text: str, quiet: Mapping[str, Any] | None) -> str:
    """Quiet hours, or none. Raises ValueError."""

    def change(table: Table) -> None:
        table.pop("quiet", None)
        if quiet is not None:
            table["quiet"] = dict(quiet)

    return changed(text, RULES_FILE, change, MAX_RULES_BYTES, MAX_NODES)


def with_switch(text: str, rule: str, on: bool) -> str:
    """A rule, by the name of its findings, finds and sends, or does not. Raises ValueError."""

    def change(table: Table) -> None:
        rows = _listed(table, "rules")
        place = _place(rows, "name", rule.removeprefix(OWN), "rule")
        assert place is not None
        rows[place].pop("enabled", None)
        if not on:
            rows[place]["enabled"] = False

    if rule.startswith(OWN):
        return changed(text, RULES_FILE, change, MAX_RULES_BYTES, MAX_NODES)
    kept = next((policy.to for policy in settings_of(text).policies if policy.rules == (rule,) and policy.runs == "*"), None)  # fmt: skip
    to = {} if kept is None else {"to": list(kept)}
    return _with_outcome(text, rule, "*", to if on else {**to, "alert": "no"}, lambda found: is_alert(found, _finding(rule, None)) == on)  # fmt: skip


def with_notice(text: str, rule: str, run: str, to: Sequence[str]) -> str:
    """What a rule finds in one run is sent to these channels alone. Raises ValueError."""
    wanted = {"to": list(to)} if to else {"alert": "no"}

    def is_so(found: AlertSettings) -> bool:
        return {receiver.name for receiver in receivers_of(found, _finding(rule, run))} == set(to)

    return _with_outcome(text, rule, run, wanted, is_so)


def notified(settings: AlertSettings, rule: str, run: str) -> list[str]:
    """The channels that get what a rule finds in a run."""
    return [receiver.name for receiver in receivers_of(settings, _finding(rule, run))]


def _with_outcome(text: str, rule: str, runs: str, policy: Entry, is_so: Callable[[AlertSettings], bool]) -> str:
    """An entry only where the others do not say it already."""
    without = with_policy(text, [rule], runs, None)
    return without if "to" not in policy and is_so(settings_of(without)) else with_policy(text, [rule], runs, policy)


def _finding(rule: str, run: str | None) -> Finding:
    return Finding("", run, rule, BY_NAME[rule].weight, 0.0, 0.0, True, "")


def opted_in(text: str, rule: str, run: str | None) -> str:
    """What that finding rule finds, in this run or in all, is sent as an alert. Raises ValueError."""
    return with_policy(text, [rule], "*" if run is None else run, {})


def channel_of(text: str, name: str) -> Entry:
    """The keys of a channel as they are written; {} where there is none. Raises ValueError."""
    channels = _listed(data_of(text, RULES_FILE, MAX_RULES_BYTES, MAX_NODES), "receivers")
    return next((row for row in channels if isinstance(row, dict) and row.get("name") == name), {})


def _listed(table: Table, key: str) -> list[Any]:
    rows = table.get(key) or []
    if not isinstance(rows, list):
        raise ValueError(f"{key} is a list, each beginning with a dash; correct alerts.yaml as YAML first")
    table[key] = rows
    return rows


def _place(rows: list[Any], key: str, name: str | None, noun: str) -> int | None:
    if name is None:
        return None
    place = next((at for at, row in enumerate(rows) if isinstance(row, dict) and row.get(key) == name), None)
    if place is None:
        raise ValueError(f"there is no {noun} {name!r} any more; reload the page")
    return place


def _put(rows: list[Any], place: int | None, entry: Mapping[str, Any] | None) -> None:
    rows[len(rows) if place is None else place : None if place is None else place + 1] = [dict(entry)] if entry else []


def _is_about(row: Any, findings: Sequence[str], runs: str) -> bool:
    found = row.get("finding") if isinstance(row, dict) else None
    words = [found] if isinstance(found, str) else found
    return isinstance(words, list) and set(words) == set(findings) and row.get("runs", "*") == runs


# Secrets that were typed into a form: each in a file that only we can read, named in alerts.yaml by `file:`.


def secret_keys(kind: str) -> list[str]:
    """Which values of a kind are typed and never shown: also the address of a webhook, whose path is often a key."""
    return [key for of, key in (*sorted(SECRET), ("webhook", "url")) if of == kind]


def keep_secret(data_dir: Path, text: str) -> str:
    """The reference to it. A reference is one already. Raises ValueError, Unwritable."""
    text = text.strip()
    if is_reference(text):
        return text
    if not 0 < len(text) <= MAX_SECRET or not text.isprintable():
        raise ValueError(f"a secret has 1 to {MAX_SECRET:,} printable characters")
    path = data_dir.absolute() / SECRETS / secrets.token_hex(8)
    path.parent.parent.mkdir(mode=0o700, exist_ok=True)
    write_bytes(path, text.encode())
    return f"{FILE}{path}"


def drop_secrets(data_dir: Path, values: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
    """The files of these references that are ours and no longer named."""
    folder = data_dir.absolute() / SECRETS
    for key, value in values.items():
        if isinstance(value, str) and value.startswith(FILE) and kept.get(key) != value:
            path = Path(value.removeprefix(FILE))
            if path.parent == folder:
                with suppress(OSError):
                    path.unlink()


def check_secret(kind: str, key: str, text: str) -> None:
    """Raises ValueError for an address that is none: once it is kept, only its delivery would say so."""
    if key == "url" and kind != "apprise" and not is_reference(text.strip()) and web_address(text.strip()) is None:
        raise WrongField("url is an address such as https://example.org/hook", key)
