"""Is the port free, and who holds it?"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator

from collectors.process.proc import program_of, user_of

from ... import address
from .place import CheckedHost, Symptom

LISTENING = "0A"
LOOK_S = 0.3  # for the process that holds it


def check(place: CheckedHost) -> Symptom:
    facts = {"port": place.port}
    if not place.port:
        return Symptom("ok", "any free port will be taken.", "", facts)
    if address.port_of(place.data_dir) == place.port:
        return Symptom("ok", f"port {place.port} is that of the running dashboard of this folder.", "", facts)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", place.port))
        except PermissionError:
            return Symptom(
                "wrong", f"port {place.port} is for root only.", "Type: deepseek-dashboard --port 8080", facts
            )
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return Symptom(
                    "wrong", f"port {place.port} cannot be used ({error.strerror}).", "Type: ip addr show lo", facts
                )
        else:
            return Symptom("ok", f"port {place.port} is free.", "", facts)
    other = place.port + 1 if place.port < 65535 else 8080
    sentence = f"port {place.port} is taken{_holder(place)}."
    return Symptom("wrong", sentence, f"Type: deepseek-dashboard --port {other}", facts)


def _holder(place: CheckedHost) -> str:
    """` by python3 (process 4127)`, ` by a process of anna`, or "" where it lies in another namespace."""
    found = dict(_listening(place))  # by inode, the uid
    until_s = time.monotonic() + LOOK_S
    sockets = {f"socket:[{inode}]" for inode in found}
    for entry in sorted(os.listdir(place.proc)) if found else ():  # noqa: PTH208
        if entry.isdigit() and time.monotonic() < until_s and not sockets.isdisjoint(_open_in(place, entry)):
            return f" by {program_of(int(entry), place.proc) or 'a process'} (process {entry})"
    return next((f" by a process of {user_of(uid)}" for uid in found.values()), "")


def _listening(place: CheckedHost) -> Iterator[tuple[str, int]]:
    for table in ("tcp", "tcp6"):
        for line in place.read(f"proc/net/{table}").splitlines()[1:]:
            words = line.split()
            if len(words) > 9 and words[3] == LISTENING and int(words[1].rpartition(":")[2], 16) == place.port:
                yield words[9], int(words[7])


def _open_in(place: CheckedHost, pid: str) -> set[str]:
    """What the descriptors of a process are; nothing where it is another user's."""
    folder = place.proc / pid / "fd"
    try:
        names = os.listdir(folder)  # noqa: PTH208
    except OSError:
        return set()
    found = set()
    for name in names:
        try:
            found.add(os.readlink(folder / name))  # noqa: PTH115  # it is no path
        except OSError:
            continue
    return found
