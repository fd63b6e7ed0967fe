"""Starts the sampler as an ancestor of the program, which may read it also at ptrace scope 1."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from pathlib import Path

from access.unix_socket import peer_of

ADDRESS = "\0deepseek-keeper.{pid}"
HERE = b"1"  # what comes with the descriptors
START_OVER = b"r 0\n"  # the sampler lets go of all that it samples
TURN_BYTES = 16


class SamplerLender:
    """Lends the sampler's pipes to one collector at a time."""

    def __init__(self, commands: int, output: int, turn: int) -> None:
        self._descriptors = [commands, output, turn]
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lent: socket.socket | None = None
        with suppress(OSError):  # a network namespace in which the name is taken
            self._listener.bind(ADDRESS.format(pid=os.getpid()))
            self._listener.listen(4)

    def sockets(self) -> list[socket.socket]:
        """What to wait for; `serve` those that are ready."""
        return [self._listener, *([self._lent] if self._lent else [])]

    def serve(self, ready: socket.socket) -> None:
        with suppress(OSError):
            if ready is self._listener:
                self._lend()
            elif not ready.recv(1):
                ready.close()
                self._lent = None
                os.write(self._descriptors[0], START_OVER)

    def _lend(self) -> None:
        borrower, _ = self._listener.accept()
        if self._lent or peer_of(borrower).uid not in (0, os.getuid()):
            borrower.close()
            return
        socket.send_fds(borrower, [HERE], self._descriptors)
        self._lent = borrower


def fork_sampler(sampler: Path, *, hears_sigterm: bool = True) -> SamplerLender:
    """Split in two: the process that called becomes the sampler, and this returns in a new one below it.

    The sampler ends with its pipes; one that does not hear SIGTERM samples also a program that saves after it.
    """
    commands, command = os.pipe2(os.O_CLOEXEC)
    output, outputs = os.pipe2(os.O_CLOEXEC)
    turn = os.memfd_create("turn")
    os.ftruncate(turn, TURN_BYTES)
    if os.fork():
        try:
            os.dup2(commands, 0)
            os.dup2(outputs, 1)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            os.dup2(turn, 3)
            os.closerange(4, os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") > 0 else 1024)
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the keeper is reaped without us
            if not hears_sigterm:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.execv(sampler, [str(sampler), "3"])
        finally:
            os._exit(127)
    os.close(commands)
    os.close(outputs)
    os.setsid()
    os.set_blocking(command, False)
    return SamplerLender(command, output, turn)
