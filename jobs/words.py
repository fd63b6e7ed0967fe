"""What the words of a command show before it waits for hours: that it was meant for a shell, or that its script is not there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from .errors import QueueError

OF_A_SHELL = re.compile(r"&&|\|\|?&?|;;?|&|\d?(>>?|<<?<?)(&\d?)?|&>>?|\d?>&\d|[^\s;]+;|\$\(.*|`.*", re.DOTALL)
REDIRECTED = re.compile(r"\d?>>?[\w./~-]+|<[\w./~-]+")  # `>out.txt`
VARIABLE = re.compile(r"[^\s$]*\$(\w+|\{\w+\})\S*")
INTERPRETER = re.compile(r"(python|pypy)[\d.]*|(ba|da|z|k)?sh")
WITH_VALUE = ("-X", "-W", "-o", "-O", "--check-hash-based-pycs")  # options of interpreters that take the next word
INSTEAD = re.compile(r"-[a-zA-Z]*[cms]|-")  # then there is no script: `-c CODE`, `-m MODULE`, `-s`, `-`
UNLESS = "or, if that is meant, submit with --force"


def require_no_shell(words: Sequence[str], what: str, *, variables: bool) -> None:
    """`python a.py && echo done`, or `$HOME/a` among the words, of which no shell makes anything; `variables`: of a text no shell has seen before,
    either. Raises QueueError."""
    given = set[int]()  # a code that a shell gets, or the end of `find -exec`
    if INTERPRETER.fullmatch(Path(words[0]).name):
        given = {place + 1 for place, word in enumerate(words) if INSTEAD.fullmatch(word) and word.endswith("c")}
    if any(word in ("-exec", "-execdir", "-ok") for word in words):
        given |= {place for place, word in enumerate(words) if word == ";"}
    for place, word in enumerate(words):
        if place in given:
            continue
        if OF_A_SHELL.fullmatch(word) or REDIRECTED.fullmatch(word) or (variables and VARIABLE.fullmatch(word)):
            raise QueueError(
                f"{what} has {word!r}, which is for a shell, and jobs run without one; write: sh -c '...' {UNLESS}"
            )


def require_script(words: Sequence[str], cwd: Path, what: str) -> None:
    """The script of `python nothere.py`. Raises QueueError."""
    if not INTERPRETER.fullmatch(Path(words[0]).name):
        return
    skip = False
    for word in words[1:]:
        if skip:
            skip = False
        elif INSTEAD.fullmatch(word):
            return
        elif word.startswith("-"):
            skip = word in WITH_VALUE
        else:
            if word.endswith((".py", ".sh")) and not (cwd / word).is_file():
                raise QueueError(f"{what} runs {word!r}, which is not in {cwd}; check its path, {UNLESS}")
            return
