"""`<data>/tokens.json`: who may come in. A running dashboard takes a change of it at once; a file that is damaged lets no token in."""

from __future__ import annotations

import fcntl
import hmac
import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from collectors.small_file import Unwritable, write_bytes

from .credential import NAME, Credential, CredentialKind, credential_of, hash_of, new_secret, row_of
from .roles import Role

FILE, LOCK = "tokens.json", ".tokens.lock"
MOST_BYTES = 1 << 20
MOST_TOKENS, MOST_SESSIONS, MOST_BROWSERS = 500, 1000, 50  # browsers: of one token
SESSION_S = 30 * 86400.0
CODE_S = 900.0
OTHERS = stat.S_IRWXG | stat.S_IRWXO
LOCAL = "local"  # the folder of runs that are handed over without a token (changes.py)
READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO is opened at once


class DamagedTokens(Exception):
    """The text is one sentence with the file and the remedy."""


class TokenMistake(Exception):
    """A user error; the text is one sentence."""


class Tokens:
    """Of a data folder. From many threads, and beside other processes that change the file."""

    def __init__(self, data_dir: Path, now: Callable[[], float] = time.time) -> None:
        self.path = data_dir / FILE
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
        """The secret, which is shown once. Raises TokenMistake, DamagedTokens, Unwritable."""
        if not NAME.fullmatch(name) or name == LOCAL:
            raise TokenMistake(
                f"{name!r} is no name for a token: letters, digits, dots, dashes, 64 at most; {LOCAL!r} is taken"
            )
        secret = new_secret()
        made = Credential(name, kind, role, hash_of(secret), self._now(), expires_s, scopes, of)
        with self._changing() as credentials:
            if any(name == found.name for found in credentials):
                raise TokenMistake(f"there is a token {name!r} already; give another name, or rotate it")
            credentials.append(made)
            _bound(credentials)
        return secret

    def revoke(self, name: str) -> int:
        """With its sessions; how many there were of them. Raises TokenMistake, DamagedTokens, Unwritable."""
        with self._changing() as credentials:
            found = [each for each in credentials if name in (each.name, each.of)]
            if not any(each.name == name for each in found):
                raise TokenMistake(f"there is no token {name!r}; deepseek-dashboard token list names them")
            credentials[:] = [each for each in credentials if name not in (each.name, each.of)]
        return sum(each.kind == "session" for each in found)

    def rotate(self, name: str) -> str:
        """The new secret; the old one and its sessions end. Raises TokenMistake, DamagedTokens, Unwritable."""
        secret = new_secret()
        with self._changing() as credentials:
            old = next((each for each in credentials if each.name == name and each.kind == "token"), None)
            if old is None:
                raise TokenMistake(f"there is no token {name!r}; deepseek-dashboard token list names them")
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
            _bound(credentials)
        return session_secret, session

    def end(self, key: str) -> None:
        """A session, by its hash. Raises DamagedTokens, Unwritable."""
        with self._changing() as credentials:
            credentials[:] = [each for each in credentials if each.hash != key or each.kind != "session"]

    @contextmanager
    def _changing(self) -> Iterator[list[Credential]]:
        """What is left in the list is written, whole; one process after the other."""
        with _locked(self.path.with_name(LOCK)):
            credentials = [each for each in read(self.path) if not each.is_over(self._now())]
            yield credentials
            text = json.dumps({"credentials": [row_of(each) for each in credentials]}, indent=1).encode()
            if len(text) > MOST_BYTES:
                raise TokenMistake(f"{self.path} would have more than {MOST_BYTES >> 20} MiB; revoke some tokens")
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
            data = file.read(MOST_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > MOST_BYTES:
        raise _damaged(path, f"has more than {MOST_BYTES >> 20} MiB")
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


def _bound(credentials: list[Credential]) -> None:
    """The oldest sessions make room: those of a token for each other, not for those of others. Raises TokenMistake where tokens would have to."""
    sessions = sorted((each for each in credentials if each.kind == "session"), key=lambda each: each.created_s)
    of_a_token: dict[str, list[Credential]] = {}
    for each in sessions:
        if each.of:
            of_a_token.setdefault(each.of, []).append(each)
    over = [each for group in of_a_token.values() for each in group[:-MOST_BROWSERS]]
    rest = [each for each in sessions if each not in over]
    for each in [*over, *rest[: max(0, len(rest) - MOST_SESSIONS)]]:
        credentials.remove(each)
    if sum(each.kind != "session" for each in credentials) > MOST_TOKENS:
        raise TokenMistake(f"there are {MOST_TOKENS} tokens; revoke some: deepseek-dashboard token list names them")


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
