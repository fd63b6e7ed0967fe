"""Who asks: a bearer token's models, rate and end. The tokens lie in a file of the dashboard's own format, with its code."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from ..core.refusal import RefusalKind, ServingRefusal

MODELS, RATE, MANAGES = "models", "rate_per_s", "manages"  # keys of a token's scopes
BEARER = "bearer "
MOST_BUCKETS = 2000
KNOWN_S = 0.01  # for so long a token is not looked up again
LOG = logging.getLogger("deepseek.serving")


class KnownTokens(Protocol):
    """`dashboard.auth.tokens.Tokens`"""

    trouble: str

    def found(self, secret: str, *kinds: Any) -> Any: ...


class ModelCaller(NamedTuple):
    """`models`: those that it may ask; None: all."""

    name: str
    models: frozenset[str] | None = None
    manages: bool = True  # may load another version

    def check(self, model: str) -> None:
        """Raises ServingRefusal."""
        if self.models is not None and model not in self.models:
            raise ServingRefusal(RefusalKind.FORBIDDEN, f"this token is not for the model {model[:80]!r}")

    def check_manages(self) -> None:
        """Raises ServingRefusal."""
        if not self.manages:
            raise ServingRefusal(RefusalKind.FORBIDDEN, "this token may not load models: make one with --manage")


OWNER = ModelCaller("owner")


class ServingDoor:
    """Without tokens all are let in: only for loopback."""

    def __init__(self, tokens: KnownTokens | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._tokens, self._clock = tokens, clock
        self._known: dict[str, tuple[ModelCaller, Mapping[str, Any]]] = {}  # by header: with the token's scopes
        self._known_until_s = 0.0
        self._logged = ""  # what ails the tokens
        self._left: dict[str, tuple[float, float]] = {}  # requests that a token may make at once, and when that was so

    def caller(self, authorization: str, counts: bool = True) -> ModelCaller:
        """About a microsecond; every KNOWN_S another 12. `counts`: against the token's rate. Raises ServingRefusal."""
        if self._tokens is None:
            return OWNER
        now_s = self._clock()
        if now_s >= self._known_until_s:
            self._known.clear()
            self._known_until_s = now_s + KNOWN_S
        known = self._known.get(authorization)
        if known is None:
            known = self._known[authorization] = self._looked_up(authorization)
        caller, scopes = known
        if counts:
            self._count(caller.name, scopes)
        return caller

    def _looked_up(self, authorization: str) -> tuple[ModelCaller, Mapping[str, Any]]:
        assert self._tokens is not None
        if not authorization[: len(BEARER)].lower() == BEARER:
            raise ServingRefusal(RefusalKind.NO_TOKEN, "a token is needed: send the header Authorization: Bearer TOKEN")
        secret = authorization[len(BEARER) :].strip()
        found = self._tokens.found(secret, "token") if secret.isascii() else None
        if found is None:
            if self._tokens.trouble:
                if self._tokens.trouble != self._logged:
                    LOG.error("no token is taken: %s", self._tokens.trouble)
                    self._logged = self._tokens.trouble
                raise ServingRefusal(RefusalKind.NOT_READY, "the server cannot read its tokens; its log says why", 5.0)
            raise ServingRefusal(RefusalKind.NO_TOKEN, "this token is not known, or is over: ask for a new one")
        models = found.scopes.get(MODELS)
        allowed = frozenset(str(name) for name in models) if isinstance(models, list) else None
        return ModelCaller(found.name, allowed, found.scopes.get(MANAGES) is True), found.scopes

    def _count(self, name: str, scopes: Mapping[str, Any]) -> None:
        rate = scopes.get(RATE)
        if not isinstance(rate, (int, float)) or isinstance(rate, bool) or not rate > 0:
            return
        now_s = self._clock()
        most = max(1.0, float(rate))
        left, then_s = self._left.get(name, (most, now_s))
        left = min(most, left + (now_s - then_s) * rate)
        if left < 1:
            self._left[name] = (left, now_s)
            raise ServingRefusal(
                RefusalKind.BUSY, f"this token may make {rate:g} requests a second; try again later", (1 - left) / rate
            )
        if len(self._left) > MOST_BUCKETS:
            self._left.clear()
        self._left[name] = (left - 1, now_s)
