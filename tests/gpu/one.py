"""One check, in a process of its own: python -m tests.gpu.one NAME FOLDER SCRATCH whole|short"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support import leash

from .lines import Report
from .plan import CHECKS, Setting


def main(name: str, folder: str, scratch: str, form: str) -> None:
    leash.fasten()  # what it starts ends with it, also where it is killed
    (plan,) = [plan for plan in CHECKS if plan.name == name]
    plan.function()(Setting(Path(folder), Path(scratch), form == "short"), Report(Path(folder), name))


if __name__ == "__main__":
    main(*sys.argv[1:])
