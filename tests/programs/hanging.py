"""The collector process, in which reading a file named hang.jsonl never ends; it gives up after a second instead of thirty."""

import sys
import threading

from collectors import __main__
from collectors.logs.followed import FollowedFile
from collectors.service import supervisor, watchdog

read = FollowedFile.read


def hanging(self: FollowedFile) -> bool:
    if "hang.jsonl" in str(vars(self).values()):
        threading.Event().wait()
    return read(self)


FollowedFile.read = hanging  # type: ignore[method-assign]
supervisor.STUCK_S = 0.5
watchdog.Watchdog.__init__.__defaults__ = (1.0,)  # type: ignore[attr-defined]
sys.exit(__main__.main(sys.argv[1:]))
