"""Where the simulated host may stand: a line, what it costs where it makes the device wait, and how it does so."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import numpy as np

from analysis.ledger.kinds import NUMBER, TimeKind

Mechanism = Literal["free", "launch", "wait", "copy"]


class Label(NamedTuple):
    line: str
    kind: TimeKind
    mechanism: Mechanism
    statement: int  # of the training loop


(
    NEXT,
    DECODE,
    FORWARD,
    BACKWARD,
    OPTIMIZER,
    ITEM,
    WRITE,
    PYTHON,
    SHADOW,
    GIL,
    SAVE,
    VALIDATION_NEXT,
    VALIDATION,
    VALIDATION_ITEM,
) = range(14)
COLLECTION, COPY, TO_GPU, STATE_TO_CPU, LAYER_ITEM, COLLECTIVE = range(14, 20)

LABELS: Final = (
    Label("train.py:40 next(loader)", "data", "free", 40),
    Label("data.py:88 decode", "data", "free", 40),
    Label("model.py:30 forward", "launch", "launch", 50),
    Label("train.py:60 backward", "launch", "launch", 60),
    Label("train.py:62 optimizer.step", "launch", "launch", 62),
    Label("train.py:118 loss.item()", "sync", "wait", 118),
    Label("train.py:120 write_log", "log", "free", 120),
    Label("model.py:70 attention_mask", "python", "free", 50),
    Label("train.py:116 metrics", "python", "free", 116),
    Label("model.py:31 forward", "gil", "free", 50),
    Label("train.py:130 torch.save", "checkpoint", "free", 130),
    Label("train.py:140 next(validation)", "validation", "free", 140),
    Label("train.py:142 evaluate", "validation", "launch", 142),
    Label("train.py:143 loss.item()", "validation", "wait", 143),
    Label("(garbage collection)", "gc", "launch", 50),
    Label("(copy)", "unexplained", "copy", 42),
    Label("train.py:42 batch.to(cuda)", "launch", "launch", 42),
    Label("train.py:129 state.cpu()", "checkpoint", "wait", 129),
    Label("model.py:44 gate.item()", "sync", "wait", 50),
    Label("train.py:61 all_reduce", "launch", "launch", 61),
)
KIND: Final = np.array([NUMBER[label.kind] for label in LABELS], np.int64)
STATEMENT: Final = np.array([label.statement for label in LABELS], np.int64)
MECHANISM: Final = np.array(
    [("free", "launch", "wait", "copy").index(label.mechanism) for label in LABELS], np.int64
)  # as Moments.state
