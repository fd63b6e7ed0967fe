"""The collector process, in which reading a file named hang.jsonl never ends; it gives up after a second instead of thirty."""

import sys
import threading

import collector
from collectors import supervisor
from collectors.logs.file import FollowedFile

read = FollowedFile.read


def hanging(self: FollowedFile) -> bool:
    if "hang.jsonl" in str(vars(self).values()):
        threading.Event().wait()
    return read(self)


FollowedFile.read = hanging  # type: ignore[method-assign]
supervisor.STUCK_S = 0.5
supervisor.Watchdog.__init__.__defaults__ = (1.0,)  # type: ignore[attr-defined]
sys.exit(collector.main(sys.argv[1:]))
