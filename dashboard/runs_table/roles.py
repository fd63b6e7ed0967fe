"""Which of a run's series is its loss, the value that it is judged by, its speed: by the names that programs give them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from collectors.analysis.directions import HELD_OUT, direction_of, is_held_out, words
from collectors.records import ITEMS

from ..user_files.directions import Direction

MOST_NAMES = 64  # of one role
USUAL_LOSSES = ("train/loss", "loss", "train_loss", "training/loss", "training_loss", "train/total_loss", "total_loss")
BEST_FIRST = ("loss", "ppl", "perplexity", "nll", "wer", "acc", "accuracy", "f1")
PARTS = HELD_OUT | {"train", "training"}  # behind the metric in `Loss/train`
PER_SECOND = ("s", "sec", "second", "seconds")


class SeriesRoles(NamedTuple):
    """For each role the names of series, the first that a run has counts."""

    loss: tuple[str, ...] = ()
    judged: tuple[str, ...] = ()  # validation values, or losses where no run has a validation
    tokens: tuple[str, ...] = ()  # a second
    items: tuple[str, ...] = ()  # how many have passed: samples or steps, by text that does not say which
    mfu: tuple[str, ...] = ()
    memory: tuple[str, ...] = ()
    epoch: tuple[str, ...] = ()
    energy: tuple[str, ...] = ()

    @property
    def names(self) -> set[str]:
        return {name for role in self for name in role}


def roles_of(names: Mapping[str, int], chosen: Mapping[str, Direction] | None = None) -> SeriesRoles:
    """`names` with the number of their series: the more usual name comes first."""
    usual = sorted(names, key=lambda name: -names[name])
    losses = [name for name in usual if _metric(name) == "loss" and not is_held_out(name)]
    losses.sort(key=lambda name: USUAL_LOSSES.index(name) if name in USUAL_LOSSES else len(USUAL_LOSSES))
    held_out = [name for name in usual if is_held_out(name) and direction_of(name, chosen)]
    held_out.sort(key=_judged_first)
    return SeriesRoles(
        tuple(losses[:MOST_NAMES]),
        tuple((held_out or losses)[:MOST_NAMES]),
        tuple([name for name in usual if _is_tokens_a_second(name)][:MOST_NAMES]),
        tuple([name for name in usual if name == ITEMS]),
        tuple([name for name in usual if words(name)[-1:] == ("mfu",)][:MOST_NAMES]),
        tuple([name for name in usual if _is_memory(name)][:MOST_NAMES]),
        tuple([name for name in usual if words(name)[-1:] in (("epoch",), ("epochs",))][:MOST_NAMES]),
        tuple([name for name in usual if "energy" in words(name)][:MOST_NAMES]),
    )


def quantity_of(name: str) -> tuple[str, ...]:
    """What a series measures, whatever a program calls it: `val/loss`, `val_loss`, `eval_loss` and `Loss/val` are `("validation", "loss")`."""
    found = words(name)
    if HELD_OUT.isdisjoint(found):
        return tuple(word for word in found if word not in PARTS)
    part = "test" if "test" in found else "validation"
    return part, *(word for word in found if word not in PARTS)


def first_of(role: Collection[str], known: Collection[str]) -> str | None:
    return next((name for name in role if name in known), None)


def _judged_first(name: str) -> int:
    metric = _metric(name)
    return BEST_FIRST.index(metric) if metric in BEST_FIRST else len(BEST_FIRST)


def _metric(name: str) -> str:
    """`train/loss`, `Loss/train` -> `loss`; "" where nothing but a part of the data is named."""
    return next((word for word in reversed(words(name)) if word not in PARTS), "")


def _is_tokens_a_second(name: str) -> bool:
    found = words(name)
    counts = bool({"token", "tokens", "tok", "toks"} & set(found))
    return found[-1:] == ("tps",) or (counts and (found[-1] in PER_SECOND or name.endswith("/s")))


def _is_memory(name: str) -> bool:
    found = set(words(name))
    return (
        bool(found & {"memory", "mem", "vram"})
        and bool(found & {"peak", "max", "allocated", "reserved", "used"})
        and not found & {"pct", "percent"}
    )
