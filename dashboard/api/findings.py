"""What the rules found without being asked, and the rules themselves."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from access.roles import Role, needs
from alerts.config import OWN
from alerts.evidence import evidence_of
from analysis.dumps import MemorySnapshot
from analysis.findings.rule import CodeLocation, RuleTopic
from analysis.findings.rules import BY_NAME, RULES
from collectors.records import MESSAGE, Finding, FindingWeight, Public, Searched, UserFields

from ..mutations import Changes
from ..queries import NotFound, Queries
from .answers import Answer
from .parameters import MAX_CHARACTERS, OpenRange, OptionalRun

MAX_FINDINGS = 5000


class FindingRow(TypedDict):
    """`run` is null for what was found on the machine; `over` is true of a moment, and of what holds no longer."""

    id: Public
    run: Public | None
    rule: Public
    title: Searched
    topic: RuleTopic
    weight: FindingWeight
    start: float
    end: float
    over: bool
    sentence: Searched
    rank: int | None
    step: int | None
    numbers: dict[Public, float]
    place: CodeLocation | None
    gpus: list[Public]  # uuids of the cards that it is about


class FindingList(TypedDict):
    """In order of their start. `cursor`: deltas of the live socket after it continue them."""

    cursor: int
    findings: list[FindingRow]


class FindingStack(TypedDict):
    """From the root to the leaf; a frame is function, file and line."""

    rank: int
    pid: int
    role: Public
    thread: Searched
    frames: list[tuple[Searched, Searched, int]]


class EvidenceRow(TypedDict):
    """What the rule looked at, as `GET /curves` takes it, and the number that it compares with, if it is a fixed one."""

    expression: Searched
    limit: float | None


class FindingDetail(FindingRow):
    """With what was kept for it: the stacks of all threads of a run that hangs, its last lines, of one that ran out of a card's memory what held it, and fields of the rule's own."""

    stacks: list[FindingStack]
    lines: list[Searched]
    snapshot: MemorySnapshot | None
    evidence: EvidenceRow | None
    more: UserFields


class FindingToSend(BaseModel):
    """What the rule finds is sent from now on: in this run, or in all (null)."""

    rule: Annotated[str, Field(max_length=MAX_CHARACTERS)]
    run: Annotated[str, Field(max_length=MAX_CHARACTERS)] | None = None


class UselessFinding(BaseModel):
    id: Annotated[str, Field(max_length=MAX_CHARACTERS)]


class KeptCase(TypedDict):
    """`file` is relative to the data folder."""

    file: str


class SentFinding(TypedDict):
    sentence: str


class RuleRow(TypedDict):
    """`needs_s`: after so many seconds it is found at the latest, with the least data that `needs` names."""

    name: Public
    topic: RuleTopic
    title: Searched
    weight: FindingWeight
    needs_s: float
    needs: Searched
    holds: Searched
    source: Searched


class RuleList(TypedDict):
    rules: list[RuleRow]


SHOWN = {MESSAGE, "key", "numbers", "place", "gpu", "gpus", "stacks", "lines", "snapshot"}
Holding = Annotated[bool, Query(description="only those that still hold")]
MostFindings = Annotated[int, Query(ge=1, le=MAX_FINDINGS, alias="limit", description="the newest so many")]
FindingId = Annotated[str, Query(alias="id", max_length=MAX_CHARACTERS)]


def add_routes(router: APIRouter, queries: Queries) -> None:
    @router.get(
        "/findings", response_model=None, summary="What the rules found in a run and on the machine, or in all runs"
    )
    @needs(Role.VIEWER)
    def findings(
        between: OpenRange, run: OptionalRun = None, holding: Holding = False, limit: MostFindings = MAX_FINDINGS
    ) -> Answer[FindingList]:
        cursor = queries.cursor()
        if run is not None:
            queries.check_run(run)
        found = queries.findings.findings(run, *between, holding=holding, most=limit)
        return Answer({"cursor": cursor, "findings": [finding_row(row) for row in found]})

    @router.get("/finding", response_model=None, summary="One finding with all that was kept for it")
    @needs(Role.VIEWER)
    def finding(id_: FindingId) -> Answer[FindingDetail]:
        found = queries.findings.finding(id_)
        if found is None:
            raise NotFound(f"no finding {id_!r}; GET /api/v1/findings lists them")
        fields = found.fields
        more = {name: value for name, value in fields.items() if name not in SHOWN}
        kept: dict[str, Any] = {
            "stacks": fields.get("stacks", []),
            "lines": fields.get("lines", []),
            "snapshot": fields.get("snapshot"),
            "evidence": evidence._asdict() if (evidence := evidence_of(found, queries.alerts.rules())) else None,
        }
        return Answer({**finding_row(found), **kept, "more": more})  # type: ignore[typeddict-item]

    @router.get(
        "/findings/rules",
        response_model=None,
        summary="The rules: what each needs, when it holds, and where its threshold is from",
    )
    @needs(Role.VIEWER)
    def rules() -> Answer[RuleList]:
        return Answer(
            {
                "rules": [
                    {
                        "name": rule.name,
                        "topic": rule.topic,
                        "title": rule.title,
                        "weight": rule.weight,
                        "needs_s": rule.needs_s,
                        "needs": rule.needs,
                        "holds": rule.holds,
                        "source": rule.source,
                    }
                    for rule in RULES
                ]
            }
        )


def add_changes(router: APIRouter, queries: Queries, changes: Changes) -> None:
    @router.post(
        "/findings/send", response_model=None, summary="Send what a rule finds as an alert: a line more in alerts.yaml"
    )
    @needs(Role.OWNER)
    def send(given: FindingToSend) -> Answer[SentFinding]:
        changes.send_finding(given.rule, given.run)
        where = f"in {given.run}" if given.run is not None else "in any run"
        return Answer({"sentence": f"What {given.rule} finds {where} is sent from now on; alerts.yaml has the line."})

    @router.post(
        "/findings/useless",
        response_model=None,
        summary="Keep what a finding of no use was judged from, as a test case",
    )
    @needs(Role.OWNER)
    def useless(given: UselessFinding) -> Answer[KeptCase]:
        return Answer({"file": changes.keep_case(given.id)})


def finding_row(found: Finding) -> FindingRow:
    rule = BY_NAME.get(found.rule)
    return {
        "id": found.id,
        "run": found.run,
        "rule": found.rule,
        "title": rule.title if rule else found.rule.removeprefix(OWN),
        "topic": rule.topic if rule else "training" if found.run is not None else "machine",
        "weight": found.weight,
        "start": found.from_s,
        "end": found.to_s,
        "over": found.over,
        "sentence": found.sentence,
        "rank": found.rank,
        "step": found.step,
        "numbers": found.fields.get("numbers", {}),
        "place": found.fields.get("place"),
        "gpus": _gpus(found),
    }


def _gpus(found: Finding) -> list[str]:
    one = found.fields.get("gpu")
    return found.fields.get("gpus") or ([one] if one else [])
