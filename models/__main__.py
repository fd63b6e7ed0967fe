"""`python -m models`, `python models/__main__.py`; installed: `deepseek-models`."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def main() -> int:
    if sys.path[0] == str(PACKAGE):  # as a script: what lies in here is no top-level module
        del sys.path[0]
    sys.path.insert(0, str(PACKAGE.parent))  # installed, the packages lie beside this one in the namespace `deepseek`
    try:
        code: int = import_module("models.commands").main()
    except KeyboardInterrupt:  # while modules are imported
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
