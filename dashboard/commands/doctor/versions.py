"""The versions of what takes part; packages are looked up, not imported."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from collectors import VERSION

from ..command import ROOT
from .place import CheckedHost, Symptom

NEEDED = ("dash", "plotly", "dash-ag-grid", "fastapi", "uvicorn", "numpy", "orjson", "psutil", "watchdog", "zstandard", "nvidia-ml-py", "py-spy")  # fmt: skip
OPTIONAL = ("torch", "mcp")
SHOWN = ("dash", "plotly", "torch")
LEAST_PYTHON = (3, 11)


def check(place: CheckedHost) -> Symptom:
    found = {name: _version(name) for name in (*NEEDED, *OPTIONAL)}
    kernel = os.uname().release
    facts = {"deepseek-dashboard": VERSION, "python": platform.python_version(), "kernel": kernel, "machine": os.uname().machine,
             "libc": " ".join(platform.libc_ver()), **found}  # fmt: skip
    missing = [name for name in NEEDED if found[name] is None]
    said = f"deepseek-dashboard {VERSION}, Python {platform.python_version()}, " + "".join(
        f"{name} {found[name]}, " if found[name] else f"no {name}, " for name in SHOWN
    )
    if sys.version_info < LEAST_PYTHON:
        return Symptom("wrong", f"{said}Python 3.11 is needed.", "Type: python3.11 -m venv .venv", facts)
    if missing:
        return Symptom("wrong", f"{', '.join(missing)} is missing.", f"Type: pip install {' '.join(missing)}", facts)
    if not (ROOT / "assets" / "vendor").is_dir():
        return Symptom("wrong", "the browser's libraries were not fetched (assets/vendor/).", "Type: make setup", facts)
    return Symptom("ok", f"{said}kernel {kernel}.", "", facts)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
