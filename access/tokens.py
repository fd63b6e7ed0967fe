"""Tokens, login codes and sessions as `tokens.json` keeps them."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import ipaddress
import json
import math
import os
import re
import secrets
import stat
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from .files import Unwritable, write_bytes
from .roles import GRANTS, Role

CredentialKind: TypeAlias = Literal["token", "code", "session"]
KINDS = get_args(CredentialKind)

PREFIX = "dsk_"
SECRET = re.compile(r"dsk_[A-Za-z0-9_-]{43}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
HASH = re.compile(r"[0-9a-f]{64}")
LATEST_S = 1e11
MAX_SCOPE_ITEMS, MAX_SCOPE_CHARS = 200, 4096
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
    if not isinstance(given, dict) or len(given) > MAX_SCOPE_ITEMS or not all(isinstance(key, str) for key in given):
        raise ValueError("has scopes that are no table")
    runs, grants = given.get(RUNS, ""), given.get(GRANTS_SCOPE, [])
    if not isinstance(runs, str) or len(runs) > MAX_SCOPE_CHARS:
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


# A limit of failed log-ins, which one client cannot use up for others.
#
# Tokens have 256 bits and are not guessed: the limit keeps logs and the processor free of those who try. A right token is never refused
# for what others, who may come from the same proxy, tried before.

PERIOD_S = 60.0
OWN = 5  # failures within a period that each address always has
MAX_OF_ONE = 30  # of one address, as long as there is room for all
MAX_OF_ALL = 300  # beyond the own ones
MAX_ADDRESSES = 1024
IPV6_NETWORK = 64  # bits that a customer of a provider has in common


class LoginLimiter:
    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._begun_s = now()
        self._shared = 0
        self._by_address: OrderedDict[str, int] = OrderedDict()

    def failed(self, address: str) -> bool:
        """Note a failure; whether it was one too many, and is to be answered 429."""
        if self._now() - self._begun_s >= PERIOD_S:
            self._begun_s, self._shared = self._now(), 0
            self._by_address.clear()
        key = _network(address)
        count = self._by_address.get(key, 0) + 1
        if key not in self._by_address and len(self._by_address) >= MAX_ADDRESSES:
            self._by_address.popitem(last=False)
        self._by_address[key] = count
        if count <= OWN:
            return False
        if count > MAX_OF_ONE or self._shared >= MAX_OF_ALL:
            return True
        self._shared += 1
        return False


def _network(address: str) -> str:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, IPV6_NETWORK), strict=False)) if found.version == 6 else address


# `<data>/tokens.json`: who may come in. A running dashboard takes a change of it at once; a file that is damaged lets no token in.

FILE, LOCK = "tokens.json", ".tokens.lock"
MAX_BYTES = 1 << 20
MAX_TOKENS, MAX_SESSIONS, MAX_BROWSERS = 500, 1000, 50  # browsers: of one token
SESSION_S = 30 * 86400.0
CODE_S = 900.0
OTHERS = stat.S_IRWXG | stat.S_IRWXO
LOCAL = "local"  # the folder of runs that are handed over without a token (dashboard/mutations.py)
READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO is opened at once


class DamagedTokens(Exception):
    """The text is one sentence with the file and the remedy."""


class TokenError(Exception):
    """A user error; the text is one sentence."""


class Tokens:
    """Of a data folder. From many threads, and beside other processes that change the file. `command` is the one that users have for them."""

    def __init__(
        self, data_dir: Path, now: Callable[[], float] = time.time, command: str = "deepseek-dashboard token"
    ) -> None:
        self.path = data_dir / FILE
        self._command = command
        self._now = now
        self._lock = Lock()
        self._stamp: tuple[int, ...] | None = None
        self._by_hash: dict[str, Credential] = {}
        self.trouble = ""  # why no token is taken, one sentence

    # -- what holds now ----------------------------------------------------------------------------------------------------

    def found(self, secret: str, *kinds: CredentialKind) -> Credential | None:
        """Whose secret it is, unless that is over. About 10 us."""
        return self.by_key(hash_of(secret), *kinds)

    def by_key(self, key: str, *kinds: CredentialKind) -> Credential | None:
        credential = self._known().get(key)
        if credential is None or not hmac.compare_digest(credential.hash, key) or credential.is_over(self._now()):
            return None
        return credential if credential.kind in kinds else None

    def all(self) -> list[Credential]:
        """Those that are not over, the oldest first. Raises DamagedTokens."""
        known = self._known()
        if self.trouble:
            raise DamagedTokens(self.trouble)
        return sorted(
            (found for found in known.values() if not found.is_over(self._now())), key=lambda found: found.created_s
        )

    def _known(self) -> Mapping[str, Credential]:
        """Read anew where the file is another one, or has other rights."""
        try:
            found = os.lstat(self.path)
            stamp = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
        except OSError:  # there is none, or `read` says why
            stamp = None
        with self._lock:
            if stamp is None or stamp != self._stamp:
                try:
                    self._by_hash = {each.hash: each for each in read(self.path)}
                    self.trouble = ""
                except DamagedTokens as error:
                    self._by_hash, self.trouble = {}, str(error)
                self._stamp = stamp
            return self._by_hash

    # -- changes -----------------------------------------------------------------------------------------------------------

    def new(
        self,
        name: str,
        role: Role,
        expires_s: float | None,
        scopes: Mapping[str, Any],
        kind: CredentialKind = "token",
        of: str = "",
    ) -> str:
        """The secret, which is shown once. Raises TokenError, DamagedTokens, Unwritable."""
        if not NAME.fullmatch(name) or name == LOCAL:
            raise TokenError(
                f"{name!r} is no name for a token: letters, digits, dots, dashes, 64 at most; {LOCAL!r} is taken"
            )
        secret = new_secret()
        made = Credential(name, kind, role, hash_of(secret), self._now(), expires_s, scopes, of)
        with self._changing() as credentials:
            if any(name == found.name for found in credentials):
                raise TokenError(f"there is a token {name!r} already; give another name, or rotate it")
            credentials.append(made)
            self._bound(credentials)
        return secret

    def revoke(self, name: str) -> int:
        """With its sessions; how many there were of them. Raises TokenError, DamagedTokens, Unwritable."""
        with self._changing() as credentials:
            found = [each for each in credentials if name in (each.name, each.of)]
            if not any(each.name == name for each in found):
                raise TokenError(f"there is no token {name!r}; {self._command} list names them")
            credentials[:] = [each for each in credentials if name not in (each.name, each.of)]
        return sum(each.kind == "session" for each in found)

    def rotate(self, name: str) -> str:
        """The new secret; the old one and its sessions end. Raises TokenError, DamagedTokens, Unwritable."""
        secret = new_secret()
        with self._changing() as credentials:
            old = next((each for each in credentials if each.name == name and each.kind == "token"), None)
            if old is None:
                raise TokenError(f"there is no token {name!r}; {self._command} list names them")
            credentials[:] = [each for each in credentials if name not in (each.name, each.of)]
            credentials.append(old._replace(hash=hash_of(secret), created_s=self._now()))
        return secret

    def redeem(self, secret: str) -> tuple[str, Credential] | None:
        """Begin a session with a token or a code, which is used up by that: its secret, and what it is. Raises DamagedTokens, Unwritable."""
        if self.found(secret, "token", "code") is None:
            return None
        session_secret, now_s = new_secret(), self._now()
        with self._changing() as credentials:
            key = hash_of(secret)
            begun = next((each for each in credentials if each.hash == key), None)
            if begun is None or begun.is_over(now_s):  # another browser was faster
                return None
            ends_s = now_s + SESSION_S
            if begun.kind == "token" and begun.expires_s is not None:
                ends_s = min(ends_s, begun.expires_s)
            name = f"browser-{hash_of(session_secret)[:12]}"
            of = begun.name if begun.kind == "token" else ""
            session = Credential(name, "session", begun.role, hash_of(session_secret), now_s, ends_s, begun.scopes, of)
            if begun.kind == "code":
                credentials.remove(begun)
            credentials.append(session)
            self._bound(credentials)
        return session_secret, session

    def end(self, key: str) -> None:
        """A session, by its hash. Raises DamagedTokens, Unwritable."""
        with self._changing() as credentials:
            credentials[:] = [each for each in credentials if each.hash != key or each.kind != "session"]

    def _bound(self, credentials: list[Credential]) -> None:
        """The oldest sessions make room: those of a token for each other, not for those of others. Raises TokenError where tokens would have to."""
        sessions = sorted((each for each in credentials if each.kind == "session"), key=lambda each: each.created_s)
        of_a_token: dict[str, list[Credential]] = {}
        for each in sessions:
            if each.of:
                of_a_token.setdefault(each.of, []).append(each)
        over = [each for group in of_a_token.values() for each in group[:-MAX_BROWSERS]]
        rest = [each for each in sessions if each not in over]
        for each in [*over, *rest[: max(0, len(rest) - MAX_SESSIONS)]]:
            credentials.remove(each)
        if sum(each.kind != "session" for each in credentials) > MAX_TOKENS:
            raise TokenError(f"there are {MAX_TOKENS} tokens; revoke some: {self._command} list names them")

    @contextmanager
    def _changing(self) -> Iterator[list[Credential]]:
        """What is left in the list is written, whole; one process after the other."""
        with _locked(self.path.with_name(LOCK)):
            credentials = [each for each in read(self.path) if not each.is_over(self._now())]
            yield credentials
            text = json.dumps({"credentials": [row_of(each) for each in credentials]}, indent=1).encode()
            if len(text) > MAX_BYTES:
                raise TokenError(f"{self.path} would have more than {MAX_BYTES >> 20} MiB; revoke some tokens")
            write_bytes(self.path, text)


def read(path: Path) -> list[Credential]:
    """[] where there is no file. Raises DamagedTokens for anything that we would not have written."""
    try:
        descriptor = os.open(path, READ_FLAGS)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _damaged(path, f"cannot be opened ({error.strerror})") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise _damaged(path, "is no regular file")
        if found.st_uid != os.geteuid():
            raise _damaged(path, f"belongs to user {found.st_uid}")
        if found.st_mode & OTHERS:
            raise DamagedTokens(f"{path} is open to other users, so that no token is taken; run: chmod 600 {path}")
        with open(descriptor, "rb", closefd=False) as file:  # a descriptor has no path
            data = file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > MAX_BYTES:
        raise _damaged(path, f"has more than {MAX_BYTES >> 20} MiB")
    try:
        rows = json.loads(data)["credentials"]
        if not isinstance(rows, list):
            raise ValueError("has no list of credentials")
        credentials = [credential_of(row) for row in rows]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        why = str(error) if type(error) is ValueError else "is no JSON that this version reads"
        raise _damaged(path, why) from None
    if len({each.hash for each in credentials}) < len(credentials) or len({each.name for each in credentials}) < len(
        credentials
    ):
        raise _damaged(path, "has a name or a hash twice")
    return credentials


def _damaged(path: Path, why: str) -> DamagedTokens:
    return DamagedTokens(f"{path} {why}, so that no token is taken; correct or delete it")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Raises Unwritable."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unwritable(f"cannot write {path} ({error.strerror})") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def free_name(wanted: str, taken: Sequence[str]) -> str:
    """`view`, `view-2`, ..."""
    if wanted not in taken:
        return wanted
    return next(name for number in range(2, len(taken) + 3) if (name := f"{wanted}-{number}") not in taken)
