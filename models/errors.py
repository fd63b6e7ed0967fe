"""Errors that a user can fix: a broken file, a missing package or data set, a full disk, a wrong option."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any


class ModelsError(Exception):
    """One sentence with the error and the remedy; the command prints it and exits with `code`."""

    code = 1


class WrongOption(ModelsError):
    """A mistake in the command."""

    code = 2


class BadArtifact(ModelsError):
    """The folder of a model is not what its manifest says."""


class CannotRun(ModelsError):
    """A runtime refuses a model, or the inputs do not fit it."""


class CannotExport(ModelsError):
    """A model that has no ONNX form, or none that computes the same."""


def cannot_write(place: object, error: OSError) -> ModelsError:
    """The sentence for a disk that is full or a folder that may not be written; what was begun must be removed by the caller."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ModelsError(
            f"the disk of {place} is full: make room or choose another folder, and run it again; nothing was left there"
        )
    return ModelsError(
        f"cannot write {place}: {error.strerror or error}; choose another folder; nothing was left there"
    )


# Packages that the extra `models` brings: imported when they are used, with one sentence where one is missing.

INSTALL = "pip install 'deepseek-dashboard[models]'"
# Read when a package is imported; what the user has set stays. ONNX Runtime from 1.29 keeps an id of the device, and sends what it runs to Microsoft.
SETTINGS = {"onnxruntime": {"ORT_DISABLE_TELEMETRY": "1"}}
PACKAGES = {"openvino": "pip install openvino"}  # what installs a module that the extra does not bring


OURS = ("access",)  # which lie beside this package
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


# Libraries that give advice on stdout, in logs and as warnings: what fails in them is raised as well.


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """For one thread at a time: logging is off for the whole process meanwhile."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
