"""How this command is named in what it prints, and the folders that it makes."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

from access.program import UsageError

ROOT = Path(__file__).resolve().parents[2]  # of the checkout, or the folder `deepseek` where it is installed


PROGRAM = "deepseek-dashboard"
NAMED = re.compile(
    rf"(?<![\w./-]){PROGRAM}(?= (?:-|[a-z])|`|\.?$)", re.MULTILINE
)  # in a sentence, as a command; not `deepseek-dashboard 1.0`


def typeable(text: str) -> str:
    """The text for the terminal that this command was started from: where our commands are named there, as this one was typed."""
    command = started_as()
    return text if command == PROGRAM else NAMED.sub(lambda _: command, text)


def started_as() -> str:
    """How this command was started: `.venv/bin/python app.py`; its name where the shell finds it by that."""
    script = Path(sys.argv[0] if sys.argv else "")
    if script.name == "app.py":
        return f"{_shown(Path(sys.executable))} {_shown(script)}"
    found = shutil.which(PROGRAM)
    if script.name != PROGRAM or (found is not None and os.path.realpath(found) == os.path.realpath(script)):
        return PROGRAM
    return _shown(script)


def _shown(path: Path) -> str:
    """From the working folder where it lies below that."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_absolute() and path.is_relative_to(here) else path))


def make_folder(folder: Path, flag: str, *, private: bool = False) -> None:
    """`private`: no other user may read it. Raises UsageError where it cannot be made or written to."""
    try:
        if private:
            from collectors import folders

            folders.make_private(folder)
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(f"cannot write to {folder} ({error.strerror}); choose another folder with {flag}") from None
