"""Where the dashboard listens: a TCP address, and a Unix socket that only its owner may connect to."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

from ..auth.hosts import Access, bracketed, is_loopback

WAITING = 128  # connections that nothing has accepted yet
ANY_ADDRESS = ("0.0.0.0", "::")
LONGEST_PATH = 107  # bytes, of the kernel


class CannotListen(Exception):
    """The text is one sentence with the remedy."""


def listen(host: str, number: int) -> socket.socket:
    """Raises CannotListen if the address is in use or not available."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if ":" not in host and not is_loopback(host):
        with suppress(OSError):
            family = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, number))
        listener.listen(WAITING)
    except PermissionError:
        listener.close()
        raise CannotListen(f"port {number} is for root only; choose one above 1023 with --port") from None
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise CannotListen(f"port {number} is taken; choose another one with: --port {number + 1}") from None
        raise CannotListen(f"cannot listen on {host} ({error.strerror}); leave --host out for 127.0.0.1") from None
    return listener


def listen_unix(path: Path) -> socket.socket:
    """Mode 0600. What an ended dashboard left there is replaced, anything else is not. Raises CannotListen."""
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise CannotListen(
            f"{path} is too long for a socket ({LONGEST_PATH} bytes at most); give a shorter path with --unix-socket"
        )
    listener = socket.socket(socket.AF_UNIX)
    try:
        _remove_stale(path)
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(WAITING)
    except OSError as error:
        listener.close()
        raise CannotListen(
            f"cannot listen on {path} ({error.strerror}); give another path with --unix-socket"
        ) from None
    return listener


def _remove_stale(path: Path) -> None:
    """Raises OSError for what is in use, is no socket, or is another user's."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    path.unlink()


def address_of(listener: socket.socket, access: Access) -> str:
    """For programs of this machine: `http://127.0.0.1:8080`, also where it listens on all addresses; `https://127.0.0.1:8080/x`."""
    bound = listener.getsockname()[0]
    return _address(access, {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bound, bound), listener)


def public_address_of(listener: socket.socket, access: Access) -> str:
    """For browsers: by the first origin that the user named, else by the host; of all addresses, by the machine's name."""
    if access.origins:
        return f"{access.origins[0]}{access.base_path.rstrip('/')}"
    if access.is_loopback:
        return address_of(listener, access)
    return _address(access, socket.gethostname() if access.host in ANY_ADDRESS else access.host, listener)


def _address(access: Access, name: str, listener: socket.socket) -> str:
    scheme = "https" if access.is_secure else "http"
    return f"{scheme}://{bracketed(name)}:{listener.getsockname()[1]}{access.base_path.rstrip('/')}"
