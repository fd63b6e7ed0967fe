"""The family of a job: what resembles it, so that its memory, activity and duration say something about this one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..request import JobRequest

VARIES = {  # options whose values differ between jobs that resemble each other
    "seed", "random-seed", "rng-seed", "lr", "learning-rate", "base-lr", "max-lr", "min-lr", "weight-decay", "wd", "momentum", "dropout",
    "run", "run-name", "run-id", "name", "exp", "exp-name", "experiment", "experiment-name", "tag", "job-name", "log-dir", "logdir",
    "output-dir", "out-dir", "save-dir", "resume",
}  # fmt: skip
MOST_CHARACTERS = 400
SHORT = re.compile(r"--?([A-Za-z][\w.-]*)(?:=(.*))?$", re.DOTALL)
HYDRA = re.compile(r"\+{0,2}([A-Za-z][\w.-]*)=(.*)$", re.DOTALL)


def family_of(request: JobRequest, uid: int | None = None) -> str:
    """`python train.py --lr 1e-3 --task gpt --seed 7`, of uid 1000 on 2 GPUs in /home/me -> `1000 x2 /home/me/train.py --task gpt`"""
    words = list(named_words(request.argv))
    script = next((place for place, word in enumerate(words) if word.endswith((".py", ".sh"))), None)
    head = words[:1] if script is None else [str((Path(request.cwd) / words[script]).resolve())]
    rest = words[1:] if script is None else words[script + 1 :]
    place = [] if script is not None else [request.cwd]
    return " ".join([str(os.getuid() if uid is None else uid), f"x{request.slots}", *place, *head, *rest])[
        :MOST_CHARACTERS
    ]


def named_words(argv: Sequence[str]) -> Iterator[str]:
    """Without what varies: `--lr 1e-3`, `--seed=7`, `optimizer.lr=0.1` of Hydra, an `env` before."""
    skip = False
    for place, word in enumerate(argv):
        if skip:
            skip = False
            continue
        found = SHORT.match(word) or HYDRA.match(word)
        if place and found and _varies(found[1]):
            following = argv[place + 1 : place + 2]
            skip = (
                found[2] is None and bool(following) and (not following[0].startswith("-") or _is_number(following[0]))
            )
            continue
        yield word


def _varies(name: str) -> bool:
    return name.rpartition(".")[2].replace("_", "-").lower() in VARIES


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
