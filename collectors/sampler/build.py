"""Find the native sampler's program, or build it with the system's C compiler: `python -m collectors.sampler.build`."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parent / "native"
PROGRAM = Path(__file__).parent / "_sampler"
FLAGS = ("-std=gnu11", "-O2", "-g", "-Wall", "-Wextra")
COMPILERS = ("cc", "gcc", "clang")


class BuildError(Exception):
    """The program cannot be built here; the text is one sentence with the remedy."""


def find_program() -> Path | None:
    return PROGRAM if os.access(PROGRAM, os.X_OK) else None


def compiler() -> list[str]:
    """The command of the C compiler: $CC, else the first one found. Raises BuildError where there is none."""
    if named := shlex.split(os.environ.get("CC", "")):
        return named
    for name in COMPILERS:
        if found := shutil.which(name):
            return [found]
    raise BuildError(
        "there is no C compiler; install one (sudo apt-get install gcc libc6-dev) and run make setup again"
    )


def build(program: Path = PROGRAM, flags: tuple[str, ...] = FLAGS) -> None:
    """About 3 s. An older program is replaced at once or not at all, also while it runs. Raises BuildError."""
    sources = sorted(SOURCES.glob("*.c"))
    fresh = program.with_name(f"{program.name}.{os.getpid()}")
    try:
        done = subprocess.run(
            [*compiler(), *flags, "-o", str(fresh), *map(str, sources)], capture_output=True, text=True
        )
        if done.returncode:
            raise BuildError(f"the C compiler fails: {_first_error(done.stderr)}")
        fresh.replace(program)
    except FileNotFoundError as error:
        raise BuildError(f"the C compiler cannot be started: {error}") from error
    finally:
        fresh.unlink(missing_ok=True)


def is_current() -> bool:
    """Whether the program exists and is newer than all of its sources."""
    program = find_program()
    return program is not None and all(
        path.stat().st_mtime <= program.stat().st_mtime for path in SOURCES.glob("*.[ch]")
    )


def build_or_say() -> bool:
    """Build the program unless it is current; if that fails, say in one sentence which sampler replaces it."""
    try:
        if not is_current():
            build()
    except BuildError as error:
        print(f"The native sampler is not built, py-spy samples instead: {error}.", file=sys.stderr)  # noqa: T201
        return False
    return True


def _first_error(said: str) -> str:
    lines = said.strip().splitlines()
    return next((line for line in lines if "error" in line), lines[0] if lines else "it says nothing")


if __name__ == "__main__":
    sys.exit(not build_or_say())
