"""torch.profiler over the turns of the planted causes, on a card."""

from __future__ import annotations

import time
from typing import Any, Protocol

from . import load
from .kernels import kernels_of
from .planted import Turn

EDGE_S = 0.3  # of a turn, at both ends


class Learns(Protocol):
    """The training that is profiled."""

    turns: tuple[Turn, ...]

    def learn(self) -> object: ...


class Profiled:
    def __init__(self, training: Learns) -> None:
        self._training = training
        self._under_way: tuple[Turn, Any, Any] | None = None
        self.done: list[tuple[Turn, Any]] = []
        with load.profiled():  # the first one takes seconds
            training.learn()

    def look(self) -> None:
        """At the beginning of a step."""
        now_s = time.time()
        if self._under_way and now_s > self._under_way[0].end_s - EDGE_S:
            turn, context, profiler = self._under_way
            context.__exit__(None, None, None)
            self.done.append((turn, profiler))
            self._under_way = None
        inside = next((turn for turn in self._training.turns if turn.begin_s + EDGE_S < now_s < turn.end_s - 1), None)
        if inside and self._under_way is None:
            context = load.profiled()
            self._under_way = (inside, context, context.__enter__())

    def kernels(self) -> list[dict[str, Any]]:
        found = [(turn, kernels_of(profiler)) for turn, profiler in self.done]
        return [{"cause": turn.cause, "start_s": k.start_s.tolist(), "end_s": k.end_s.tolist()} for turn, k in found]
