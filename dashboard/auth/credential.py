"""A credential as `tokens.json` keeps it: a token, a code that is good for one log-in, or the session of a browser; of its secret, the hash."""

from __future__ import annotations

import hashlib
import math
import re
import secrets
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from .roles import GRANTS, Role

CredentialKind: TypeAlias = Literal["token", "code", "session"]
KINDS = get_args(CredentialKind)

PREFIX = "dsk_"
SECRET = re.compile(r"dsk_[A-Za-z0-9_-]{43}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
HASH = re.compile(r"[0-9a-f]{64}")
LATEST_S = 1e11
MOST_SCOPE_ITEMS, MOST_SCOPE_CHARS = 200, 4096
RUNS, GRANTS_SCOPE, VIEW = "runs", "grants", "view"  # keys of scopes


class Credential(NamedTuple):
    """`of` is the name of the token that a session was begun with; "" for a token, and for sessions that a code began."""

    name: str
    kind: CredentialKind
    role: Role
    hash: str
    created_s: float
    expires_s: float | None
    scopes: Mapping[str, Any]
    of: str = ""

    def is_over(self, now_s: float) -> bool:
        return self.expires_s is not None and self.expires_s <= now_s


def new_secret() -> str:
    """256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(secret: str) -> str:
    """A slow hash is for what can be guessed; 256 random bits cannot."""
    return hashlib.sha256(secret.encode()).hexdigest()


def credential_of(row: Any) -> Credential:
    """Raises ValueError with what is wrong."""
    if not isinstance(row, dict):
        raise ValueError("is no table")
    name, role, hashed, of = (row.get(key) for key in ("name", "role", "hash", "of"))
    kind: Any = row.get("kind")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"has the name {str(name)[:80]!r}")
    if kind not in KINDS:
        raise ValueError(f"{name!r} is of no known kind")
    if role not in (Role.OWNER, Role.VIEWER, Role.WRITER):
        raise ValueError(f"{name!r} has no known role")
    if not isinstance(hashed, str) or not HASH.fullmatch(hashed):
        raise ValueError(f"{name!r} has no hash")
    if of is not None and (not isinstance(of, str) or (of and not NAME.fullmatch(of))):
        raise ValueError(f"{name!r} is of no known token")
    created_s: Any = row.get("created_s")
    expires_s: Any = row.get("expires_s")
    if not _is_time(created_s) or (expires_s is not None and not _is_time(expires_s)):
        raise ValueError(f"{name!r} has times that are none")
    return Credential(
        name,
        kind,
        Role(role),
        hashed,
        float(created_s),
        None if expires_s is None else float(expires_s),
        scopes_of(row.get("scopes", {})),
        of or "",
    )


def row_of(credential: Credential) -> dict[str, Any]:
    return {**credential._asdict(), "scopes": dict(credential.scopes)}


def scopes_of(given: Any) -> dict[str, Any]:
    """Only what is known and of its type; what is unknown is kept, for newer versions, and means nothing here. Raises ValueError."""
    if not isinstance(given, dict) or len(given) > MOST_SCOPE_ITEMS or not all(isinstance(key, str) for key in given):
        raise ValueError("has scopes that are no table")
    runs, grants = given.get(RUNS, ""), given.get(GRANTS_SCOPE, [])
    if not isinstance(runs, str) or len(runs) > MOST_SCOPE_CHARS:
        raise ValueError("has scopes whose runs are no prefix of names")
    if not isinstance(grants, list) or not all(grant in GRANTS for grant in grants if isinstance(grant, str)):
        raise ValueError(f"grants what does not exist; there are {', '.join(GRANTS)}")
    if not all(isinstance(grant, str) for grant in grants):
        raise ValueError("has grants that are no words")
    return given


def _is_time(value: Any) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
        and 0 <= value < LATEST_S
    )
