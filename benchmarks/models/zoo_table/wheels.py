"""Texts of packages that are read and never run: their wheels are downloaded, not installed."""

from __future__ import annotations

import ast
import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any


@cache
def texts(requirement: str) -> dict[str, str]:
    """All Python files of a wheel, by path. Raises CalledProcessError without a connection."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--dest",
            folder,
        ]
        subprocess.run([*command, requirement], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return {name: archive.read(name).decode() for name in archive.namelist() if name.endswith(".py")}


def assigned(text: str, name: str) -> Any:
    """The value of `name = {...}` at the top of a module that holds nothing but literals."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == name for target in node.targets
        ):
            return ast.literal_eval(node.value)
    raise KeyError(name)
