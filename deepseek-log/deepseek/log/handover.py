"""Hand a run's files over to a dashboard on another host, as they grow: each byte once, also when that host is away for a day.

`POST <server>/api/v1/ingest/<run>/<file>?offset=N` takes bytes where the file there ends, else says where that is. So nothing needs to
be remembered here: this process or a later one asks, and goes on. What a run left behind when it ended is handed over by

    python -m deepseek.log.handover logs/baseline --server http://host:8080
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import threading
from collections.abc import Iterable, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from time import monotonic
from urllib.parse import quote, urlsplit

from .files import warn

PERIOD_S = 1.0
RETRY_S = (1.0, 60.0)  # after a failure: at first, and at most
ANSWER_WITHIN_S = 20.0
PIECE_BYTES = 1 << 20  # of a request
LAST_WAIT_S = 5.0  # at the end of a run, as long as pieces get through
NEVER = 400  # the status of what will not be taken later, either
HEAD_BYTES = 256  # of a file, by which the server knows it again
REPLACED = "run.json"  # is written anew, and small: handed over whole whenever it changed


class Refused(Exception):
    """The server answers, and does not take it; the text is its sentence."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


def head_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


class Handover:
    """Hands over some files of one run, from a thread of its own; the training thread never touches the network."""

    def __init__(self, server: str, token: str | None, run: str, folder: Path, names: Iterable[str]) -> None:
        """Raises ValueError for an address that is none."""
        place = urlsplit(server)
        if place.scheme not in ("http", "https") or not place.hostname:
            raise ValueError(f"server={server!r} is no address; use e.g. http://localhost:8080")
        self._place, self._run, self._folder, self._names = place, run, folder, list(names)
        self._headers = {"Content-Type": "application/octet-stream"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._connection: HTTPConnection | None = None
        self._there: dict[str, int] = {}  # by file: its length there, once that is known
        self._described: tuple[int, int] = (
            -1,
            0,
        )  # the run.json that was handed over: when it was written, and its length
        self._given_up: set[str] = set()
        self._same: set[str] = set()  # files that are known to be the same there, as far as they go
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="run-log-handover", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Hand over what is there, for as long as it gets on; say what is left."""
        self._end.set()
        before = -1
        while self._thread.is_alive() and before != (before := self._handed_over()):
            self._thread.join(LAST_WAIT_S)
        if left := self._left():
            warn(
                f"{left:,} bytes of {self._run} are not on {self._place.netloc} yet; hand them over with: "
                f"python -m deepseek.log.handover {self._folder} --server {self._place.geturl()} --run {self._run}"
            )

    def hand_over(self) -> bool:
        """One piece of each file; whether there is more. Raises OSError, HTTPException, Refused."""
        more = False
        for name in self._names:
            if name in self._given_up or name == REPLACED:
                continue
            try:
                more |= self._piece(name)
            except Refused as refused:
                if refused.status != NEVER:
                    raise
                self._give_up(name, str(refused))
        if REPLACED in self._names and self._is_the_same:
            self._describe()
        return more

    def _go_on(self) -> None:
        retry_s = RETRY_S[0]
        while True:
            ending = self._end.is_set()
            try:
                more, wait_s = self.hand_over(), PERIOD_S
                retry_s = RETRY_S[0]
            except (OSError, HTTPException, Refused, ValueError) as error:
                self.disconnect()
                if ending:
                    return
                warn(
                    f"cannot hand over to {self._place.netloc} ({error}); what is logged is kept in {self._folder}, and it is tried again"
                )
                more, wait_s = False, retry_s
                retry_s = min(RETRY_S[1], 2 * retry_s)
            if ending and not more:
                self.disconnect()
                return
            if not more:
                self._end.wait(wait_s)

    def _piece(self, name: str) -> bool:
        """First how long the file is there, then whether it is the same as far as that, and then what is missing."""
        try:
            with (self._folder / name).open("rb") as file:
                length = os.fstat(file.fileno()).st_size
                if name not in self._there:
                    self._there[name] = self._post(name, 0, b"", "")
                there = self._there[name]
                if there > length:
                    self._give_up(name, f"{name} is longer there: it is of another run that has this name already")
                    return False
                if there == length and name in self._same:
                    return False
                head = head_of(file.read(min(HEAD_BYTES, there))) if there else ""
                file.seek(there)
                self._there[name] = there = self._post(name, there, file.read(PIECE_BYTES), head)
        except FileNotFoundError:
            return False
        self._same.add(name)
        return there < length

    def _give_up(self, name: str, reason: str) -> None:
        self._given_up.add(name)
        warn(f"{self._run}/{name} is not handed over to {self._place.netloc}: {reason}")

    @property
    def _is_the_same(self) -> bool:
        """Whether the run there is this one: its events begin with this start."""
        events = [name for name in self._names if name.startswith("events")]
        return not self._given_up.intersection(events) and all(
            name in self._same for name in events if (self._folder / name).exists()
        )

    def _describe(self) -> None:
        """Hand over run.json where it is not what was handed over last."""
        try:
            found = (self._folder / REPLACED).stat()
            if (found.st_mtime_ns, found.st_size) != self._described:
                self._post(REPLACED, 0, (self._folder / REPLACED).read_bytes(), "")
                self._described = (found.st_mtime_ns, found.st_size)
        except FileNotFoundError:
            return

    def _post(self, name: str, offset: int, data: bytes, head: str) -> int:
        """The length of the file there."""
        if self._connection is None:
            kind = HTTPSConnection if self._place.scheme == "https" else HTTPConnection
            self._connection = kind(self._place.hostname or "", self._place.port, timeout=ANSWER_WITHIN_S)
        path = f"{self._place.path.rstrip('/')}/api/v1/ingest/{quote(self._run)}/{quote(name, safe='')}?offset={offset}&head={head}"
        self._connection.request("POST", path, data, self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        try:
            said = json.loads(body)
            if answer.status in (200, 409):
                return int(said["size"])
            sentence = str(said["error"])
        except (ValueError, KeyError, TypeError):
            sentence = f"it answers {answer.status} {answer.reason}: is it a dashboard?"
        raise Refused(sentence, answer.status)

    def disconnect(self) -> None:
        """The next piece connects anew."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _handed_over(self) -> int:
        return sum(self._there.values())

    def _left(self) -> int:
        """Bytes that are here and not there, as far as is known."""
        left = 0
        for name in self._names:
            if name != REPLACED and name not in self._given_up:
                try:
                    left += max(0, (self._folder / name).stat().st_size - self._there.get(name, 0))
                except OSError:
                    continue
        return left


def _name_of(folder: Path) -> str:
    """As RunLog has called it."""
    try:
        return str(json.loads((folder / REPLACED).read_text())["run"])
    except (OSError, ValueError, KeyError, TypeError):
        return folder.resolve().name


def main(arguments: Sequence[str] | None = None) -> int:
    """Hand over all files of a run's folder, and end. The exit code is 1 where not all of it was taken."""
    parser = argparse.ArgumentParser(
        prog="python -m deepseek.log.handover",
        description="Hand a run's files over to a dashboard, with the writer's token in the variable DEEPSEEK_TOKEN: command lines are seen by others.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of the run, e.g. logs/baseline")
    parser.add_argument(
        "--server",
        default=os.environ.get("DEEPSEEK_SERVER"),
        metavar="URL",
        help="address of the dashboard (default: DEEPSEEK_SERVER)",
    )
    parser.add_argument(
        "--run", metavar="NAME", help="name of the run there (default: that in run.json, else the folder's)"
    )
    parsed = parser.parse_args(arguments)
    if not parsed.folder.is_dir() or not parsed.server:
        print(
            f"there is no folder {parsed.folder}"
            if parsed.server
            else "name the dashboard with --server http://HOST:8080",
            file=sys.stderr,
        )
        return 2
    names = sorted(path.name for path in parsed.folder.iterdir() if path.is_file() and not path.name.startswith("."))
    begun_s = monotonic()
    handover = None
    try:
        handover = Handover(
            parsed.server,
            os.environ.get("DEEPSEEK_TOKEN"),
            parsed.run or _name_of(parsed.folder),
            parsed.folder,
            names,
        )
        while handover.hand_over():
            pass
    except (OSError, HTTPException, Refused, ValueError) as error:
        print(
            f"not all of {parsed.folder} is handed over ({error}); run it again, it goes on where it stopped",
            file=sys.stderr,
        )
        return 1
    finally:
        if handover:
            handover.disconnect()
    print(f"{parsed.folder} is on {parsed.server}, after {monotonic() - begun_s:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
