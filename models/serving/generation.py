"""An answer of a language model, token by token: each token is a request of its own, so that answers join and leave batches at any time."""

from __future__ import annotations

import asyncio
import time
from asyncio import Future
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from .model import LOGITS, TOKENS, ServedVersion, TextCodec, TextPieces
from .queue import NEVER_S, ModelAnswer, RefusalKind, ServingRefusal, bad

if TYPE_CHECKING:
    import numpy as np

Waiting = Callable[["Future[ModelAnswer]"], Awaitable[ModelAnswer]]


AT_ONCE_CHARACTERS = 2000  # are tokens in about a millisecond


@dataclass(frozen=True)
class TextSampling:
    """`temperature` 0: always the likeliest token."""

    most_tokens: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


class TextPiece(NamedTuple):
    """`finish`: "stop" or "length" on the last one, which may have no text. `tokens` and `spent`: of the answer so far."""

    text: str
    finish: str
    tokens: int
    spent: ModelAnswer


async def prompt_ids(model: str, codec: TextCodec | None, prompt: str | list[int], most_tokens: int) -> list[int]:
    """Raises ServingRefusal for a prompt that is empty, too long or of unknown tokens.

    A text that cannot be so few tokens is refused unread, and a long one is read beside the event loop: a second for some MB.
    """
    if codec is None:
        raise bad(f"{model!r} has no tokenizer: ask it for tensors")
    if not isinstance(prompt, str):
        ids = prompt
    elif len(prompt) > most_tokens * codec.longest:
        raise bad(
            f"the prompt has {len(prompt)} characters, more than the {most_tokens} tokens that {model!r} takes; shorten it"
        )
    elif len(prompt) > AT_ONCE_CHARACTERS:
        ids = await asyncio.to_thread(codec.ids, prompt)
    else:
        ids = codec.ids(prompt)
    if not ids:
        raise bad("the prompt is empty; give some text")
    if len(ids) > most_tokens:
        raise bad(f"the prompt has {len(ids)} tokens, and {model!r} takes {most_tokens}; shorten it")
    if max(ids) >= codec.vocabulary or min(ids) < 0:
        raise bad(f"the prompt has a token outside of 0 to {codec.vocabulary - 1}")
    return ids


async def generate(
    version: ServedVersion,
    ids: list[int],
    sampling: TextSampling,
    wait: Waiting,
    arrived_s: float,
    deadline_s: float = NEVER_S,
) -> AsyncIterator[TextPiece]:
    """Raises ServingRefusal, before the first piece for an overload, and what `wait` raises."""
    import numpy as np

    codec = version.text
    if codec is None:
        raise ServingRefusal(RefusalKind.BAD, f"{version.model!r} has no tokenizer: ask it for tensors")
    chance = np.random.default_rng(sampling.seed)
    pieces, stopping = TextPieces(codec), StopWords(sampling.stop)
    known = list(ids)
    spent: ModelAnswer | None = None
    with version.held():
        for count in range(1, sampling.most_tokens + 1):
            inputs = {TOKENS: np.array([known], np.int64)}
            now_s = arrived_s if count == 1 else time.monotonic()
            answer = await wait(version.submit(inputs, now_s, deadline_s, admitted=count > 1))
            token = _chosen(answer.outputs[LOGITS][0], sampling, chance)
            spent = _sum(spent, answer) if spent else answer
            if token in codec.ends:
                yield TextPiece(stopping.rest(pieces.rest()), "stop", count, spent)
                return
            known.append(token)
            text = stopping.add(pieces.add(token))
            if stopping.found:
                yield TextPiece(text, "stop", count, spent)
                return
            if count == sampling.most_tokens:
                yield TextPiece(text + stopping.rest(pieces.rest()), "length", count, spent)
                return
            yield TextPiece(text, "", count, spent)


class StopWords:
    """Text up to the first of some words; what may be the begin of one is held back."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self._words = words
        self._held = ""
        self.found = False

    def add(self, text: str) -> str:
        self._held += text
        places = [place for word in self._words if (place := self._held.find(word)) >= 0]
        if places:
            self.found = True
            return self._held[: min(places)]
        keep = max((_overlap(self._held, word) for word in self._words), default=0)
        said, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return said

    def rest(self, text: str) -> str:
        said = self.add(text)
        return said if self.found else said + self._held


def _sum(spent: ModelAnswer, last: ModelAnswer) -> ModelAnswer:
    seconds = (spent.queue_s + last.queue_s, spent.batch_s + last.batch_s, spent.infer_s + last.infer_s)
    return ModelAnswer({}, last.version, *seconds, last.batch_rows)


def _overlap(text: str, word: str) -> int:
    """Characters at the end of the text that the word begins with."""
    return next((length for length in range(min(len(word) - 1, len(text)), 0, -1) if text.endswith(word[:length])), 0)


def _chosen(logits_V: np.ndarray[Any, Any], sampling: TextSampling, chance: np.random.Generator) -> int:
    import numpy as np

    if not np.isfinite(logits_V.max()):
        raise ServingRefusal(RefusalKind.FAILED, "the model gave no numbers for the next token")
    if not sampling.temperature:
        return int(logits_V.argmax())
    scaled = (logits_V.astype(np.float64) - float(logits_V.max())) / sampling.temperature
    share = np.exp(scaled)
    share /= share.sum()
    if sampling.top_p < 1:
        order = np.argsort(-share)
        kept = order[: int(np.searchsorted(np.cumsum(share[order]), sampling.top_p)) + 1]
        share = np.where(np.isin(np.arange(len(share)), kept), share, 0.0)
        share /= share.sum()
    return int(chance.choice(len(share), p=share))
