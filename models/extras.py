"""Packages that the extra `models` brings: imported when they are used, with one sentence where one is missing."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .errors import ModelsError

INSTALL = "pip install 'deepseek-dashboard[models]'"
# Read when a package is imported; what the user has set stays. ONNX Runtime from 1.29 keeps an id of the device, and sends what it runs to Microsoft.
SETTINGS = {"onnxruntime": {"ORT_DISABLE_TELEMETRY": "1"}}
PACKAGES = {"openvino": "pip install openvino"}  # what installs a module that the extra does not bring


OURS = ("collectors", "dashboard")  # which lie beside this package
BESIDE = str(Path(__file__).resolve().parent.parent)


def needed(module: str) -> Any:
    """The imported module. Raises ModelsError with the command that installs it."""
    if module.partition(".")[0] in OURS and BESIDE not in sys.path:  # a program imported `deepseek.models` alone
        sys.path.append(BESIDE)
    for name, value in SETTINGS.get(module.partition(".")[0], {}).items():
        os.environ.setdefault(name, value)
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        top = module.partition(".")[0]
        if error.name and error.name.partition(".")[0] != top:
            raise
        raise ModelsError(f"{top} is not installed; install it with: {PACKAGES.get(top, INSTALL)}") from error


def is_there(module: str) -> bool:
    """Whether it is installed; nothing is imported."""
    return find_spec(module) is not None
