"""What the numbers of a training say: it diverges, has diverged, or does better than ever."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from collectors.arrays import Bools, Floats
from collectors.message import Message, phrase

from ..directions import direction_of
from . import rule
from .rule import CAPACITY, Detection, RecentPoints, RunSubject, at_step, on_rank

NAN_STEPS, NAN_POINTS = 10, 3  # in a row; at least so many points where not each step is logged
SETTLED_STEPS = 200  # before, GradScaler looks for its scale
PLACEHOLDERS, PLACEHOLDER_SHARE = (
    3,
    0.3,
)  # stretches of NaN that ended, and their share: the log says so that there is no value
OVERLAP = 16  # points that were looked at before, and are looked at again
SPIKE_BEFORE, SPIKE_LEAST = 100, 50
SPIKE_SIGMAS, SPIKE_TAIL = 8.0, 3.0
SPIKE_OF, SPIKE_POINTS = 5, 3  # of so many points: a single batch is no spike
SPIKE_REST = 50  # points after which another one is a new one
FLOOR, FLOOR_OF_RANGE = (
    0.02,
    1e-3,
)  # least spread, of the middle and of all that is known: constant and rounded values have none
NOTHING = 1e-4  # of what the loss has fallen by: one that has gone to nothing stays nothing after such a jump
USUAL = 0.9  # the share of values that are not above what is usual
MAD_TO_SIGMA = 1.4826
BLOW_UP, BLOW_UP_OF, BLOW_UP_STEPS = 10.0, 20, 5
TAIL, TAIL_TIMES = 0.95, 1.5  # the share of earlier norms, above which a norm is large by so many times
BEFORE = 200  # points whose median is the usual value
RISES, RISES_LEAST, RISE_SIGMAS, RISE_TAIL = 5, 3, 5.0, 2.0  # points after a large gradient, in which the loss rises
VANISHED, VANISHED_STEPS, CONVERGED = 1e-3, 500, 1e-2
BACK_OFFS, BACK_OFF_STEPS = 3, 100
RESULTS = 3  # of a validation before a best one is worth a word
GROWTH, MAX_RESULTS = 1.5, 3  # of the steps, within which one best is said; of how many series, losses before scores


def nan(subject: RunSubject) -> Iterator[Detection]:
    """Each loss and gradient norm that turns NaN or infinite: the first step of each stretch, and where it lasts."""
    scaled = any(True for _ in subject.named(rule.is_scale))
    for name, rank, track in subject.named(lambda name: rule.is_loss(name) or rule.is_gradient(name)):
        bad = ~np.isfinite(track.value)
        if not bad.any() or (scaled and rule.is_gradient(name)) or is_placeholder(subject, name, rank, bad):
            continue  # with a scaler, an overflow is its own rule
        before = np.concatenate(
            [[len(track) >= CAPACITY], bad[:-1]]
        )  # what a full track has forgotten was said when it came
        begins = np.flatnonzero(bad & ~before)
        for place in begins[-3:].tolist():
            yield _turned(subject, name, rank, track, place)


def is_placeholder(subject: RunSubject, name: str, rank: int, bad: Bools) -> bool:
    """Some logs say NaN where a step has no value: the series comes and goes, or begins with it while a loss has values."""
    recovered = int(np.count_nonzero(bad[:-1] & ~bad[1:]))
    comes_and_goes = recovered >= PLACEHOLDERS and bool(np.mean(bad) > PLACEHOLDER_SHARE)
    if rule.is_validation(name):
        return comes_and_goes or bool(bad[0] or recovered)
    return comes_and_goes or (bool(bad[0]) and _has_finite_loss(subject, rank))


def _turned(subject: RunSubject, name: str, rank: int, track: RecentPoints, place: int) -> Detection:
    value, step = track.value[place], step_of(track, place)
    layer = _layer(subject, rank, step)
    return Detection(
        phrase(
            "{what} is {kind}{at}{where}.",
            what=on_rank(name, rank, subject.ranks()),
            kind=phrase("NaN") if np.isnan(value) else phrase("infinite"),
            at=at_step(step),
            where=phrase(", first in {layer}", layer=layer) if layer else None,
        ),
        time_of(subject, track, place),
        time_of(subject, track, place),
        key=f"{name} {rank} {step if step is not None else track.time_s[place]}",
        moment=True,
        rank=rank,
        step=step,
        more={"layer": layer} if layer else {},
    )


def _layer(subject: RunSubject, rank: int, step: int | None) -> str:
    """The layer that RunLog or an adapter names for a value that is not finite."""
    for event in reversed(subject.of_kind("nan", "non_finite", "overflow")):
        if event.rank == rank and (step is None or event.step is None or abs(event.step - step) <= 1):
            named = event.fields.get("layer") or event.fields.get("module")
            if isinstance(named, str):
                return named[:200]
    return ""


def nan_lasting(subject: RunSubject) -> Iterator[Detection]:
    """Ten steps in a row, until now or until a moment since the last look: weights that are NaN do not recover."""
    for name, rank, track in subject.named(lambda name: rule.is_training_loss(name) or rule.is_gradient(name)):
        if (
            rule.is_validation(name)
            or np.isfinite(track.value[-track.fresh - 1 :]).all()
            or not _is_over(subject, name, rank, track)
        ):
            continue
        first, last = _lasting_stretch(track)
        if last < first:
            continue
        count = _steps_in(track, first, last)
        saved = max(
            (event for event in subject.of_kind("checkpoint") if event.time_s < time_of(subject, track, first)),
            key=lambda event: event.time_s,
            default=None,
        )
        back = since = None
        if saved is not None and saved.step is not None:
            back = phrase("; the last checkpoint before it is of step {step}", step=saved.step)
        if first and step_of(track, first) is not None:
            since = phrase(" since step {step}", step=step_of(track, first))
        what = on_rank(name, rank, subject.ranks())
        steps = phrase("{steps:,}", steps=count) if first else phrase("more than {steps:,}", steps=count)
        yield Detection(
            phrase(
                "{what} has been NaN or infinite for {steps} steps{since}: it does not recover by itself{back}.",
                what=what,
                steps=steps,
                since=since,
                back=back,
            )
            if last == len(track) - 1
            else phrase(
                "{what} was NaN or infinite for {steps} steps{since}, and has values again.",
                what=what,
                steps=steps,
                since=since,
            ),
            time_of(subject, track, first),
            time_of(subject, track, last),
            key=f"{name} {rank}",
            rank=rank,
            step=step_of(track, first),
            numbers={"steps": float(count)},
        )


def _lasting_stretch(track: RecentPoints) -> tuple[int, int]:
    """First and last place of the newest long one that had not ended at the last look; (0, -1) where there is none.

    Where NaN comes and goes, one is long that is twice as long as those before.
    """
    bad = ~np.isfinite(track.value)
    begins = np.flatnonzero(bad & ~np.concatenate([[False], bad[:-1]]))
    ends = np.flatnonzero(bad & ~np.concatenate([bad[1:], [False]]))
    points = ends - begins + 1
    for place in range(len(ends) - 1, -1, -1):
        first, last = int(begins[place]), int(ends[place])
        if last < len(track) - 1 - track.fresh:
            break
        usual = int(points[:place].max()) if place >= PLACEHOLDERS and np.mean(bad[:first]) > PLACEHOLDER_SHARE else 0
        if points[place] >= max(NAN_POINTS, 2 * usual) and _steps_in(track, first, last) >= NAN_STEPS:
            return first, last
    return 0, -1


def _is_over(subject: RunSubject, name: str, rank: int, track: RecentPoints) -> bool:
    """Whether NaN there is NaN of the training: not a part of the loss that never had a value, nor overflows while a scale is sought."""
    if rule.is_gradient(name):
        late = track.step[-1] - np.nanmin(track.step) if np.isfinite(track.step).any() else float(len(track))
        scaled = any(its == rank for _, its, _ in subject.named(rule.is_scale))
        return not _has_finite_loss(subject, rank) or (late >= SETTLED_STEPS and not scaled)
    return bool(np.isfinite(track.value).any()) or not _has_finite_loss(subject, rank)


def _has_finite_loss(subject: RunSubject, rank: int) -> bool:
    return any(its == rank and np.isfinite(track.value[-1]) for _, its, track in subject.named(rule.is_training_loss))


def _steps_in(track: RecentPoints, first: int, last: int) -> int:
    """How many steps the points from one to another stand for: each may stand for several, or be logged twice."""
    step = track.step[first : last + 1]
    if not np.isfinite(step).all():
        return len(step)
    return int(min(step.max() - step.min() + 1, 1 << 40))


def loss_spike(subject: RunSubject) -> Iterator[Detection]:
    """Several values far above those before them, by their spread and by their own tail; a single batch is no spike."""
    for name, rank, track in subject.named(rule.is_training_loss):
        for place in _spikes(track, _fallen_by(subject, name, rank, track)):
            before = _finite(track.value[max(0, place - SPIKE_BEFORE) : place])
            value, middle, step = (
                np.nanmax(track.value[place : place + SPIKE_OF]),
                np.median(before),
                step_of(track, place),
            )
            gradient = _gradient_at(subject, rank, step)
            beside = None
            if gradient is not None:
                beside = phrase(", with a gradient norm of {norm:.3g}", norm=gradient)
            yield Detection(
                phrase(
                    "{what} jumps to {value:.4g} from {before:.4g}{at}{beside}.",
                    what=on_rank(name, rank, subject.ranks()),
                    value=float(value),
                    before=float(middle),
                    at=at_step(step),
                    beside=beside,
                ),
                time_of(subject, track, place),
                time_of(subject, track, place),
                key=f"{name} {rank} {step if step is not None else int(time_of(subject, track, place))}",
                moment=True,
                rank=rank,
                step=step,
                numbers={"value": float(value), "before": float(middle)},
            )


def _spikes(track: RecentPoints, fallen_by: float) -> list[int]:
    """Places of the fresh points at which a spike begins."""
    value = np.where(np.isfinite(track.value), track.value, -np.inf)
    lo = max(SPIKE_LEAST, len(value) - track.fresh - OVERLAP - SPIKE_REST)
    if len(value) - lo < SPIKE_POINTS:
        return []
    padded = np.concatenate([np.full(SPIKE_BEFORE, -np.inf), value])
    before = sliding_window_view(padded, SPIKE_BEFORE)[lo : len(value)]
    found: list[int] = []
    for place in (np.flatnonzero(value[lo:] > _second_highest(before)) + lo).tolist():
        if (not found or place - found[-1] > SPIKE_REST) and _is_spike(track, place, fallen_by):
            found.append(place)
    return [place for place in found if place >= len(value) - track.fresh - OVERLAP]


def _second_highest(values: Floats) -> Floats:
    """Of each row: one batch of any size says nothing of the others."""
    return np.partition(values, -2)[..., -2]


def _fallen_by(subject: RunSubject, name: str, rank: int, track: RecentPoints) -> float:
    """From the run's first points, which may have left the track, to the lowest that were the newest ones; without single batches."""
    known, key = _finite(track.value), f"fallen {name} {rank}"
    if len(known) < SPIKE_LEAST:
        return 0.0
    first, least = subject.memory.get(key, (_high(known[:SPIKE_LEAST]), np.inf))
    least = min(least, float(np.quantile(known[-SPIKE_LEAST:], 1 - USUAL)))
    subject.memory[key] = first, least
    return float(max(0.0, first - least))


def _high(values: Floats) -> float:
    return float(np.quantile(values, USUAL))


def _is_spike(track: RecentPoints, place: int, fallen_by: float) -> bool:
    before = _finite(track.value[max(0, place - SPIKE_BEFORE) : place])
    if len(before) < SPIKE_LEAST:
        return False
    known = _finite(track.value[:place])
    middle, high = float(np.median(before)), float(_second_highest(before))
    usual_range = max(_high(known), _high(known[:SPIKE_LEAST])) - float(np.quantile(known, 1 - USUAL))
    floor = max(FLOOR * abs(middle), FLOOR_OF_RANGE * usual_range)
    limit = middle + max(
        SPIKE_SIGMAS * max(_sigma(before, middle), floor), SPIKE_TAIL * (high - middle), NOTHING * fallen_by
    )
    late = _finite(track.value[place : place + SPIKE_OF])
    return bool(track.value[place] > limit > middle and np.count_nonzero(late > limit) >= SPIKE_POINTS)


def _sigma(values: Floats, middle: float) -> float:
    return MAD_TO_SIGMA * float(np.median(np.abs(values - middle)))


def _gradient_at(subject: RunSubject, rank: int, step: int | None) -> float | None:
    for _, its, track in subject.named(rule.is_gradient):
        if its == rank and step is not None:
            there = np.flatnonzero(track.step == step)
            if len(there) and np.isfinite(track.value[there[-1]]):
                return float(track.value[there[-1]])
    return None


def gradient_blow_up(subject: RunSubject) -> Iterator[Detection]:
    """Ten times the usual norm in five of twenty steps, or once, if the loss rises with it."""
    for name, rank, track in subject.named(rule.is_gradient):
        value = track.value
        lo = max(SPIKE_LEAST, len(value) - track.fresh - OVERLAP - BLOW_UP_OF)
        before = _finite(value[max(0, lo - BEFORE) : lo])
        if len(before) < SPIKE_LEAST or len(value) <= lo:
            continue
        usual = float(np.median(before))
        limit = max(BLOW_UP * usual, TAIL_TIMES * float(np.quantile(before, TAIL)))
        large = (
            np.flatnonzero(np.isfinite(value[lo:]) & (value[lo:] > limit)) + lo
        )  # what is not finite has its own rule
        if not len(large) or not usual > 0:
            continue
        crowded = [
            place
            for place in large.tolist()
            if np.count_nonzero((large > place - BLOW_UP_OF) & (large <= place)) >= BLOW_UP_STEPS
        ]
        rising = [place for place in large.tolist() if _loss_rises(subject, rank, step_of(track, place))]
        place = next(iter(crowded or rising), None)
        if place is None:
            continue
        first = int(large[0])
        how = phrase("and the loss rises with it")
        if crowded:
            how = phrase("in {steps} or more of {of} steps", steps=BLOW_UP_STEPS, of=BLOW_UP_OF)
        biggest = float(np.max(_finite(track.value[large]), initial=0.0)) or float("inf")
        yield Detection(
            phrase(
                "{what} is more than ten times its usual {usual:.3g} {how}: up to {most:.3g}{at}.",
                what=on_rank(name, rank, subject.ranks()),
                usual=usual,
                how=how,
                most=biggest,
                at=at_step(step_of(track, first)),
            ),
            time_of(subject, track, first),
            time_of(subject, track, int(large[-1])),
            key=f"{name} {rank}",
            rank=rank,
            step=step_of(track, first),
            numbers={"most": biggest, "usual": float(usual)},
        )


def _loss_rises(subject: RunSubject, rank: int, step: int | None) -> bool:
    """In the points after the step: in the same step a hard batch has a large loss and a large gradient, and nothing is wrong."""
    if step is None:
        return False
    for _, its, track in subject.named(rule.is_training_loss):
        if its != rank:
            continue
        before = _finite(track.value[track.step < step][-SPIKE_BEFORE:])
        after = _finite(track.value[track.step > step][:RISES])
        if len(before) >= SPIKE_LEAST // 2 and len(after) >= RISES_LEAST:
            middle = float(np.median(before))
            if np.median(after) > middle + max(
                RISE_SIGMAS * _sigma(before, middle), RISE_TAIL * (np.max(before) - middle)
            ):
                return True
    return False


def gradient_vanishing(subject: RunSubject) -> Iterator[Detection]:
    """By layer: far below what it was, for long. A training that converges does not come near a thousandth."""
    for name, rank, track in subject.named(rule.is_gradient):
        value = track.value
        if len(value) < VANISHED_STEPS + BEFORE // 2:
            continue
        late = np.abs(value[-VANISHED_STEPS:])
        earlier = _finite(np.abs(value[:-VANISHED_STEPS]))
        usual = float(np.median(earlier)) if len(earlier) else 0.0
        if usual > 0 and np.all(late < VANISHED * usual) and not _has_converged(subject, rank):
            first = len(value) - VANISHED_STEPS
            yield Detection(
                phrase(
                    "{what} has been below a thousandth of its usual {usual:.3g} for {steps} steps: nothing reaches that part of the model any more.",
                    what=on_rank(name, rank, subject.ranks()),
                    usual=usual,
                    steps=VANISHED_STEPS,
                ),
                time_of(subject, track, first),
                time_of(subject, track, len(value) - 1),
                key=f"{name} {rank}",
                rank=rank,
                step=step_of(track, first),
                numbers={"now": float(np.median(late)), "usual": float(usual)},
            )


def _has_converged(subject: RunSubject, rank: int) -> bool:
    """The loss is gone, too: nothing is left to learn."""
    for _, its, track in subject.named(rule.is_training_loss):
        if its == rank and len(track) > VANISHED_STEPS:
            early, late = _finite(track.value[:-VANISHED_STEPS]), _finite(track.value[-VANISHED_STEPS:])
            if len(early) and len(late) and abs(np.median(late)) < CONVERGED * abs(np.median(early)):
                return True
    return False


def scaler_collapse(subject: RunSubject) -> Iterator[Detection]:
    """GradScaler halves again and again, or is below 1: fp16 gradients underflow."""
    for name, rank, track in subject.named(rule.is_scale):
        first = _attempt_from(subject, track)
        value, step = track.value[first:], track.step[first:]
        if not len(value) or not np.isfinite(step).all():
            continue
        late = step >= (step[0] if first or len(track) < CAPACITY else 0) + SETTLED_STEPS
        if np.isfinite(value[-1]) and late[-1] and value[-1] < 1 and np.nanmax(value) > 1:
            place = first + int(np.flatnonzero(value < 1)[-1])
            how = phrase("is {scale:.3g}: below 1 the loss is no longer scaled up", scale=float(value[-1]))
            yield _collapsed(subject, name, rank, track, place, how)
            continue
        backed = np.flatnonzero((value[1:] < value[:-1]) & late[1:]) + 1
        recent = backed[step[backed] > step[-1] - BACK_OFF_STEPS]
        if len(recent) >= BACK_OFFS:
            how = phrase(
                "was halved {times} times within {steps} steps, to {scale:.6g}",
                times=len(recent),
                steps=BACK_OFF_STEPS,
                scale=float(value[-1]),
            )
            yield _collapsed(subject, name, rank, track, first + int(recent[0]), how)


def _attempt_from(subject: RunSubject, track: RecentPoints) -> int:
    """The first point of the newest attempt: a run that is taken up again may begin with another scale."""
    turns = np.flatnonzero(track.step[1:] < track.step[:-1])
    first = int(turns[-1]) + 1 if len(turns) else 0
    begun_s = subject.begun_s
    return max(first, int(np.count_nonzero(track.time_s < begun_s)) if begun_s is not None else 0)


def _collapsed(subject: RunSubject, name: str, rank: int, track: RecentPoints, place: int, how: Message) -> Detection:
    return Detection(
        phrase(
            "{what} {how}: gradients overflow fp16 again and again; use bf16, or a lower learning rate.",
            what=on_rank(name, rank, subject.ranks()),
            how=how,
        ),
        time_of(subject, track, place),
        time_of(subject, track, len(track) - 1),
        key=f"{name} {rank}",
        rank=rank,
        step=step_of(track, place),
        numbers={"scale": float(track.value[-1])},
    )


def new_best(subject: RunSubject) -> Iterator[Detection]:
    """A validation that is better than all before it; while a training gets better all the time, now and then one."""
    lowest = min(subject.ranks(), default=0)
    results = [(name, rank, track) for name, rank, track in subject.named(rule.is_result) if rank == lowest]
    losses = [result for result in results if rule.is_loss(result[0])]
    for name, rank, track in (losses or results)[:MAX_RESULTS]:
        if not track.fresh:
            continue
        better, worst = (np.minimum, np.inf) if direction_of(name) == "down" else (np.maximum, -np.inf)
        best = better.accumulate(np.where(np.isfinite(track.value), track.value, worst))
        for place in range(max(RESULTS, len(track) - track.fresh), len(track)):
            value, before = track.value[place], best[place - 1]
            if (
                value == before
                or better(value, before) != value
                or np.count_nonzero(np.isfinite(track.value[:place])) < RESULTS
            ):
                continue
            step = step_of(track, place)
            yield Detection(
                phrase(
                    "{name} has a new best: {value:.5g}{at}, previously {before:.5g}.",
                    name=name,
                    value=float(value),
                    at=at_step(step),
                    before=float(before),
                ),
                time_of(subject, track, place),
                time_of(subject, track, place),
                key=f"{name} {rank} {int(np.log(max(1, step if step is not None else place)) / np.log(GROWTH))}",
                moment=True,
                rank=rank,
                step=step,
                numbers={"value": float(value), "before": float(before)},
            )


def step_of(track: RecentPoints, place: int) -> int | None:
    step = track.step[place]
    return int(step) if np.isfinite(step) else None


def time_of(subject: RunSubject, track: RecentPoints, place: int) -> float:
    time_s = track.time_s[place]
    return float(time_s) if np.isfinite(time_s) else subject.now_s


def _finite(values: Floats) -> Floats:
    finite: Bools = np.isfinite(values)
    return values[finite]
