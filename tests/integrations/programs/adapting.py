"""What the programs of tests/integrations/adapters.py share: where to log, which fault of ours to meet, and what they report of themselves.

program FOLDER [FAULT ...]    each in a folder of its own: `no` fault, a training with `none` of our code, a full `disk`, a `folder`
that cannot be made, or that RunLog `raises`
"""

import hashlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepseek.log import RunLog

LOGS = Path("logs")
METHODS = ("scalars", "scalars_at", "event", "phase", "add_config", "text", "close_after")
ROOM_BYTES = 1_000  # of a file: the lines of these trainings need more


def each_fault(train: Callable[[str], None]) -> None:
    """In a forked process each, so that the libraries are imported once. The training is started with "" for no fault."""
    for name in sys.argv[2:]:
        folder = Path(sys.argv[1]) / name
        folder.mkdir()
        printed, errors = os.pipe()  # no file: on a full disk it would be cut off, too
        child = os.fork()
        if not child:
            os.chdir(folder)
            os.dup2(errors, 2)
            fault = "" if name == "no" else name
            meet(fault)
            train(fault)
            sys.exit(0)
        os.close(errors)
        with os.fdopen(printed, "rb") as lines:
            (folder / "stderr.txt").write_bytes(lines.read())
        assert os.waitpid(child, 0)[1] == 0, name


def meet(fault: str) -> None:
    if fault == "disk":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM_BYTES, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    if fault == "folder":
        LOGS.write_text("a file, where the log folder should be")
    if fault == "raises":
        for name in METHODS:
            setattr(RunLog, name, refuse)


def refuse(*_: Any, **__: Any) -> None:
    raise RuntimeError("a fault of ours")


def weights(model: Any) -> list[str]:
    """A checksum of each tensor: equal where all of its bits are."""
    return [hashlib.sha256(tensor.numpy().tobytes()).hexdigest() for tensor in model.state_dict().values()]


def report(
    result: list[str], series: dict[str, list[tuple[int, float]]], config: dict[str, Any], events: list[list[Any]]
) -> None:
    """What training came to, and what was logged: events by kind and step."""
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    Path("told.json").write_text(json.dumps({"result": result, "series": series, "config": config, "events": events}))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
