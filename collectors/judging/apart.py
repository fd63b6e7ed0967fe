"""Read a file that a stranger may have written in a process of its own, with an end in time and memory.

`python -m collectors.judging.apart MODULE:FUNCTION ARGUMENT... < FILE` prints what the function makes of the open file, as JSON of at most
16 MiB. A pickle of nine bytes may ask for 34 GB, and a list of lists that share their parts for hours: that ends this process, and the
collector goes on.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import IO, Any

MOST_MEMORY = 3 << 30
MOST_ANSWER = 16 << 20
ROOT = Path(__file__).parents[2]


class NotInTime(Exception):
    """It took longer than it may."""


def read_apart(function: Callable[..., Any], file: IO[bytes], within_s: float, *arguments: str) -> Any:
    """What `function(file, *arguments)` returns, a value of JSON; None where it fails, or returns too much. The function is one of a module's own.

    Raises NotInTime; OSError where no process can be started.
    """
    command = [sys.executable, "-P", "-m", __spec__.name, f"{function.__module__}:{function.__name__}", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, start_new_session=True
    ) as process:
        try:
            text, _ = process.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            raise NotInTime from None
        finally:
            process.kill()
    try:
        return json.loads(text or b"null")
    except ValueError:  # it was ended in the middle of its answer
        return None


def main() -> None:
    """The process that reads."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(10)
    module, _, name = sys.argv[1].partition(":")
    try:
        found = json.dumps(getattr(import_module(module), name)(sys.stdin.buffer, *sys.argv[2:]))
    except Exception:  # whatever a broken file raises, MemoryError too
        found = "null"
    sys.stdout.write(found if len(found) <= MOST_ANSWER else "null")


if __name__ == "__main__":
    main()
