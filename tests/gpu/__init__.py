"""All checks that need a graphics card, in one command that runs on a machine without network: `make gpu`, docs/gpu-check.md."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 (what an older one says otherwise is a traceback)
    sys.exit(
        f"Python 3.11 or later is needed, this is {sys.version.split()[0]}: start it with another, e.g. make gpu PYTHON=python3.12"
    )
