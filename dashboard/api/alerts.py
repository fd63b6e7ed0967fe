"""Alerts: what fires, what is muted, what was sent to whom, and the file of rules and receivers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from access.roles import Role, needs
from alerts.config import (
    MAX_RECEIVERS,
    MAX_RULES_BYTES,
    MAX_TEXT,
    OWN,
    AlertSettings,
    QuietHours,
    Receiver,
    ReceiverKind,
    UserRuleKind,
)
from alerts.messages import AlertMessage, MessagePhase, shown_target
from alerts.routing import FINISHED, LONGEST_H, MAX_FINDINGS, MAX_ID_CHARACTERS, MAX_WORD
from analysis.findings.watch import WITH_RUN
from collectors.records import FindingWeight

from ..findings import AlertsSnapshot
from ..mutations import Changes
from ..queries import BadRequest, Queries
from ..user_files.alerts import MAX_SECRET, notified
from .answers import Answer, WrongFieldAnswer
from .findings import FindingRow, finding_row
from .parameters import MAX_CHARACTERS

MAX_MESSAGES = 2000


class MuteRow(TypedDict):
    """null stands for all rules, all runs, for ever; `until` is Unix seconds."""

    rule: str | None
    run: str | None
    until: float | None


class OwnRuleRow(TypedDict):
    """A rule of alerts.yaml. `trouble` says what is wrong with it, with its line; such a rule is left out, or was not evaluated."""

    name: str
    kind: UserRuleKind | None
    expression: str
    for_s: float
    runs: str
    to: list[str] | None
    severity: FindingWeight | None
    line: int
    state: Literal["firing", "quiet", "trouble"]
    firing: int
    trouble: str


class PolicyRow(TypedDict):
    """Which findings of which runs alert, and whom (null: all receivers)."""

    findings: list[str]
    runs: str
    to: list[str] | None
    alert: bool
    line: int


class ReceiverRow(TypedDict):
    """`target` is what may be shown of its address. Times are Unix seconds."""

    name: str
    kind: ReceiverKind
    target: str
    last_delivery: float | None
    last_error: str
    waiting: int


class AlertTroubleRow(TypedDict):
    line: int
    sentence: str


class AlertMessageRow(TypedDict):
    """`state` is resolved where a delivered message says that something is over, unresolved where it held until the run ended, summed where it is in a later one that sums up."""

    id: str
    time: float
    receiver: str
    state: Literal["delivered", "waiting", "failed", "resolved", "unresolved", "summed"]
    phase: MessagePhase
    rule: str
    title: str
    severity: str
    sentence: str
    run: str | None
    runs: list[str]
    findings: list[str]
    attempts: int
    next_try: float | None
    error: str


class AlertsAnswer(TypedDict):
    """`acknowledged` are ids of firing alerts that somebody has seen, `recent` are alerts of the last 24 h, `unresolved` ids of those of them that held until their run ended, `finished` runs that finished since then, `desktop` messages that a page shows as notifications, each id once.

    `trouble` is "" or the first sentence of what is wrong with alerts.yaml; `troubles` has all.
    """

    firing: list[FindingRow]
    acknowledged: list[str]
    recent: list[FindingRow]
    unresolved: list[str]
    finished: list[FindingRow]
    muted: list[FindingRow]
    mutes: list[MuteRow]
    rules: list[OwnRuleRow]
    policies: list[PolicyRow]
    receivers: list[ReceiverRow]
    desktop: list[AlertMessageRow]
    text: str
    trouble: str
    troubles: list[AlertTroubleRow]
    mutes_trouble: str
    quiet: QuietHours | None


class AlertHistory(TypedDict):
    """Those that wait first, then the newest first."""

    messages: list[AlertMessageRow]


class AlertTestAnswer(TypedDict):
    ok: bool
    sentence: str


class AlertText(BaseModel):
    text: str = Field(max_length=MAX_RULES_BYTES)


class MuteAction(BaseModel):
    rule: str | None = Field(default=None, min_length=1, max_length=MAX_WORD)
    run: str | None = Field(default=None, min_length=1, max_length=MAX_WORD)
    hours: float | None = Field(default=None, gt=0, le=LONGEST_H)
    on: bool = True


class AcknowledgeAction(BaseModel):
    findings: list[Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARACTERS)]] = Field(
        min_length=1, max_length=MAX_FINDINGS
    )
    on: bool = True


class AlertTestAction(BaseModel):
    receiver: str = Field(min_length=1, max_length=MAX_WORD)


Word = Annotated[str, Field(min_length=1, max_length=MAX_WORD)]
Names = Annotated[list[Word], Field(max_length=MAX_RECEIVERS)]


class OwnRuleFields(BaseModel):
    """As alerts.yaml has them: `for` is a duration such as `5 min`, `to` null for all channels."""

    name: Word
    kind: UserRuleKind
    expression: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    for_: Annotated[str, Field(alias="for", max_length=40)] = ""
    runs: Word = "*"
    to: Names | None = None
    severity: FindingWeight = "alert"
    times: float | None = None
    enabled: bool = True

    def entry(self) -> dict[str, Any]:
        """Without what is usual."""
        usual = {"runs": "*", "to": None, "severity": "alert", "times": None, "for": ""}
        kept = {"for": self.for_, "runs": self.runs, "to": self.to, "severity": self.severity, "times": self.times}
        more = {key: value for key, value in kept.items() if value != usual[key]}
        return {"name": self.name, self.kind: self.expression, **more, **({} if self.enabled else {"enabled": False})}


class RuleChange(BaseModel):
    """`name` is that of the rule that is replaced, null for a new one; without `rule` it is deleted."""

    name: Word | None = None
    rule: OwnRuleFields | None = None


class PolicyFields(BaseModel):
    to: Names | None = None
    alert: bool = True


class PolicyChange(BaseModel):
    """What findings of some runs do; without `policy` what is usual for them."""

    findings: Annotated[list[Word], Field(min_length=1, max_length=MAX_FINDINGS)]
    runs: Word = "*"
    policy: PolicyFields | None = None


class RuleSwitch(BaseModel):
    """`rule` is the name of its findings: `crash`, `rule:loss is high`."""

    rule: Word
    on: bool


class ChannelChange(BaseModel):
    """`channel` has `name`, `kind` and the keys of its kind; an empty secret stays what it is. Without `channel` it is deleted."""

    name: Word | None = None
    channel: dict[Annotated[str, Field(max_length=40)], Annotated[str, Field(max_length=MAX_SECRET)]] | None = None


class QuietFields(BaseModel):
    from_: Annotated[str, Field(alias="from", max_length=10)]
    to: Annotated[str, Field(max_length=10)]
    zone: Annotated[str, Field(max_length=80)]
    but: Annotated[list[Word], Field(max_length=MAX_FINDINGS)] = []


class QuietChange(BaseModel):
    quiet: QuietFields | None = None


class NoticeChange(BaseModel):
    """Which channels hear of the end of a run."""

    run: Word
    finding: Literal["crash", "finished"]
    to: Names


class RunNotice(TypedDict):
    """Of a run: the channels there are, and which of them hear that it crashed or finished."""

    channels: list[ChannelName]
    crash: list[str]
    finished: list[str]


class ChannelName(TypedDict):
    name: str
    kind: ReceiverKind


MostMessages = Annotated[int, Query(ge=1, le=MAX_MESSAGES, alias="limit", description="at most so many")]


def add_routes(router: APIRouter, queries: Queries) -> None:
    @router.get(
        "/alerts", response_model=None, summary="What fires, what is muted, own rules, receivers, and the file of them"
    )
    @needs(Role.OWNER)
    def alerts() -> Answer[AlertsAnswer]:
        return Answer(alerts_answer(queries))

    @router.get(
        "/alerts/history", response_model=None, summary="Messages to receivers: delivered, waiting and failed ones"
    )
    @needs(Role.OWNER)
    def history(limit: MostMessages = 200) -> Answer[AlertHistory]:
        return Answer({"messages": [message_row(message) for message in queries.alerts.messages(limit)]})

    @router.get("/alerts/notify", response_model=None, summary="Which channels hear of the end of a run")
    @needs(Role.OWNER)
    def notice(run: Annotated[str, Query(max_length=MAX_CHARACTERS)]) -> Answer[RunNotice]:
        queries.check_run(run)
        return Answer(_notice(queries, run))


WRONG_FIELD: dict[int | str, dict[str, Any]] = {
    400: {"model": WrongFieldAnswer, "description": "a value cannot be; nothing is saved"}
}


def add_changes(router: APIRouter, queries: Queries, changes: Changes) -> None:
    @router.post("/alerts/rule", response_model=None, summary="Add, replace or delete a rule of alerts.yaml")
    @needs(Role.OWNER)
    def set_rule(given: RuleChange) -> Answer[AlertsAnswer]:
        changes.set_rule(given.name, given.rule.entry() if given.rule else None)
        return Answer(alerts_answer(queries))

    @router.post("/alerts/policy", response_model=None, summary="Say whether findings of some runs alert, and whom")
    @needs(Role.OWNER)
    def set_policy(given: PolicyChange) -> Answer[AlertsAnswer]:
        policy = given.policy
        to = {} if policy is None or policy.to is None else {"to": policy.to}
        alert = {} if policy is None or policy.alert else {"alert": "no"}
        changes.set_policy(given.findings, given.runs, None if policy is None else {**to, **alert})
        return Answer(alerts_answer(queries))

    @router.post("/alerts/switch", response_model=None, summary="Turn a rule on or off")
    @needs(Role.OWNER)
    def switch(given: RuleSwitch) -> Answer[AlertsAnswer]:
        changes.switch_rule(given.rule, given.on)
        return Answer(alerts_answer(queries))

    @router.post(
        "/alerts/channel",
        response_model=None,
        summary="Add, replace or delete a channel of alerts.yaml",
        responses=WRONG_FIELD,
    )
    @needs(Role.OWNER)
    def set_channel(given: ChannelChange) -> Answer[AlertsAnswer]:
        if given.channel is not None and not {"name", "kind"} <= given.channel.keys():
            raise BadRequest("a channel needs name and kind")
        changes.set_channel(given.name, given.channel)
        return Answer(alerts_answer(queries))

    @router.post("/alerts/quiet", response_model=None, summary="Set the quiet hours, or none", responses=WRONG_FIELD)
    @needs(Role.OWNER)
    def set_quiet(given: QuietChange) -> Answer[AlertsAnswer]:
        quiet = given.quiet
        fields = None if quiet is None else {"from": quiet.from_, "to": quiet.to, "zone": quiet.zone, **({"but": quiet.but} if quiet.but else {})}  # fmt: skip
        changes.set_quiet_hours(fields)
        return Answer(alerts_answer(queries))

    @router.post("/alerts/notify", response_model=None, summary="Say which channels hear of the end of a run")
    @needs(Role.OWNER)
    def set_notice(given: NoticeChange) -> Answer[RunNotice]:
        changes.set_notice(given.finding, given.run, given.to)
        return Answer(_notice(queries, given.run))

    @router.post("/alerts/text", response_model=None, summary="Save alerts.yaml, if all of it can be read")
    @needs(Role.OWNER)
    def save_text(given: AlertText) -> Answer[AlertsAnswer]:
        changes.save_alerts(given.text)
        return Answer(alerts_answer(queries))

    @router.post(
        "/alerts/mute", response_model=None, summary="Mute a rule, a run or both, for hours or until it is taken back"
    )
    @needs(Role.OWNER)
    def mute(action: MuteAction) -> Answer[AlertsAnswer]:
        changes.mute(action.rule, action.run, action.hours, action.on)
        return Answer(alerts_answer(queries))

    @router.post(
        "/alerts/acknowledge",
        response_model=None,
        summary="Mark alerts as seen, so that they no longer count as active",
    )
    @needs(Role.OWNER)
    def acknowledge(action: AcknowledgeAction) -> Answer[AlertsAnswer]:
        changes.acknowledge(action.findings, action.on)
        return Answer(alerts_answer(queries))

    @router.post("/alerts/test", response_model=None, summary="Send a test message to a receiver")
    @needs(Role.OWNER)
    def test(action: AlertTestAction) -> Answer[AlertTestAnswer]:
        ok, sentence = changes.test_alert(action.receiver)
        return Answer({"ok": ok, "sentence": sentence})


def _notice(queries: Queries, run: str) -> RunNotice:
    settings = queries.alerts.now().settings
    return {
        "channels": [{"name": receiver.name, "kind": receiver.kind} for receiver in settings.receivers],
        "crash": notified(settings, "crash", run),
        "finished": notified(settings, FINISHED, run),
    }


def alerts_answer(queries: Queries) -> AlertsAnswer:
    now = queries.alerts.now()
    settings = now.settings
    return {
        "firing": [finding_row(found) for found in now.firing],
        "acknowledged": [found.id for found in now.firing if found.id in now.acknowledged],
        "recent": [finding_row(found) for found in now.recent],
        "unresolved": [found.id for found in now.recent if found.fields.get(WITH_RUN)],
        "finished": [finding_row(found) for found in now.finished],
        "muted": [finding_row(found) for found in now.muted],
        "mutes": [{"rule": mute.rule, "run": mute.run, "until": mute.until_s} for mute in now.mutes],
        "rules": _rules(now),
        "policies": [
            {
                "findings": list(row.rules),
                "runs": row.runs,
                "to": _listed(row.to),
                "alert": row.alerts,
                "line": row.line,
            }
            for row in settings.policies
        ],
        "receivers": [_receiver_row(receiver, now) for receiver in settings.receivers],
        "desktop": [message_row(message) for message in queries.alerts.desktop(now)],
        "text": now.text,
        "trouble": str(settings.troubles[0]) if settings.troubles else "",
        "troubles": [{"line": trouble.line, "sentence": str(trouble)} for trouble in settings.troubles],
        "mutes_trouble": now.mutes_trouble,
        "quiet": settings.quiet,
    }


def _rules(now: AlertsSnapshot) -> list[OwnRuleRow]:
    firing: dict[str, int] = {}
    for found in now.firing:
        firing[found.rule] = firing.get(found.rule, 0) + 1
    rows: list[OwnRuleRow] = []
    for rule in now.settings.rules:
        trouble, many = now.troubles.get(rule.name, ""), firing.get(rule.rule, 0)
        rows.append(
            {
                "name": rule.name,
                "kind": rule.kind,
                "expression": rule.text,
                "for_s": rule.for_s,
                "runs": rule.runs,
                "to": _listed(rule.to),
                "severity": rule.weight,
                "line": rule.line,
                "state": "firing" if many else "trouble" if trouble else "quiet",
                "firing": many,
                "trouble": trouble,
            }
        )
    return rows + _odd_rules(now.settings)


def _odd_rules(settings: AlertSettings) -> list[OwnRuleRow]:
    """Named entries that are left out."""
    return [
        {
            "name": trouble.name,
            "kind": None,
            "expression": "",
            "for_s": 0.0,
            "runs": "*",
            "to": None,
            "severity": None,
            "line": trouble.line,
            "state": "trouble",
            "firing": 0,
            "trouble": str(trouble),
        }
        for trouble in settings.troubles
        if trouble.part == "rules" and trouble.name
    ]


def _receiver_row(receiver: Receiver, now: AlertsSnapshot) -> ReceiverRow:
    mine = [message for message in now.sent if message.receiver == receiver.name]
    waiting = [message for message in now.waiting if message.receiver == receiver.name]
    delivered = max((message.ended_s or 0.0 for message in mine if message.state == "delivered"), default=None)
    errors = [message.error for message in waiting if message.error]
    failed = next((message.error for message in mine if message.state == "failed"), "")
    return {
        "name": receiver.name,
        "kind": receiver.kind,
        "target": shown_target(receiver),
        "last_delivery": delivered,
        "last_error": errors[0] if errors else failed,
        "waiting": len(waiting),
    }


def message_row(message: AlertMessage) -> AlertMessageRow:
    is_over = (message.over or message.phase == "end") and message.state == "delivered"
    return {
        "id": message.id,
        "time": message.created_s if message.ended_s is None else message.ended_s,
        "receiver": message.receiver,
        "state": ("unresolved" if message.unresolved else "resolved") if is_over else message.state,
        "phase": message.phase,
        "rule": message.rule.removeprefix(OWN),
        "title": message.title,
        "severity": message.severity,
        "sentence": message.subject,
        "run": message.runs[0] if len(message.runs) == 1 else None,
        "runs": list(message.runs),
        "findings": list(message.findings),
        "attempts": message.attempts,
        "next_try": message.next_s if message.state == "waiting" and message.next_s else None,
        "error": message.error,
    }


def _listed(words: Sequence[str] | None) -> list[str] | None:
    return None if words is None else list(words)
