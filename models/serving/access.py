"""Who may query which model, and how often."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ModelsError, WrongOption, needed
from .queue import RefusalKind, ServingRefusal

# Who asks: a bearer token's models, rate and end; without tokens this user's own processes. By the dashboard's own code and rules.

if TYPE_CHECKING:
    from access.tokens import Credential, Tokens

MODELS, RATE, MANAGES = "models", "rate_per_s", "manages"  # keys of a token's scopes
BEARER = "bearer "
MAX_BUCKETS = 2000
KNOWN_S = 0.01  # for so long a token is not looked up again
RawHeaders = list[tuple[bytes, bytes]]
LOG = logging.getLogger("deepseek.serving")


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


class ServingAuth:
    """Without tokens only processes of this user on this machine are let in; of others, also through a proxy or a tunnel, none."""

    def __init__(
        self,
        tokens: Tokens | None,
        host: str,
        hosts: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`host` is what it listens on; `hosts` are other names that requests may name in Host."""
        self._tokens, self._clock = tokens, clock
        self._hosts, self._peers = needed("access.hosts"), needed("access.peers")
        self._names: frozenset[str] = self._hosts.Access(host=host, hosts=tuple(hosts)).names()
        self._listening: frozenset[str] = frozenset() if tokens is not None else self._peers.addresses_of(host)
        self._own: dict[str, bool] = {}  # by the address of a caller over gRPC: whether it is a process of ours
        self._known: dict[str, tuple[ModelCaller, Mapping[str, Any]]] = {}  # by header: with the token's scopes
        self._known_until_s = 0.0
        self._logged = ""  # what ails the tokens
        self._left: dict[str, tuple[float, float]] = {}  # requests that a token may make at once, and when that was so

    def check_host(self, headers: RawHeaders, our_address: str) -> None:
        """Against pages that have made their name one of this machine's (DNS rebinding). Raises ServingRefusal."""
        if not self._hosts.answers_to(headers, self._names, our_address):
            found = self._hosts.host_of(headers)
            name = found[0] if found else "none"
            raise ServingRefusal(
                RefusalKind.FORBIDDEN,
                f"this server does not answer under the name {name[:80]}; start it with --allow-host NAME",
            )

    def is_own(self, headers: RawHeaders, peer: Any) -> bool:
        """Whether a request over HTTP comes from a process of this user; `peer` is a `Peer` of the dashboard."""
        return peer is not None and peer.is_us() and not self._hosts.is_forwarded(headers)

    def is_own_caller(self, names: Iterable[str], address: str, port: int) -> bool:
        """The same over gRPC: `names` of its metadata; `address` is as its library writes it, `ipv4:127.0.0.1:40412`; `port` is ours.

        Once per KNOWN_S it costs 0.1 ms.
        """
        if self._hosts.is_forwarded([(name.encode(), b"") for name in names]):
            return False
        self._forget()
        if address not in self._own:
            self._own[address] = self._peers.is_ours(address, self._listening, port)
        return self._own[address]

    def caller(
        self, authorization: str, counts: bool = True, is_own: Callable[[], bool] = lambda: False
    ) -> ModelCaller:
        """About a microsecond; every KNOWN_S another 12. `counts`: against the token's rate. Raises ServingRefusal."""
        if self._tokens is None:
            if is_own():
                return OWNER
            raise ServingRefusal(
                RefusalKind.NO_TOKEN,
                "only processes of the server's own user need no token; start it with --tokens for others",
            )
        self._forget()
        known = self._known.get(authorization)
        if known is None:
            known = self._known[authorization] = self._looked_up(authorization)
        caller, scopes = known
        if counts:
            self._count(caller.name, scopes)
        return caller

    def _forget(self) -> None:
        now_s = self._clock()
        if now_s >= self._known_until_s:
            self._known.clear()
            self._own.clear()
            self._known_until_s = now_s + KNOWN_S

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
        if len(self._left) > MAX_BUCKETS:
            self._left.clear()
        self._left[name] = (left - 1, now_s)


# The file of serving's tokens: the dashboard's own code, in a folder of its own (decision 0295).

DAY_S = 86400.0
MAX_DAYS, MAX_RATE = 36_500.0, 1e9  # a file with a time beyond what it takes is one without any token
FOLDER_MODE = 0o700


def token_folder() -> Path:
    """`$XDG_STATE_HOME/deepseek-models`"""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "deepseek-models"


def open_tokens(folder: Path) -> Tokens:
    """Raises ModelsError where the folder cannot be made."""
    try:
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise ModelsError(f"{folder} cannot be made ({error.strerror}); give another --tokens folder") from error
    tokens: Tokens = needed("access.tokens").Tokens(folder, command="deepseek-models token")
    return tokens


def new_token(
    folder: Path,
    name: str,
    models: Sequence[str] = (),
    rate_per_s: float = 0.0,
    days: float = 30.0,
    manages: bool = False,
) -> str:
    """The secret, which is shown once. `models`: none means all; a rate or days of 0 have no limit. Raises ModelsError."""
    if not 0 <= days <= MAX_DAYS:
        raise WrongOption(f"{days:g} is no number of days from 0 (never over) to {MAX_DAYS:g}")
    if not 0 <= rate_per_s <= MAX_RATE:
        raise WrongOption(f"{rate_per_s:g} is no number of requests a second from 0 (no limit) to {MAX_RATE:g}")
    scopes: dict[str, Any] = {}
    if models:
        scopes[MODELS] = list(models)
    if rate_per_s:
        scopes[RATE] = rate_per_s
    if manages:
        scopes[MANAGES] = True
    role = needed("access.roles").Role.WRITER  # of the dashboard's the one that reads nothing
    expires_s = time.time() + days * DAY_S if days else None
    return str(_changed(folder, "new", name, role, expires_s, scopes))


def revoke(folder: Path, name: str) -> None:
    """Raises ModelsError."""
    _changed(folder, "revoke", name)


def listed(folder: Path) -> list[Credential]:
    """Those that are not over, the oldest first. Raises ModelsError."""
    found: list[Credential] = _changed(folder, "all")
    return found


def _changed(folder: Path, method: str, *arguments: Any) -> Any:
    tokens, files = needed("access.tokens"), needed("access.files")
    try:
        return getattr(open_tokens(folder), method)(*arguments)
    except tokens.TokenError as error:
        raise WrongOption(str(error)) from error
    except (tokens.DamagedTokens, files.Unwritable) as error:
        raise ModelsError(str(error)) from error
