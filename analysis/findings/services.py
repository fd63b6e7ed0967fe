"""Findings about services: slow answers, refused requests, a growing queue, and what users reported."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from collectors.arrays import Floats
from collectors.message import phrase
from collectors.queue_events import MOVES, STUCK

from .rule import Detection, MachineSubject, RecentPoints, RunSubject

P99, REFUSED, QUEUE, ANSWERED = "service/p99_s", "service/rejected", "service/queue", "units"
TARGET = "p99_target_s"  # in the run's configuration
WINDOW_S = 10.0
MIN_LINES = 8  # of the window: a service that is not asked says nothing
MAX_OVER = 0.8  # of the lines
REFUSED_SHARE = 0.01
MIN_QUEUE, GROWN, RISES = 8.0, 2.0, 0.75


def is_of_service(name: str) -> bool:
    return name in (P99, REFUSED, QUEUE, ANSWERED)


def slow_answers(subject: RunSubject) -> Iterator[Detection]:
    """p99 is over the target that the service states itself, in eight of ten seconds."""
    target_s = target_of(subject)
    for rank, track in _of_service(subject, P99):
        time_s, p99_s = _window(subject, track)
        if target_s is None or len(p99_s) < MIN_LINES:
            continue
        over = p99_s > target_s
        if over.mean() >= MAX_OVER:
            middle_s = float(np.median(p99_s[over]))
            yield Detection(
                phrase(
                    "p99 of the answers is {p99_s:latency}, and its target is {target_s:latency}.",
                    p99_s=middle_s,
                    target_s=target_s,
                ),
                float(time_s[over][0]),
                subject.now_s,
                key=str(rank),
                rank=rank,
                numbers={"p99_s": round(middle_s, 6), "target_s": target_s},
            )


def requests_refused(subject: RunSubject) -> Iterator[Detection]:
    """More of the last ten seconds than one in a hundred, for load, for want of time, or for a token's rate."""
    for rank, track in _of_service(subject, REFUSED):
        time_s, refused = _window(subject, track)
        answered = subject.tracks.get((ANSWERED, rank))
        asked = float(refused.sum()) + (
            float(_window(subject, answered)[1].clip(0).sum()) if answered is not None else len(refused)
        )
        if len(refused) and refused.sum() > max(1.0, REFUSED_SHARE * asked):
            yield Detection(
                phrase(
                    "{share:.0%} of the requests are refused: more come than the service answers in time.",
                    share=float(refused.sum()) / asked,
                ),
                float(time_s[refused > 0][0]),
                subject.now_s,
                key=str(rank),
                rank=rank,
                numbers={"refused": float(refused.sum()), "share": round(float(refused.sum()) / asked, 4)},
            )


def queue_grows(subject: RunSubject) -> Iterator[Detection]:
    """For ten seconds, to more than twice: the service falls behind, and each request will wait longer than the one before."""
    for rank, track in _of_service(subject, QUEUE):
        time_s, waiting = _window(subject, track)
        if len(waiting) < MIN_LINES or waiting[-1] < MIN_QUEUE or waiting[-1] < GROWN * max(1.0, waiting[0]):
            continue
        if sum(later > earlier for earlier, later in pairwise(waiting.tolist())) >= RISES * (len(waiting) - 1):
            yield Detection(
                phrase(
                    "The queue grows: {before:.0f} requests waited {window_s:.0f} s ago, now {now:.0f} do.",
                    before=float(waiting[0]),
                    window_s=WINDOW_S,
                    now=float(waiting[-1]),
                ),
                float(time_s[0]),
                subject.now_s,
                key=str(rank),
                rank=rank,
                numbers={"queue": float(waiting[-1])},
            )


def target_of(subject: RunSubject) -> float | None:
    """Of p99, as run.json's configuration states it; None where it states none."""
    config = subject.history.info.get("config")
    found = config.get(TARGET) if isinstance(config, dict) else None
    return (
        float(found) if isinstance(found, int | float) and not isinstance(found, bool) and 0 < found < np.inf else None
    )


def _of_service(subject: RunSubject, name: str) -> Iterator[tuple[int, RecentPoints]]:
    return ((rank, track) for _, rank, track in subject.named(lambda known: known == name))


def _window(subject: RunSubject, track: RecentPoints) -> tuple[Floats, Floats]:
    """The last ten seconds' finite values, with their times."""
    time_s, value = track.since(subject.now_s - WINDOW_S - 1.0)
    known = np.isfinite(value)
    return time_s[known], value[known]


# What others report themselves: a script by `log.alert("...")`, a queue of jobs by its events, the parts of the collector by their health.

FRESH_S = 3600.0  # what was said longer ago is no news
MAX_TEXT = 400
STUCK_S = 600.0  # the queue says it every five minutes
TROUBLE_S = 55.0  # and it is noticed, and looked at, within five more


def script_alert(subject: RunSubject) -> Iterator[Detection]:
    """Each is a moment; of severity `note` it stands on the axis only."""
    for event in subject.of_kind("alert"):
        text = " ".join(event.text.split())[:MAX_TEXT]
        if text and subject.now_s - event.time_s <= FRESH_S:
            yield Detection(
                phrase("The script says: {text}", text=text),
                event.time_s,
                event.time_s,
                key=f"{event.time_s:.6f} {event.rank} {text}",
                moment=True,
                rank=event.rank,
                step=event.step,
                weight="note" if event.fields.get("severity") == "note" else "alert",
            )


def queue_stuck(subject: RunSubject) -> Iterator[Detection]:
    """Its job waits for what no end of another job gives, and the queue goes on saying so."""
    said = subject.of_kind(STUCK)
    if not said or subject.now_s - said[-1].time_s > STUCK_S:
        return
    if any(event.time_s >= said[-1].time_s for event in subject.of_kind(*MOVES)):
        return
    why, since = " ".join(said[-1].text.split())[:MAX_TEXT].rstrip("."), said[-1].fields.get("since_s")
    since_s = float(since) if isinstance(since, int | float) and 0 < since < said[-1].time_s else said[-1].time_s
    yield Detection(
        phrase(
            "Its job has waited for {waited_s:spoken} for what no other job can free: {why}.",
            waited_s=subject.now_s - since_s,
            why=why,
        ),
        since_s,
        subject.now_s,
        key=f"{since_s:.0f}",
    )


def collector_trouble(machine: MachineSubject) -> Iterator[Detection]:
    """A part of the collector has not delivered for a minute: what it would see is missing from everything else."""
    for name, (since_s, why) in machine.trouble.items():
        if machine.now_s - since_s > TROUBLE_S:
            yield Detection(
                phrase(
                    "The collector {name} has been in trouble for {trouble_s:spoken}: {why}.",
                    name=name,
                    trouble_s=machine.now_s - since_s,
                    why=why.rstrip(".") or phrase("it does not say why"),
                ),
                since_s,
                machine.now_s,
                key=name,
            )
