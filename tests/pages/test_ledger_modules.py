"""The modules of `assets/ledger/`: when a ledger is asked for, what its parts add up to, how its kinds look."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from analysis.ledger.kinds import KINDS
from analysis.ledger.shares import KindRow
from analysis.ledger.text import share_of
from collectors.message import text_of
from tests.conftest import Ask

EVENTS = some.lists(
    some.one_of(
        some.tuples(some.just("wait"), some.integers(1, 40)),
        some.tuples(some.just("look"), some.sampled_from([60, 600]), some.booleans(), some.booleans()),
        some.tuples(some.sampled_from(["pause", "judged", "resume", "answer", "fail", "refuse"])),
    ),
    max_size=30,
)
ASKING = """
const { LedgerSchedule } = await load("ledger/schedule.js");
const { Refused } = await load("lib/api.js");
let now_s = 1000, held_s = 0, paused = false, worst = 0;
const open = [], asked = [];
const ask = (question, { signal }) => new Promise((done, fail) => {
  const entry = { at: now_s, paused, view: question.rank === null, span: question.to - question.from, follows, grows: sight[2], ended: "", done, fail };
  signal.addEventListener("abort", () => { entry.ended ||= "gave way"; open.splice(open.indexOf(entry), 1); fail(new DOMException("", "AbortError")); });
  open.push(entry);
  asked.push(entry);
  worst = Math.max(worst, open.length);
});
let follows = true;
const ignored = { view: () => {}, window: () => {}, failed: () => {} };
const schedule = new LedgerSchedule(ignored, ask, () => 1000 * now_s);
const settle = (ended, act) => { const entry = open.shift(); if (entry) { entry.ended = ended; act(entry); } };
let sight = [600, true, false];
const look = () => {
  const [span, following, grows] = sight;
  if (!following) held_s ||= now_s; else held_s = 0;
  follows = following;
  const hi = following ? now_s : held_s;
  schedule.look({ run: "a", lo: hi - span, hi, follows: following, grows, selected: false, begins: 0, until: Math.floor(now_s / 10) * 10 });
};
for (const [what, ...rest] of EVENTS) {
  if (what === "wait") for (let i = 0; i < rest[0]; i++) { now_s++; look(); }
  if (what === "look") { sight = rest; look(); }
  if (what === "pause") { paused = true; schedule.pause(); }
  if (what === "judged") { paused = false; schedule.judged({ run: "a", from: 1, to: 9, rank: 3 }); }
  if (what === "resume") { paused = false; schedule.resume(); }
  if (what === "answer") settle("answered", ({ done }) => done({}));
  if (what === "fail") settle("failed", ({ fail }) => fail(new Refused("busy", 503)));
  if (what === "refuse") settle("refused", ({ fail }) => fail(new Refused("no", 404)));
  await new Promise((next) => queueMicrotask(() => setTimeout(next)));
  look();
}
schedule.pause();
return [worst, asked.map(({ at, paused, view, span, follows, grows, ended }) => ({ at, paused, view, span, follows, grows, ended }))];
"""


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EVENTS)
def test_of_a_live_run_it_is_asked_every_thirty_seconds_at_most_one_at_a_time_and_never_before_blame(
    ask: Ask, events: list[tuple[Any, ...]]
) -> None:
    worst, asked = ask(ASKING.replace("EVENTS", json.dumps(events)))
    assert worst <= 1
    assert not any(entry["paused"] for entry in asked)
    views = [entry for entry in asked if entry["view"] and entry["ended"] != "gave way"]
    for before, after in itertools.pairwise(views):
        same = after["grows"] or round(before["span"]) == round(after["span"])
        alike = before["follows"] and after["follows"] and same
        assert not alike or after["at"] - before["at"] >= 30


def test_neither_a_run_without_new_stacks_nor_a_hidden_page_asks_again(ask: Ask) -> None:
    counted = ask("""
      const { LedgerSchedule } = await load("ledger/schedule.js");
      const asked = [];
      let now_s = 1000;
      const schedule = new LedgerSchedule({ view: () => {}, window: () => {}, failed: () => {} }, async () => asked.push(now_s), () => 1000 * now_s);
      const run = async (seconds, until) => {
        for (let i = 0; i < seconds; i++, now_s++) {
          schedule.look({ run: "a", lo: now_s - 600, hi: now_s, follows: true, grows: true, selected: false, begins: 0, until: until() });
          await null;
        }
        return asked.length;
      };
      const still = await run(300, () => 900);
      const live = await run(300, () => now_s);
      Object.defineProperty(document, "hidden", { value: true, configurable: true });
      const hidden = await run(300, () => now_s);
      delete document.hidden;
      return [still, live, hidden];""")
    assert counted == [1, 11, 11]


def test_of_a_run_that_has_just_begun_it_waits_for_ten_seconds_of_stacks(ask: Ask) -> None:
    asked = ask("""
      const { LedgerSchedule } = await load("ledger/schedule.js");
      let now_s = 1000;
      const first = async (until) => {
        const [began_s, asked] = [now_s, []];
        const schedule = new LedgerSchedule({ view: () => {}, window: () => {}, failed: () => {} }, async () => asked.push(now_s - began_s), () => 1000 * now_s);
        schedule.forget();
        for (let i = 0; i < 25; i++, now_s++) {
          schedule.look({ run: "a", lo: now_s - 600, hi: now_s, follows: true, grows: true, selected: false, begins: began_s, until: until() });
          await null;
        }
        return asked;
      };
      return [await first(() => now_s - 2), await first(() => null)];""")
    assert asked == [[12], [10]]


ROWS = some.lists(
    some.builds(
        lambda kind, share, below, above: {
            "kind": kind,
            "label": kind,
            "share": share,
            "least": share - below,
            "most": share + above,
        },
        some.sampled_from(KINDS),
        some.floats(0, 100),
        some.sampled_from([0.0, 1.5, 4.0]),
        some.sampled_from([0.0, 1.5, 4.0]),
    ),
    max_size=8,
    unique_by=lambda row: row["kind"],
)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS)
def test_the_parts_add_up_to_the_rows_and_call_about_what_the_sentence_calls_so(
    ask: Ask, rows: list[dict[str, Any]]
) -> None:
    code = 'const { partsOf, shareOf } = await load("ledger/shares.js"); return partsOf(ROWS).map((part) => [part.share, shareOf(part), part.row?.kind ?? null]);'
    parts = ask(
        code.replace("ROWS", json.dumps([{**row, "colour": 1, "lines": [], "exposed_by": None} for row in rows]))
    )
    assert sum(share for share, _, _ in parts) == pytest.approx(sum(row["share"] for row in rows), abs=0.051)
    for _, text, kind in parts:
        for row in (row for row in rows if row["kind"] == kind):
            described = KindRow(kind, row["share"], 1.0, row["least"], row["most"], 0.0, [], None, "high")
            assert text.startswith("about") == text_of(share_of(described)).startswith("about")
