"""Whose code a frame is: the user's own, a library's, a wait, or the mark of a join."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import PurePath
from typing import Literal, TypeAlias

from ...records import Frame
from ...sampler.kept import GENERATED
from .joining import LIBRARY, is_head
from .waits import BACKWARD, wait_of

FrameKind: TypeAlias = Literal["own", "library", "wait", "joined"]

PACKAGE = re.compile(r".*/(?:(?:site|dist)-packages|lib(?:64)?/python\d[\d.]*)/(\w+)")
CELL = re.compile(r"^<ipython-input-|^<command-|^<stdin>|/ipykernel_\d+/")  # notebooks, and what is piped into Python
OF_KERNEL, OF_IPYTHON = re.compile(r"/ipykernel_\d+/[^/]*$"), re.compile(r"^<ipython-input-(\d+)-.*>$")
SOURCE = re.compile(r"\.(py|pyx|ipynb)$")
MADE = re.compile(
    r"/huggingface/modules/|__autograph_generated_file|/debugpy/|/pydevd?/"
)  # downloaded, or put around the program
PARTS = re.compile(r"(\.?(<locals>\.)?<(listcomp|setcomp|dictcomp|genexpr)>)+$")
DISPATCHERS = {"_call_impl", "_wrapped_call_impl", "decorate_context", "_fn", "inner", "wrapper", "wrapped"}


def kinds_of(frames: list[Frame], own_folder: str, computes_backward: bool = False) -> list[FrameKind]:
    """Own is what lies below the run's folder, in the cells of a notebook, and in source files outside of Python's own folders (an
    editable install). What was installed, what a compiler wrote and what stands in no file is a library's. A backward pass is a library's where the thread computes it itself, else a wait."""
    return [_kind(frame, own_folder, computes_backward) for frame in frames]


def are_own(frames: list[Frame], own_folder: str) -> list[bool]:
    """Which frames are the user's own code."""
    return [_is_own(frame, own_folder) for frame in frames]


def owner_of(name: str) -> str:
    """The function that a comprehension or a generator expression is a part of; "" for any other function.

    `Loader.pad.<locals>.<listcomp>` -> `Loader.pad`; `<genexpr>` -> `<module>`. A lambda is a function: who defines it is seldom who calls it.
    """
    return (PARTS.sub("", name) or "<module>") if PARTS.search(name) else ""


def library_name(frame: Frame) -> str:
    """`PIL ImageFile.load`, `compiled code`: a function of a library as a user names it."""
    if GENERATED.search(frame.file):
        return "compiled code"
    found = PACKAGE.match(frame.file)
    package = found[1] if found else ""
    return f"{package} {frame.name}".strip()


@lru_cache(4096)
def package_path(file: str) -> str:
    """`torch/nn/functional.py`: where a file of an installed package or of Python lies below its library folder; "" for any other file."""
    found = PACKAGE.match(file)
    return file[found.start(1) :] if found else ""


def file_name(file: str) -> str:
    """`data.py`; of a notebook's cell, whose file has a number for a name, `cell`."""
    if OF_KERNEL.search(file):
        return "cell"
    return OF_IPYTHON.sub(r"cell \1", file).rpartition("/")[2]


def has_name(frame: Frame) -> bool:
    """Whether its name says anything to a user: not that of a module's top, of code that was generated, or of who calls what it is given."""
    function = frame.name.rpartition(".")[2]
    generated = frame.file.startswith("<") or bool(GENERATED.search(frame.file))
    return bool(frame.file) and not generated and not function.startswith("<") and function not in DISPATCHERS


def _kind(frame: Frame, own_folder: str, computes_backward: bool) -> FrameKind:
    if is_head(frame):
        return "joined"
    wait = wait_of(frame)
    return (
        "wait"
        if wait and not (wait is BACKWARD and computes_backward)
        else "own"
        if _is_own_file(frame.file, own_folder)
        else "library"
    )


def _is_own(frame: Frame, own_folder: str) -> bool:
    return not is_head(frame) and wait_of(frame) is None and _is_own_file(frame.file, own_folder)


@lru_cache(4096)
def _is_own_file(file: str, own_folder: str) -> bool:
    """A command without an ending, such as `/venv/bin/torchrun`, is a library's unless it lies below the folder."""
    if CELL.search(file):
        return True
    if not file or file.startswith("<") or any(pattern.search(file) for pattern in (LIBRARY, GENERATED, MADE)):
        return False
    return bool(SOURCE.search(file)) or (bool(own_folder) and PurePath(file).is_relative_to(own_folder))
