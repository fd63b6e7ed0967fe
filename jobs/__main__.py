"""`python -m jobs`, `python jobs/__main__.py`; installed: `deepseek-jobs`."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def main() -> int:
    if sys.path[0] == str(PACKAGE):  # as a script: what lies in here would hide modules of Python's, `queue` for one
        del sys.path[0]
    sys.path.insert(0, str(PACKAGE.parent))  # installed, the packages lie beside this one in the namespace `deepseek`
    if sys.argv[1:2] == ["attempt"]:
        sys.path += sys.argv[3:]  # the folder of deepseek.log: no PYTHONPATH names it
        code: int = import_module("jobs.attempt").run_attempt(Path(sys.argv[2]))
        return code
    if sys.argv[1:2] == ["slurm"]:
        said: int = import_module("jobs.slurm").main(Path(sys.argv[2]))
        return said
    if sys.argv[1:2] == ["daemon"]:
        import_module("jobs.background").leave_job()
    found: int = import_module("jobs.commands").main()
    return found


if __name__ == "__main__":
    sys.exit(main())
