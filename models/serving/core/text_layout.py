"""Batches of a causal language model without a cache of keys: token ids are padded on the right, which no token before it sees.

Of each request only the logits behind its last token are kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...artifact.manifest import TensorSpec
from .joining import RowLayout
from .pending import PendingRequest, TensorMap
from .refusal import bad

IDS, MASK, POSITIONS, LOGITS = "input_ids", "attention_mask", "position_ids", "logits"
TOKENS = "tokens"  # the only input of a request that is for the next token
TASK = "text-generation"


class TextLayout(RowLayout):
    """A request whose only input is `tokens` [1, time] gets `logits` [1, vocabulary]; such of any length fit together. Others are the model's own."""

    def __init__(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], most_tokens: int) -> None:
        super().__init__(inputs, outputs)
        self._most_tokens = most_tokens  # of a text with its answer: memory grows with their square
        self._names = {spec.name for spec in inputs}
        sizes = [spec.shape[-1] for spec in outputs if spec.name == LOGITS and spec.shape]
        self._vocabulary = sizes[0] if sizes and isinstance(sizes[0], int) else 0  # 0: not known

    @staticmethod
    def fits(task: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> bool:
        """`input_ids` [free, free], with or without a mask and positions, to `logits` [free, free, vocabulary]."""
        names = {spec.name for spec in inputs}
        logits = [spec for spec in outputs if spec.name == LOGITS and len(spec.shape) == 3]
        return (
            task == TASK
            and {IDS} <= names <= {IDS, MASK, POSITIONS}
            and bool(logits)
            and all(len(spec.shape) == 2 and not any(isinstance(size, int) for size in spec.shape) for spec in inputs)
        )

    def check(self, inputs: TensorMap) -> tuple[int, object]:
        if set(inputs) != {TOKENS}:
            found = super().check(inputs)
            if (length := inputs[IDS].shape[1]) > self._most_tokens:
                raise bad(f"the texts have {length} tokens, and the model takes {self._most_tokens}; shorten them")
            ids = inputs[IDS]
            if (
                self._vocabulary and ids.size and (ids.min() < 0 or ids.max() >= self._vocabulary)
            ):  # not all runtimes say so
                raise bad(f"input {IDS!r} has a token outside of 0 to {self._vocabulary - 1}")
            return found
        tokens = inputs[TOKENS]
        if tokens.dtype.name != "int64" or tokens.ndim != 2 or tokens.shape[0] != 1 or not tokens.shape[1]:
            raise bad(
                f"input {TOKENS!r} is {tokens.dtype.name} {list(tokens.shape)}, and the model takes int64 [1, time]"
            )
        return 1, TOKENS

    def join(self, requests: Sequence[PendingRequest]) -> TensorMap:
        if requests[0].key != TOKENS:
            return super().join(requests)
        import numpy as np

        rows = [request.inputs[TOKENS][0] for request in requests]
        longest = max(len(row) for row in rows)
        ids_BT = np.zeros((len(rows), longest), np.int64)
        mask_BT = np.zeros((len(rows), longest), np.int64)
        for place, row in enumerate(rows):
            ids_BT[place, : len(row)] = row
            mask_BT[place, : len(row)] = 1
        every = {
            IDS: ids_BT,
            MASK: mask_BT,
            POSITIONS: np.broadcast_to(np.arange(longest, dtype=np.int64), ids_BT.shape),
        }
        return {name: np.ascontiguousarray(every[name]) for name in self._names}

    def part(self, outputs: TensorMap, requests: Sequence[PendingRequest]) -> list[TensorMap] | None:
        """`logits` [1, vocabulary] behind the last token."""
        if requests[0].key != TOKENS:
            return super().part(outputs, requests)
        lengths = [request.inputs[TOKENS].shape[1] for request in requests]
        return [{LOGITS: outputs[LOGITS][row : row + 1, length - 1]} for row, length in enumerate(lengths)]
