"""The file `<data>/alerts.yaml`: channels, rules, quiet hours and limits, checked with line numbers."""

from __future__ import annotations

import argparse
import fnmatch
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo

from access.files import SETTLED_NS, FileStamp, bytes_of, stamp_of
from analysis.findings.rules import BY_NAME
from collectors import options
from collectors.records import FindingWeight
from collectors.yaml_values import YamlError, YamlNode, flag_of, meant, needed, number_of, only, table_of
from deepseek.log.redaction import LEFT_OUT, redacted

ReceiverKind: TypeAlias = Literal["ntfy", "email", "slack", "webhook", "desktop", "apprise"]
UserRuleKind: TypeAlias = Literal["when", "absent", "anomaly"]
OWN = "rule:"  # begins the rule of a finding that an own rule made
GROUP_S, RATE, RATE_PER_S = 60.0, 30, 3600.0


@dataclass(frozen=True)
class Receiver:
    """`values` are those of its kind; `env:NAME` and `file:PATH` among them stand for secrets."""

    name: str
    kind: ReceiverKind
    line: int
    values: Mapping[str, str]


@dataclass(frozen=True)
class UserRule:
    """Holds where its expression does for `for_s` seconds; of `absent` where a series gets no point for so long."""

    name: str
    kind: UserRuleKind
    text: str  # the expression
    for_s: float
    line: int
    runs: str = "*"
    to: tuple[str, ...] | None = None  # None: all receivers
    weight: FindingWeight = "alert"
    times: float = 8.0  # of an anomaly: how many spreads from the median
    enabled: bool = True  # one that is off is listed, and finds nothing

    @property
    def rule(self) -> str:
        """The rule of its findings."""
        return OWN + self.name


@dataclass(frozen=True)
class FindingPolicy:
    """Which findings of runs alert, and whom; the first that is about a finding counts."""

    rules: tuple[str, ...]
    alerts: bool
    line: int
    runs: str = "*"
    to: tuple[str, ...] | None = None


class QuietHours(NamedTuple):
    """From a minute of the day until another, in a time zone; `but` are rules that come through."""

    from_min: int
    to_min: int
    zone: ZoneInfo
    but: tuple[str, ...] = ()


class ConfigProblem(NamedTuple):
    """What is wrong with a line, as a sentence; `name` is that of the entry of `part` which is left out, where it has one."""

    line: int
    what: str
    part: str = ""  # "rules", "receivers"
    name: str = ""
    key: str = ""  # whose value is wrong or missing, where it is one

    def __str__(self) -> str:
        return f"line {self.line}: {self.what}"


@dataclass(frozen=True)
class AlertSettings:
    """`literals` are secrets that stand in the file where they must not."""

    receivers: tuple[Receiver, ...] = ()
    rules: tuple[UserRule, ...] = ()
    policies: tuple[FindingPolicy, ...] = ()
    quiet: QuietHours | None = None
    rate: int = RATE  # messages to a receiver, within
    rate_per_s: float = RATE_PER_S
    group_s: float = GROUP_S
    link: str = ""
    troubles: tuple[ConfigProblem, ...] = ()
    literals: tuple[str, ...] = field(default=(), repr=False)

    def receiver(self, name: str) -> Receiver | None:
        return next((receiver for receiver in self.receivers if receiver.name == name), None)


def web_address(text: str) -> SplitResult | None:
    """Of http or https, with a host, and a port from 1 to 65535 if any; None for any other text."""
    try:
        found = urlsplit(text)
        return found if found.scheme in ("http", "https") and found.hostname and found.port != 0 else None
    except ValueError:  # half a bracket, a port of letters, characters that no host has
        return None


def is_of(glob: str, run: str | None) -> bool:
    """Whether a run is one of these: `sweep/*`. What was found on the machine is of `*` only."""
    return glob == "*" or (run is not None and _pattern(glob).fullmatch(run) is not None)


@lru_cache(maxsize=4096)
def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(glob.replace("[", "[[]")))


# Secrets of receivers: never in alerts.yaml, but in a variable of the collector or a file of their own.

ENV, FILE = "env:", "file:"
MIN_SECRET = 4  # characters of a secret that is looked for in texts
MAX_BYTES = 16 << 10
KEYS = re.compile(
    r"""(\b(?:password|token|authorization)["']?[ \t]*:[ \t]*)(?!["']?(?:env|file):)([^\s,}#][^,}\n#]*)"""
)
ADDRESSES = re.compile(r"""\b(?!env:|file:)([A-Za-z][A-Za-z0-9+.-]{0,40})://([^\s"',}]*)""")


class MissingSecret(Exception):
    """The text says in one sentence what is missing."""


def is_reference(text: str) -> bool:
    return text.startswith((ENV, FILE)) and len(text) > len(FILE if text.startswith(FILE) else ENV)


def resolved(values: Mapping[str, str]) -> dict[str, str]:
    """With secrets in place of their references, read anew. Raises MissingSecret."""
    return {key: _read(text) if is_reference(text) else text for key, text in values.items()}


def secrets_of(values: Mapping[str, str]) -> list[str]:
    """The secrets themselves, to be left out of texts; those that cannot be read are none."""
    found = []
    for text in filter(is_reference, values.values()):
        try:
            found.append(_read(text))
        except MissingSecret:
            continue
    return found


def without(text: str, secrets: Iterable[str]) -> str:
    """A text with these secrets, and whatever looks like one, left out."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        for part in {secret, *secret.split()}:
            if len(part) >= MIN_SECRET:
                text = text.replace(part, LEFT_OUT)
    return redacted(text)


def shown_text(text: str, literals: Iterable[str] = ()) -> str:
    """alerts.yaml as pages show it: secrets that stand in it where they must not are left out, also where it cannot be read."""
    for literal in sorted(filter(None, literals), key=len, reverse=True):
        text = text.replace(literal, LEFT_OUT)
    text = KEYS.sub(lambda found: found[0] if LEFT_OUT in found[2] else f"{found[1]}{LEFT_OUT}", text)
    return ADDRESSES.sub(_shown_address, text)


def _shown_address(found: re.Match[str]) -> str:
    if found[1].lower() in ("http", "https") and is_plain(found[0]):
        return found[0]
    return found[0] if LEFT_OUT in found[0] else f"{found[1]}://{LEFT_OUT}"


def is_plain(address: str) -> bool:
    """Whether a web address has neither a user nor a secret in its query. Its path may be a key, as of a webhook: that may stand in alerts.yaml."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return "@" not in parts.netloc and redacted(f"?{parts.query}") == f"?{parts.query}"


def _read(reference: str) -> str:
    if reference.startswith(ENV):
        name = reference.removeprefix(ENV).strip()
        if not os.environ.get(name):
            raise MissingSecret(f"the variable {name} is not set where the collector runs")
        return os.environ[name].strip()
    path = Path(reference.removeprefix(FILE).strip()).expanduser()
    try:
        text = bytes_of(path.resolve(strict=True), most=MAX_BYTES).decode("utf-8").strip()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text file"
        raise MissingSecret(f"the file {path} cannot be read ({why})") from None
    if not text:
        raise MissingSecret(f"the file {path} is empty")
    return text


# Read `<data>/alerts.yaml`: whatever is wrong is one sentence with its line, and costs only the entry that it stands in.

MAX_RULES_BYTES, MAX_NODES = 1 << 20, 60_000
MAX_RULES, MAX_RECEIVERS, MAX_NAME, MAX_TEXT = 2000, 20, 80, 2000
MAX_TROUBLES = 100
EXAMPLE = "name: phone"  # a line of a table
ALL = {"rules", "receivers", "quiet", "rate", "group_s", "link"}
OF_RULE = {"name", "when", "absent", "anomaly", "finding", "for", "runs", "to", "severity", "times", "alert", "enabled"}
NEEDS = {
    "ntfy": ("topic",),
    "email": ("server", "to"),
    "slack": ("url",),
    "webhook": ("url",),
    "desktop": (),
    "apprise": ("url",),
}
MAY = {
    "ntfy": ("topic", "url", "token"),
    "email": ("server", "to", "from", "user", "password", "security"),
    "slack": ("url",),
    "webhook": ("url", "authorization"),
    "desktop": (),
    "apprise": ("url",),
}
SECRET = {
    ("ntfy", "token"),
    ("email", "password"),
    ("slack", "url"),
    ("webhook", "authorization"),
    ("apprise", "url"),
}
ADDRESS = re.compile(r"[^\s@,;:<>\"()\[\]\\]{1,64}@[A-Za-z0-9.-]{1,255}")
SERVER = re.compile(r"[A-Za-z0-9.-]{1,255}(?::(\d{1,5}))?|\[[0-9A-Fa-f:]+\](?::(\d{1,5}))?")
TOPIC = re.compile(r"[-_A-Za-z0-9]{1,64}")
CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
PER = re.compile(r"(\d{1,4}) ?(?:/|per) ?(min|h|d)")
BARE_SECONDS = re.compile(r"\d+(?:\.\d+)?")
T = TypeVar("T")


@dataclass
class _ParseContext:
    troubles: list[ConfigProblem] = field(default_factory=list)
    literals: list[str] = field(default_factory=list)


def settings_of(text: str) -> AlertSettings:
    """Raises nothing: what cannot be read is in `troubles`; an unreadable text has no rules."""
    from collectors.yaml_tree import tree_of  # of those who have such a file

    found = _ParseContext()
    try:
        root = tree_of(text, "alerts.yaml", MAX_RULES_BYTES, MAX_NODES)
        table = table_of(root, "alerts.yaml", "link: http://gpu-box:8080")
        only(table, ALL, "alerts.yaml")
    except YamlError as error:
        return AlertSettings(troubles=(ConfigProblem(error.line, error.what),))
    receivers = _each(table.get("receivers"), MAX_RECEIVERS, "receivers", lambda node: _receiver(node, found), found)
    names = [receiver.name for receiver in receivers]
    entries = _each(table.get("rules"), MAX_RULES, "rules", lambda node: _rule(node, names), found)
    quiet = _one(table.get("quiet"), _quiet, None, found)
    rate, per_s = _one(table.get("rate"), _rate, (RATE, RATE_PER_S), found)
    return AlertSettings(
        tuple(receivers),
        tuple(entry for entry in entries if isinstance(entry, UserRule)),
        tuple(entry for entry in entries if isinstance(entry, FindingPolicy)),
        quiet,
        rate,
        per_s,
        _one(table.get("group_s"), lambda node: min(_seconds(node), 3600.0), GROUP_S, found),
        _one(table.get("link"), _link, "", found),
        tuple(sorted(found.troubles)[:MAX_TROUBLES]),
        tuple(found.literals),
    )


def _each(node: YamlNode | None, most: int, what: str, read: Callable[[Any], T], found: _ParseContext) -> list[T]:
    """Those of a list that can be read; names are there once."""
    if node is None or node.empty:
        return []
    if not isinstance(node.value, list):
        found.troubles.append(ConfigProblem(node.line, f"{what} is a list, each beginning with a dash"))
        return []
    entries: list[T] = []
    for item in node.value[:most]:
        try:
            entry = read(item)
            if any(
                getattr(entry, "name", "") and getattr(entry, "name", "") == getattr(known, "name", None)
                for known in entries[-MAX_RULES:]
            ):
                raise YamlError(item.line, f"the name {getattr(entry, 'name', '')!r} is there twice", "name")
            entries.append(entry)
        except YamlError as wrong:
            found.troubles.append(ConfigProblem(wrong.line, wrong.what, what, _name_in(item), wrong.key))
    if len(node.value) > most:
        found.troubles.append(ConfigProblem(node.value[most].line, f"at most {most:,} {what} are read"))
    return entries


def _one(node: YamlNode | None, read: Callable[[Any], T], default: T, found: _ParseContext) -> T:
    if node is None or node.empty:
        return default
    try:
        return read(node)
    except YamlError as wrong:
        found.troubles.append(ConfigProblem(wrong.line, wrong.what, key=wrong.key))
        return default


def _receiver(node: YamlNode, found: _ParseContext) -> Receiver:
    table = table_of(node, "a receiver", EXAMPLE)
    name, kind = _name(table, node, "receiver"), _text(needed(table, "kind", node, "a receiver"))
    if kind not in MAY:
        raise YamlError(
            table["kind"].line, f"there is no kind {kind[:80]!r}{meant(kind, MAY)}; kinds: {', '.join(MAY)}"
        )
    values: dict[str, str] = {}
    for key, value in table.items():
        if key in ("name", "kind"):
            continue
        if key not in MAY[kind]:
            raise YamlError(value.line, f"a receiver of kind {kind} has no key {key[:80]!r}{meant(key, MAY[kind])}")
        text = ", ".join(_words(value)) if key == "to" else _text(value)
        if (kind, key) in SECRET or (key == "url" and kind != "apprise"):
            _check_secret(kind, key, text, value.line, found)
        _check_value(kind, key, text, value.line)
        values[key] = text
    for key in NEEDS[kind]:
        if not values.get(key):
            raise YamlError(node.line, f"the receiver {name!r} of kind {kind} needs {key}", key)
    if "user" in values and "password" not in values:
        raise YamlError(node.line, f"the receiver {name!r} has a user and no password", "password")
    return Receiver(name, kind, node.line, values)  # type: ignore[arg-type]  # of MAY


def _check_secret(kind: str, key: str, text: str, line: int, found: _ParseContext) -> None:
    if is_reference(text):
        return
    if (kind, key) in SECRET:
        found.literals.append(text)
        raise YamlError(
            line, f"{key} is a secret: write env:NAME of a variable, or file:/path of a file that holds it", key
        )
    if not is_plain(text) if web_address(text) else (redacted(text) != text or "@" in text):
        found.literals.append(text)
        raise YamlError(
            line,
            f"there is a secret in {key}: write env:NAME of a variable, or file:/path of a file that holds it",
            key,
        )


def _check_value(kind: str, key: str, text: str, line: int) -> None:
    if is_reference(text):
        return
    if key == "url" and kind != "apprise" and web_address(text) is None:
        raise YamlError(line, "url is an address such as https://example.org/hook, or env:NAME, or file:/path", key)
    if key == "topic" and not TOPIC.fullmatch(text):
        raise YamlError(line, "topic has up to 64 letters, digits, - and _", key)
    if key == "security" and text not in ("starttls", "ssl", "none"):
        raise YamlError(line, "security is starttls, ssl or none", key)
    if key in ("to", "from") and not all(ADDRESS.fullmatch(word) for word in text.split(", ")):
        raise YamlError(line, f"{key} is an address such as anna@example.org, or a list of them", key)
    if key == "server" and not (
        (server := SERVER.fullmatch(text)) and int(server[1] or server[2] or 1) in range(1, 1 << 16)
    ):
        raise YamlError(line, "server is a host and a port such as smtp.example.org:587", key)


def _rule(node: YamlNode, receivers: list[str]) -> UserRule | FindingPolicy:
    table = table_of(node, "a rule", EXAMPLE)
    only(table, OF_RULE, "a rule")
    kinds = [kind for kind in ("when", "absent", "anomaly", "finding") if kind in table]
    if len(kinds) != 1:
        raise YamlError(node.line, "a rule has one of when, absent, anomaly and finding")
    kind = kinds[0]
    runs = _text(table["runs"]) if "runs" in table else "*"
    to = _to(table["to"], receivers) if "to" in table else None
    if kind == "finding":
        only(table, {"finding", "runs", "to", "alert", "name"}, "a rule about findings")
        return FindingPolicy(
            _findings(table["finding"]), flag_of(table["alert"]) if "alert" in table else True, node.line, runs, to
        )
    only(table, OF_RULE - {"alert", "finding"}, "a rule about series")
    enabled = flag_of(table["enabled"]) if "enabled" in table else True
    name = _name(table, node, "rule")
    text = _text(table[kind], MAX_TEXT)
    _check_expression(kind, text, table[kind].line)
    severity = _text(table["severity"]) if "severity" in table else "alert"
    if severity not in ("note", "alert"):
        raise YamlError(table["severity"].line, "severity is alert, or note for a mark on the axis only")
    for_s = _seconds(table["for"]) if "for" in table else 0.0
    if kind == "absent" and not for_s:
        raise YamlError(node.line, f"the rule {name!r} needs for: the time without a point, such as 10 min")
    times = number_of(table["times"], 1.0, 1000.0) if "times" in table else 8.0
    return UserRule(name, kind, text, for_s, node.line, runs, to, severity, times, enabled)  # type: ignore[arg-type]  # checked above


def _check_expression(kind: str, text: str, line: int) -> None:
    from .conditions import condition_of

    try:
        condition_of(kind, text)
    except ValueError as error:
        raise YamlError(line, f"{kind}: {error}") from None


def _findings(node: YamlNode) -> tuple[str, ...]:
    words = _words(node)
    for word in words:
        if word != "*" and word not in BY_NAME:
            raise YamlError(
                node.line, f"there is no finding {word[:80]!r}{meant(word, BY_NAME)}; docs/findings.md lists them"
            )
    if not words:
        raise YamlError(node.line, "finding names one, or a list of them")
    return tuple(words)


def _to(node: YamlNode, receivers: list[str]) -> tuple[str, ...]:
    words = _words(node)
    for word in words:
        if word not in receivers:
            raise YamlError(node.line, f"there is no receiver {word[:80]!r}{meant(word, receivers)}")
    return tuple(dict.fromkeys(words))


def _quiet(node: YamlNode) -> QuietHours:
    table = table_of(node, "quiet", EXAMPLE)
    only(table, {"from", "to", "zone", "but"}, "quiet")
    minutes = []
    for key in ("from", "to"):
        text = _text(needed(table, key, node, "quiet"))
        clock = CLOCK.fullmatch(text)
        if clock is None:
            raise YamlError(table[key].line, f"{key} is a time of the day such as 22:00", key)
        minutes.append(60 * int(clock[1]) + int(clock[2]))
    zone = _text(needed(table, "zone", node, "quiet"))
    try:
        found = ZoneInfo(zone)
    except (ValueError, OSError, KeyError):
        raise YamlError(
            table["zone"].line, f"{zone[:80]!r} is not a time zone, such as Europe/Berlin", "zone"
        ) from None
    return QuietHours(minutes[0], minutes[1], found, tuple(_words(table["but"])) if "but" in table else ())


def _rate(node: YamlNode) -> tuple[int, float]:
    found = PER.fullmatch(_text(node))
    if found is None or not int(found[1]):
        raise YamlError(node.line, "rate is a number of messages such as 30/h")
    return int(found[1]), float(options.SECONDS[found[2]])


def _link(node: YamlNode) -> str:
    text = _text(node)
    address = web_address(text)
    if address is None or address.username or re.search(r"[\s<>\"']", text):
        raise YamlError(node.line, "link is the address of the dashboard, such as http://gpu-box:8080")
    return text.rstrip("/")


def _seconds(node: YamlNode) -> float:
    text = _text(node)
    if BARE_SECONDS.fullmatch(text):
        return min(float(text), 30 * 86400.0)
    try:
        return min(options.seconds(re.sub(r"(?<=[\d ])m$", "min", text)), 30 * 86400.0)
    except argparse.ArgumentTypeError as error:
        raise YamlError(node.line, str(error)) from None


def _name(table: Mapping[str, YamlNode], node: YamlNode, what: str) -> str:
    text = _text(needed(table, "name", node, f"a {what}"))
    if not 0 < len(text) <= MAX_NAME or not text.isprintable():
        raise YamlError(table["name"].line, f"the name of a {what} has 1 to {MAX_NAME} printable characters", "name")
    return text


def _name_in(node: YamlNode) -> str:
    named = node.value.get("name") if isinstance(node.value, dict) else None
    return str(named.value)[:MAX_NAME] if named is not None and isinstance(named.value, str) else ""


def _words(node: YamlNode) -> list[str]:
    """A word, or a list of them."""
    return [_text(item) for item in node.value] if isinstance(node.value, list) else [_text(node)]


def _text(node: YamlNode, most: int = 500) -> str:
    if not isinstance(node.value, str):
        raise YamlError(node.line, "text or a number belongs here")
    text = node.value.strip()
    if len(text) > most or not all(character.isprintable() or character in "\n\t" for character in text):
        raise YamlError(node.line, f"at most {most} printable characters")
    return text


# `<data>/alerts.yaml`, read again where it has changed.

RULES_FILE = "alerts.yaml"
NOTHING = AlertSettings()


class AlertsFile:
    """For one thread, or under a lock. Where it can no longer be read at all, what it said before holds."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / RULES_FILE
        self.text = ""
        self._stamp: FileStamp | None = None
        self._settled = False
        self._unread = False  # the last look could not read it
        self._settings = NOTHING
        self.changes = 0  # rises with each change

    def look(self) -> AlertSettings:
        try:
            stamp = stamp_of(self.path.stat())
        except FileNotFoundError:
            if self._stamp is not None or self._unread:
                self._stamp, self._unread, self.text, self._settings = None, False, "", NOTHING
                self.changes += 1
            return self._settings
        except OSError as error:
            self._keep(f"{self.path} cannot be read ({error.strerror})")
            return self._settings
        if stamp != self._stamp or self._unread or not self._settled:
            self._settled = time.time_ns() - stamp.modified_ns > SETTLED_NS
            self._stamp = stamp
            self._read()
        return self._settings

    def _read(self) -> None:
        try:
            text = bytes_of(self.path, most=MAX_RULES_BYTES).decode("utf-8-sig")
        except (OSError, ValueError) as error:
            self._keep(f"{self.path} cannot be read ({error})")
            return
        if text == self.text and self.changes and not self._unread:
            return
        found, known = settings_of(text), self._settings
        self._unread, self.text = False, text
        if found.troubles and not (found.rules or found.receivers or found.policies):
            self._settings = replace(known, troubles=found.troubles, literals=found.literals)
        else:
            self._settings = found
        self.changes += 1

    def _keep(self, what: str) -> None:
        self._unread = True
        if [trouble.what for trouble in self._settings.troubles] != [what]:
            self._settings = replace(self._settings, troubles=(ConfigProblem(1, what),))
            self.changes += 1
