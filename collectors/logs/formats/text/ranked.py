"""Which rank of a job has printed a line, where a launcher writes it in front of each."""

from __future__ import annotations

import re

LONGEST = 40  # characters of a prefix
PREFIX = re.compile(
    r"\[(?:(?:rank|local_rank|default|trainer|worker)[ :]{0,2}(?P<torch>\d{1,6})\]:?"  # [rank3]: of PyTorch, [default0]: of torchrun, [rank: 3]
    r"|(?:\d{1,9}[.,])?(?P<mpi>\d{1,6})\](?:<(?:stdout|stderr)>:|<std(?:out|err)>))[ \t]?",  # [1,3]<stdout>: of Open MPI
    re.IGNORECASE,
)


def split_rank(text: str) -> tuple[int | None, str]:
    """`"[rank3]: loss 2" -> (3, "loss 2")`; None where no rank stands in front."""
    found = PREFIX.match(text, 0, LONGEST)
    return (None, text) if found is None else (int(found["torch"] or found["mpi"]), text[found.end() :])
