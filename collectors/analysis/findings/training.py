"""What the numbers of a training say: it diverges, has diverged, or does better than ever."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ..stacks.traces import Bools, Floats
from . import names
from .recent import CAPACITY, RecentPoints
from .rule import Held
from .subjects import RunSubject, on_rank

NAN_STEPS = 10
OVERLAP = 16  # points that were looked at before, and are looked at again
SPIKE_BEFORE, SPIKE_LEAST = 100, 50
SPIKE_SIGMAS, SPIKE_TAIL = 8.0, 3.0
MAD_TO_SIGMA = 1.4826
BLOW_UP, BLOW_UP_OF, BLOW_UP_STEPS = 10.0, 20, 5
BEFORE = 200  # points whose median is the usual value
RISES, RISE_SIGMAS = 5, 5.0  # points after a large gradient, in which the loss rises
VANISHED, VANISHED_STEPS = 1e-3, 500
WARM_UP_STEPS, BACK_OFFS, BACK_OFF_STEPS = 200, 3, 100
RESULTS = 3  # of a validation before a best one is worth a word


def nan(subject: RunSubject) -> Iterator[Held]:
    """Each loss and gradient norm that turns NaN or infinite: the first step of each stretch, and where it lasts."""
    scaled = any(True for _ in subject.named(names.is_scale))
    for name, rank, track in subject.named(lambda name: names.is_loss(name) or names.is_gradient(name)):
        if scaled and names.is_gradient(name):
            continue  # an overflow, from which GradScaler recovers: its own rule
        bad = ~np.isfinite(track.value)
        before = np.concatenate([[len(track) >= CAPACITY], bad[:-1]])  # what a full track has forgotten was said when it came
        begins = np.flatnonzero(bad & ~before)
        for place in begins[-3:].tolist():
            yield _turned(subject, name, rank, track, place)


def _turned(subject: RunSubject, name: str, rank: int, track: RecentPoints, place: int) -> Held:
    value, step = track.value[place], step_of(track, place)
    kind = "NaN" if np.isnan(value) else "infinite"
    layer = _layer(subject, rank, step)
    where = f", first in {layer}" if layer else ""
    return Held(
        f"{on_rank(name, rank, subject.ranks())} is {kind}{_at(step)}{where}.",
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


def nan_lasting(subject: RunSubject) -> Iterator[Held]:
    """Ten steps in a row: weights that are NaN do not recover."""
    for name, rank, track in subject.named(lambda name: names.is_loss(name) or names.is_gradient(name)):
        if names.is_validation(name) or len(track) < NAN_STEPS:
            continue
        finite = np.flatnonzero(np.isfinite(track.value))
        first = int(finite[-1]) + 1 if len(finite) else 0
        count = len(track) - first
        if count < NAN_STEPS:
            continue
        saved = max(
            (event for event in subject.of_kind("checkpoint") if event.time_s < time_of(subject, track, first)),
            key=lambda event: event.time_s,
            default=None,
        )
        back = f"; the last checkpoint before it is of step {saved.step}" if saved is not None and saved.step is not None else ""
        since = f" since step {step_of(track, first)}" if step_of(track, first) is not None and first else ""
        yield Held(
            f"{on_rank(name, rank, subject.ranks())} has been NaN or infinite for {count if first else f'more than {count}'} steps"
            f"{since}: it does not recover by itself{back}.",
            time_of(subject, track, first),
            time_of(subject, track, len(track) - 1),
            key=f"{name} {rank}",
            rank=rank,
            step=step_of(track, first),
            numbers={"steps": float(count)},
        )


def loss_spike(subject: RunSubject) -> Iterator[Held]:
    """A value far above those before it, by their spread and by their own tail."""
    for name, rank, track in subject.named(names.is_training_loss):
        for place in _fresh(track, SPIKE_LEAST):
            value = track.value[place]
            before = _finite(track.value[max(0, place - SPIKE_BEFORE) : place])
            if len(before) < SPIKE_LEAST or not np.isfinite(value):
                continue
            middle, high = np.median(before), np.max(before)
            sigma = MAD_TO_SIGMA * np.median(np.abs(before - middle))
            if value - middle > SPIKE_SIGMAS * sigma and value - middle > SPIKE_TAIL * (high - middle) and value > middle:
                step = step_of(track, place)
                if sigma == 0 and value - middle < 0.1 * abs(middle):
                    continue
                gradient = _gradient_at(subject, rank, step)
                beside = f", with a gradient norm of {gradient:.3g}" if gradient is not None else ""
                yield Held(
                    f"{on_rank(name, rank, subject.ranks())} jumps to {value:.4g} from {middle:.4g}{_at(step)}{beside}.",
                    time_of(subject, track, place),
                    time_of(subject, track, place),
                    key=f"{name} {rank} {(step if step is not None else int(track.time_s[place])) // SPIKE_BEFORE}",
                    moment=True,
                    rank=rank,
                    step=step,
                    numbers={"value": float(value), "before": float(middle)},
                )


def _gradient_at(subject: RunSubject, rank: int, step: int | None) -> float | None:
    for _, its, track in subject.named(names.is_gradient):
        if its == rank and step is not None:
            there = np.flatnonzero(track.step == step)
            if len(there) and np.isfinite(track.value[there[-1]]):
                return float(track.value[there[-1]])
    return None


def gradient_blow_up(subject: RunSubject) -> Iterator[Held]:
    """Ten times the usual norm in five of twenty steps, or once, if the loss rises with it."""
    for name, rank, track in subject.named(names.is_gradient):
        value = np.where(np.isfinite(track.value), track.value, np.inf)
        if len(value) < SPIKE_LEAST + BLOW_UP_OF:
            continue
        lo = max(0, len(value) - track.fresh - OVERLAP - BLOW_UP_OF)
        usual = np.median(_finite(track.value[max(0, lo - BEFORE) : max(lo, SPIKE_LEAST)]))
        if not usual > 0:
            continue
        large = np.flatnonzero(value[lo:] > BLOW_UP * usual) + lo
        if not len(large):
            continue
        crowded = [
            place for place in large.tolist() if np.count_nonzero((large > place - BLOW_UP_OF) & (large <= place)) >= BLOW_UP_STEPS
        ]
        rising = [place for place in large.tolist() if _loss_rises(subject, rank, step_of(track, place))]
        place = next(iter(crowded or rising), None)
        if place is None:
            continue
        first = int(large[0])
        how = f"in {BLOW_UP_STEPS} or more of {BLOW_UP_OF} steps" if crowded else "and the loss rises with it"
        biggest = float(np.max(_finite(track.value[large]), initial=0.0)) or float("inf")
        yield Held(
            f"{on_rank(name, rank, subject.ranks())} is more than ten times its usual {usual:.3g} {how}: up to {biggest:.3g}{_at(step_of(track, first))}.",
            time_of(subject, track, first),
            time_of(subject, track, int(large[-1])),
            key=f"{name} {rank}",
            rank=rank,
            step=step_of(track, first),
            numbers={"most": biggest, "usual": float(usual)},
        )


def _loss_rises(subject: RunSubject, rank: int, step: int | None) -> bool:
    if step is None:
        return False
    for _, its, track in subject.named(names.is_training_loss):
        if its != rank:
            continue
        before = _finite(track.value[(track.step < step) & (track.step >= step - SPIKE_BEFORE)])
        after = _finite(track.value[(track.step >= step) & (track.step <= step + RISES)])
        if len(before) >= SPIKE_LEAST // 2 and len(after):
            middle = np.median(before)
            sigma = MAD_TO_SIGMA * np.median(np.abs(before - middle))
            if np.median(after) > middle + max(RISE_SIGMAS * sigma, np.max(before) - middle):
                return True
    return False


def gradient_vanishing(subject: RunSubject) -> Iterator[Held]:
    """By layer: far below what it was, for long. A training that converges does not come near a thousandth."""
    for name, rank, track in subject.named(names.is_gradient):
        value = track.value
        if len(value) < VANISHED_STEPS + BEFORE // 2:
            continue
        usual = np.median(_finite(np.abs(value[:-VANISHED_STEPS])))
        late = np.abs(value[-VANISHED_STEPS:])
        if usual > 0 and np.all(late < VANISHED * usual):
            first = len(value) - VANISHED_STEPS
            yield Held(
                f"{on_rank(name, rank, subject.ranks())} has been below a thousandth of its usual {usual:.3g} for "
                f"{VANISHED_STEPS} steps: nothing reaches that part of the model any more.",
                time_of(subject, track, first),
                time_of(subject, track, len(value) - 1),
                key=f"{name} {rank}",
                rank=rank,
                step=step_of(track, first),
                numbers={"now": float(np.median(late)), "usual": float(usual)},
            )


def scaler_collapse(subject: RunSubject) -> Iterator[Held]:
    """GradScaler halves again and again, or is below 1: fp16 gradients underflow."""
    for name, rank, track in subject.named(names.is_scale):
        value, step = track.value, track.step
        late = step >= WARM_UP_STEPS
        if np.isfinite(value[-1]) and late[-1] and value[-1] < 1 and np.nanmax(value) > 1:
            place = int(np.flatnonzero(value < 1)[0])
            yield _collapsed(subject, name, rank, track, place, f"is {value[-1]:.3g}: below 1 the loss is no longer scaled up")
            continue
        backed = np.flatnonzero((np.diff(value) < 0) & late[1:]) + 1
        recent = backed[step[backed] > step[-1] - BACK_OFF_STEPS]
        if len(recent) >= BACK_OFFS:
            how = f"was halved {len(recent)} times within {BACK_OFF_STEPS} steps, to {value[-1]:.6g}"
            yield _collapsed(subject, name, rank, track, int(recent[0]), how)


def _collapsed(subject: RunSubject, name: str, rank: int, track: RecentPoints, place: int, how: str) -> Held:
    return Held(
        f"{on_rank(name, rank, subject.ranks())} {how}: gradients overflow fp16 again and again; use bf16, or a lower learning rate.",
        time_of(subject, track, place),
        time_of(subject, track, len(track) - 1),
        key=f"{name} {rank}",
        rank=rank,
        step=step_of(track, place),
        numbers={"scale": float(track.value[-1])},
    )


def new_best(subject: RunSubject) -> Iterator[Held]:
    """A validation that is better than all before it."""
    for name, rank, track in subject.named(names.is_result):
        value = track.value
        if len(_finite(value)) <= RESULTS or not track.fresh or not np.isfinite(value[-1]):
            continue
        more = not names.is_loss(name)
        before = _finite(value[:-1])
        best = np.max(before) if more else np.min(before)
        if value[-1] > best if more else value[-1] < best:
            step = step_of(track, len(value) - 1)
            yield Held(
                f"{name} has a new best: {value[-1]:.5g}{_at(step)}, before it {best:.5g}.",
                time_of(subject, track, len(value) - 1),
                time_of(subject, track, len(value) - 1),
                key=f"{name} {rank} {step}",
                moment=True,
                rank=rank,
                step=step,
                numbers={"value": float(value[-1]), "before": float(best)},
            )


def step_of(track: RecentPoints, place: int) -> int | None:
    step = track.step[place]
    return int(step) if np.isfinite(step) else None


def time_of(subject: RunSubject, track: RecentPoints, place: int) -> float:
    time_s = track.time_s[place]
    return float(time_s) if np.isfinite(time_s) else subject.now_s


def _at(step: int | None) -> str:
    return f" at step {step:,}" if step is not None else ""


def _fresh(track: RecentPoints, least: int) -> Iterable[int]:
    return range(max(least, len(track) - track.fresh - OVERLAP), len(track))


def _finite(values: Floats) -> Floats:
    finite: Bools = np.isfinite(values)
    return values[finite]
