"""The CPythons of this machine that the native sampler knows: each minor version's tests run against each of them."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

KNOWN = ((3, 11), (3, 12), (3, 13))
ASK = "import json, sys, sysconfig\nprint(json.dumps([list(sys.version_info[:3]), sys.executable, sysconfig.get_path('include'), sys.implementation.name]))"


class Interpreter(NamedTuple):
    version: tuple[int, int, int]
    path: str
    include: Path  # the folder of its headers, which may not be there

    @property
    def name(self) -> str:
        return ".".join(map(str, self.version))


@functools.lru_cache(maxsize=1)
def interpreters() -> list[Interpreter]:
    """One for each version, this one first: on the PATH, and those of pyenv."""
    names = [f"python{major}.{minor}" for major, minor in KNOWN]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    paths = [
        sys.executable,
        *(shutil.which(name) or "" for name in names),
        "/usr/bin/python3",
        *map(str, pyenv.glob("*/bin/python3")),
    ]
    found = {one.version: one for path in reversed(paths) if (one := _asked(path))}
    return sorted(found.values(), key=lambda one: one.path != sys.executable)


def _asked(path: str) -> Interpreter | None:
    if not path or not Path(path).exists():
        return None
    done = subprocess.run([path, "-I", "-c", ASK], capture_output=True, text=True)
    if done.returncode:  # a shim of pyenv without a version behind it
        return None
    version, executable, include, implementation = json.loads(done.stdout)
    if tuple(version[:2]) not in KNOWN or implementation != "cpython":
        return None
    major, minor, micro = version
    return Interpreter((major, minor, micro), executable, Path(include))
