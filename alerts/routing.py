"""Routes findings to messages: which are new, muted or acknowledged, and how they are grouped."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from access.files import FileStamp, bytes_of, stamp_of, write_bytes
from collectors.records import Finding
from collectors.yaml_values import YamlError, items_of

from .config import OWN, AlertSettings, Receiver, is_of
from .delivery import FOLDER, Outbox
from .messages import MAX_MEMBERS, AlertMessage, Composer, MessagePhase

FILE = "seen"
MAX_SEEN, MAX_SEEN_BYTES = 40_000, 16 << 20


class SeenFindings:
    """Ids, a line each, in `<data>/alerts/seen`: appended, and cut to the newest when there are twice as many. For one thread."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FOLDER / FILE
        try:
            text = bytes_of(self._path, most=MAX_SEEN_BYTES).decode("utf-8", "replace")
        except (OSError, ValueError):
            text = ""
        self.is_new = not self._path.exists()  # an alert that is older than this folder is no news
        whole = text[: text.rfind("\n") + 1]
        self._ids = dict.fromkeys(whole.split("\n")[-MAX_SEEN - 1 : -1])
        self._lines = len(self._ids)
        self._half = whole != text  # killed within a line

    def __contains__(self, id_: str) -> bool:
        return id_ in self._ids

    def add(self, ids: Iterable[str]) -> None:
        new = [id_ for id_ in ids if id_ not in self._ids and "\n" not in id_]
        if not new and self._path.exists():
            return
        if self._half or self._lines + len(new) > 2 * MAX_SEEN:
            self._rewrite(dict.fromkeys([*list(self._ids)[-MAX_SEEN:], *new]))
            return
        data = "".join(f"{id_}\n" for id_ in new).encode("utf-8", "replace")
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            self._half = True  # until all of it is there: a disk that fills takes a part
            self._half = os.write(descriptor, data) < len(data)
        finally:
            os.close(descriptor)
        if self._half:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        self._ids.update(dict.fromkeys(new))
        self._lines += len(new)

    def _rewrite(self, ids: dict[str, None]) -> None:
        write_bytes(self._path, "".join(f"{id_}\n" for id_ in ids).encode("utf-8", "replace"))
        self._ids, self._lines, self._half = ids, len(ids), False


# What is muted: `<data>/mutes.yaml`, by rule and run, for a time or until it is taken back.
#
# mutes:
# - {rule: data_stall, run: sweep/3, until: 2026-11-27T08:00:00+00:00}

MUTES_FILE = "mutes.yaml"
MAX_MUTES, MAX_WORD, MAX_MUTES_BYTES = 500, 1000, 1 << 20
LONGEST_H = 10 * 365 * 24.0


class Mute(NamedTuple):
    """None stands for all rules, all runs, for ever. `until_s` is Unix seconds."""

    rule: str | None
    run: str | None
    until_s: float | None

    def holds(self, now_s: float) -> bool:
        return self.until_s is None or self.until_s > now_s

    def is_about(self, rule: str, run: str | None) -> bool:
        return self.rule in (None, rule) and self.run in (None, run)


class MutesFile:
    """Read again where it has changed. For one thread, or under a lock."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / MUTES_FILE
        self._stamp: FileStamp | None = None
        self.mutes: list[Mute] = []
        self.trouble = ""

    def look(self) -> list[Mute]:
        """An odd file mutes what it did before."""
        try:
            stamp = stamp_of(self._path.stat())
        except OSError:
            self._stamp, self.mutes, self.trouble = None, [], ""
            return []
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self.mutes, self.trouble = mutes_in(self._path), ""
            except ValueError as error:
                self.trouble = str(error)
        return self.mutes


def is_muted(mutes: Iterable[Mute], rule: str, run: str | None, now_s: float) -> bool:
    return any(mute.holds(now_s) and mute.is_about(rule, run) for mute in mutes)


def save_mute(
    data_dir: Path, rule: str | None, run: str | None, hours: float | None, on: bool, now_s: float
) -> list[Mute]:
    """Mute, or take a mute back. Those that are over go. Raises ValueError: one sentence; Unwritable."""
    path = data_dir / MUTES_FILE
    for word in (rule, run):
        if word is not None and (not word or len(word) > MAX_WORD or "\x00" in word):
            raise ValueError(f"rule and run have 1 to {MAX_WORD:,} characters")
    if hours is not None and not 0 < hours <= LONGEST_H:
        raise ValueError("hours: more than 0, or nothing for as long as it is not taken back")
    until_s = None if hours is None else now_s + 3600.0 * hours
    kept = [
        mute
        for mute in (mutes_in(path) if path.exists() else [])
        if mute.holds(now_s) and (mute.rule, mute.run) != (rule, run)
    ]
    mutes = [*kept, Mute(rule, run, until_s)] if on else kept
    if len(mutes) > MAX_MUTES:
        raise ValueError(f"at most {MAX_MUTES} are muted at a time; take one back first")
    write_bytes(path, written(mutes).encode())
    return mutes


def mutes_in(path: Path) -> list[Mute]:
    """Raises ValueError: one sentence with the file and the line."""
    from collectors.yaml_tree import malformed, read_tree

    root = read_tree(path, MAX_MUTES_BYTES)
    listed = root.value.get("mutes") if isinstance(root.value, dict) else None
    if listed is None or listed.empty:
        return []
    try:
        return [_mute(item.line, item.value) for item in items_of(listed, MAX_MUTES_BYTES, "mutes")[:MAX_MUTES]]
    except YamlError as error:
        raise malformed(path, str(error)) from None


def _mute(line: int, value: object) -> Mute:
    if not isinstance(value, dict) or not value or set(value) - {"rule", "run", "until"}:
        raise YamlError(line, "a mute has rule, run and until")
    words = {key: node.value for key, node in value.items() if node.value != ""}
    if not all(isinstance(word, str) for word in words.values()):
        raise YamlError(line, "a mute has rule, run and until")
    until = words.get("until")
    try:
        until_s = None if until is None else _seconds(str(until))
    except (ValueError, OverflowError):
        raise YamlError(line, "until is a time such as 2026-11-27T08:00:00+01:00") from None
    return Mute(words.get("rule"), words.get("run"), until_s)


def _seconds(text: str) -> float:
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.astimezone()).timestamp()


def written(mutes: Sequence[Mute]) -> str:
    import yaml

    def row(mute: Mute) -> dict[str, str]:
        until = (
            None if mute.until_s is None else datetime.fromtimestamp(mute.until_s, UTC).isoformat(timespec="seconds")
        )
        found = {"rule": mute.rule, "run": mute.run, "until": until}
        return {key: word for key, word in found.items() if word is not None} or {"rule": ""}

    rows = {"mutes": [row(mute) for mute in mutes]}
    return "# What is muted: rule, run, until; what is left out stands for all\n" + yaml.safe_dump(
        rows, allow_unicode=True, sort_keys=False
    )


# Alerts that somebody has seen: `<data>/acknowledged.yaml`, by the finding's id. They no longer count as active; what is new still does.
#
# acknowledged:
# - {finding: crash-0a1b2c3d4e5f6071, at: 2026-11-30T08:00:00+00:00}

ACKNOWLEDGED_FILE = "acknowledged.yaml"
MAX_FINDINGS, MAX_ID_CHARACTERS, MAX_BYTES = 2000, 200, 1 << 20  # the oldest go first


class AcknowledgementsFile:
    """Read again when it has changed. For one thread, or under a lock."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / ACKNOWLEDGED_FILE
        self._stamp: FileStamp | None = None
        self._ids: frozenset[str] = frozenset()

    def look(self) -> frozenset[str]:
        """Ids of findings. A file that cannot be read acknowledges what it did before."""
        try:
            stamp = stamp_of(self._path.stat())
        except OSError:
            self._stamp, self._ids = None, frozenset()
            return self._ids
        if stamp != self._stamp:
            self._stamp = stamp
            with suppress(ValueError):
                self._ids = frozenset(_read(self._path))
        return self._ids


def save_acknowledged(data_dir: Path, findings: Collection[str], on: bool, now_s: float) -> None:
    """Acknowledge these findings, or take that back. Raises ValueError: one sentence; Unwritable."""
    path = data_dir / ACKNOWLEDGED_FILE
    at = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="seconds")
    kept = {id_: when for id_, when in (_read(path) if path.exists() else {}).items() if id_ not in findings}
    if on:
        kept |= dict.fromkeys(findings, at)
    write_bytes(path, _written(dict(list(kept.items())[-MAX_FINDINGS:])).encode())


def _read(path: Path) -> dict[str, str]:
    """By id, when it was acknowledged. Raises ValueError: one sentence with the file."""
    from collectors.yaml_tree import malformed, read_tree

    root = read_tree(path, MAX_BYTES)
    listed = root.value.get("acknowledged") if isinstance(root.value, dict) else None
    rows = listed.value if listed is not None and isinstance(listed.value, list) else []
    found = dict[str, str]()
    for row in rows[-MAX_FINDINGS:]:
        if not isinstance(row.value, dict) or not isinstance(
            id_ := getattr(row.value.get("finding"), "value", None), str
        ):
            raise malformed(path, f"line {row.line}: each entry names a finding")
        found[id_] = str(getattr(row.value.get("at"), "value", ""))
    return found


def _written(found: dict[str, str]) -> str:
    import yaml

    rows = {"acknowledged": [{"finding": id_, "at": at} for id_, at in found.items()]}
    return "# Alerts that were acknowledged, by the id of the finding\n" + yaml.safe_dump(
        rows, allow_unicode=True, sort_keys=False
    )


# Findings wait a moment for others of the same rule, so that a whole sweep, or all ranks, are one message (pure).

MAX_KEPT = 10_000
WAIT_S = 2.0  # the first of a rule waits so long; others within `group_s` are in the next message


class GroupKey(NamedTuple):
    receiver: str
    rule: str
    phase: MessagePhase


class MessageGroups:
    """What is about to become messages. Nothing of it needs to be kept: after a kill the store has the findings."""

    def __init__(self, known: Iterable[AlertMessage] = ()) -> None:
        self._open: dict[GroupKey, dict[str, Finding]] = {}
        self._since_s: dict[GroupKey, float] = {}
        self._last_s: dict[GroupKey, float] = {}
        for message in known:
            key = GroupKey(message.receiver, message.rule, message.phase)
            self._last_s[key] = max(self._last_s.get(key, 0.0), message.created_s)

    def add(self, receiver: str, phase: MessagePhase, found: Finding, now_s: float) -> None:
        key = GroupKey(receiver, found.rule, phase)
        self._open.setdefault(key, {})[found.id] = found
        self._since_s.setdefault(key, now_s)

    def waits_for(self, id_: str) -> bool:
        return any(id_ in members for members in self._open.values())

    def due(self, group_s: float, now_s: float) -> list[tuple[GroupKey, list[Finding]]]:
        """Those whose time has come, in order of their start. They stay until `done`."""
        ready = []
        for key, since_s in sorted(self._since_s.items(), key=lambda row: row[1]):
            last_s = self._last_s.get(key)
            full = len(self._open[key]) >= MAX_MEMBERS
            in_time = not 0 <= now_s - since_s < WAIT_S and (last_s is None or not 0 <= now_s - last_s < group_s)
            if full or in_time:
                ready.append(
                    (key, sorted(self._open[key].values(), key=lambda found: (found.from_s, found.id))[:MAX_MEMBERS])
                )
        return ready

    def done(self, key: GroupKey, members: Iterable[Finding], now_s: float) -> None:
        """They are in a message."""
        for found in members:
            self._open[key].pop(found.id, None)
        if not self._open[key]:
            del self._open[key], self._since_s[key]
        self._last_s[key] = now_s
        if len(self._last_s) > MAX_KEPT:
            newest = sorted(self._last_s.items(), key=lambda row: row[1])[-MAX_KEPT // 2 :]
            self._last_s = dict(newest)


# Which findings leave the machine, and to whom (pure).

FINISHED = "finished"  # good news: it is sent, and does not fire


def is_alert(settings: AlertSettings, found: Finding) -> bool:
    """By the first policy that is about it, else by its weight."""
    for policy in settings.policies:
        if (found.rule in policy.rules or "*" in policy.rules) and is_of(policy.runs, found.run):
            return policy.alerts
    return found.weight == "alert"


def receivers_of(settings: AlertSettings, found: Finding) -> list[Receiver]:
    """() where it does not alert."""
    return (
        []
        if not is_alert(settings, found)
        else [receiver for receiver in settings.receivers if _to(settings, found, receiver.name)]
    )


def _to(settings: AlertSettings, found: Finding, name: str) -> bool:
    if found.rule.startswith(OWN):
        rule = next((rule for rule in settings.rules if rule.rule == found.rule), None)
        if rule is not None and rule.to is not None:
            return name in rule.to
    for policy in settings.policies:
        if (found.rule in policy.rules or "*" in policy.rules) and is_of(policy.runs, found.run):
            return policy.to is None or name in policy.to
    return True


def fires(settings: AlertSettings, found: Finding) -> bool:
    """It holds, or was a moment, which is never over by itself."""
    if found.rule == FINISHED or not is_alert(settings, found):
        return False
    return not found.over or found.from_s == found.to_s


# From findings to messages in the outbox: who gets which, once, muted ones never, and when one is over.

MAX_OPEN = 20_000
LOOK_S = 10.0  # a mute may be over


class AlertRouter:
    """For one thread. What it decided is in the outbox and in `seen`; the rest is made again from the store's findings."""

    def __init__(self, outbox: Outbox, seen: SeenFindings, composer: Composer) -> None:
        self._outbox, self._seen, self._composer = outbox, seen, composer
        self._groups = MessageGroups([*outbox.sent(), *outbox.waiting()])
        self._open: dict[str, Finding] = {}  # that hold, are muted or wanted by no receiver now, and may be sent later
        self._ending: dict[str, Finding] = {}  # over, and a receiver may have to know
        self._news, self._looked_s = True, 0.0
        self._asked: tuple[AlertSettings, tuple[Mute, ...]] | None = None
        self._unseen: dict[str, Finding] = {}  # in a group that waits

    def begin(self, known: Iterable[Finding]) -> None:
        """What the store has at the start. In a new folder, what is over by then is no news."""
        found = list(known)
        if self._seen.is_new:
            self._seen.add(row.id for row in found if row.over)
        self.take(found)

    def take(self, found: Iterable[Finding]) -> None:
        for row in found:
            self._news = True
            if row.over:
                self._open.pop(row.id, None)
                self._ending[row.id] = row
            if row.id not in self._seen:
                self._open[row.id] = row
            if row.id in self._unseen:
                self._unseen[row.id] = row
        while len(self._open) > MAX_OPEN:
            self._open.pop(next(iter(self._open)))

    def look(self, settings: AlertSettings, mutes: Sequence[Mute], now_s: float) -> None:
        """Make messages of what is due. A file that cannot be written leaves all as it was: Unwritable."""
        asked = (settings, tuple(mutes))
        if self._news or asked != self._asked or not 0 <= now_s - self._looked_s < LOOK_S:
            self._news, self._asked, self._looked_s = False, asked, now_s
            self._begun(settings, mutes, now_s)
        self._ended(settings, mutes, now_s)
        for key, members in self._groups.due(settings.group_s, now_s):
            newest = [self._unseen.get(row.id, row) for row in members]
            series = _series(settings, key.rule)
            self._outbox.add(self._composer.message(key.receiver, key.phase, newest, settings, now_s, series))
            self._groups.done(key, members, now_s)
        done = [id_ for id_ in self._unseen if not self._groups.waits_for(id_)]
        if done:
            self._seen.add(done)
            for id_ in done:
                del self._unseen[id_]

    def _begun(self, settings: AlertSettings, mutes: Sequence[Mute], now_s: float) -> None:
        passed = []
        for row in list(self._open.values()):
            receivers = [] if is_muted(mutes, row.rule, row.run, now_s) else receivers_of(settings, row)
            if not receivers:
                if row.over:
                    passed.append(row.id)
                    del self._open[row.id]
                continue
            for receiver in receivers:
                if self._outbox.of(row.id, receiver.name, "begin") is None:
                    self._groups.add(receiver.name, "begin", row, now_s)
            self._unseen[row.id] = row
            del self._open[row.id]
        if passed:
            self._seen.add(passed)

    def _ended(self, settings: AlertSettings, mutes: Sequence[Mute], now_s: float) -> None:
        """A receiver that got the beginning of what lasted gets its end, once the beginning has arrived."""
        for row in list(self._ending.values()):
            waits = row.id in self._unseen
            for receiver in settings.receivers:
                begin = self._outbox.of(row.id, receiver.name, "begin")
                if (
                    begin is None
                    or row.id not in begin.lasting
                    or self._outbox.of(row.id, receiver.name, "end") is not None
                ):
                    continue
                if begin.state == "waiting":
                    waits = True
                elif begin.state == "delivered" and not is_muted(mutes, row.rule, row.run, now_s):
                    self._groups.add(receiver.name, "end", row, now_s)
            if not waits:
                del self._ending[row.id]


def _series(settings: AlertSettings, rule: str) -> str:
    """That an own rule is about, where it is one alone."""
    from .conditions import series_of

    own = next((own for own in settings.rules if own.rule == rule), None)
    return series_of(own.kind, own.text) if own is not None else ""
