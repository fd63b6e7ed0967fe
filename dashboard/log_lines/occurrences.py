"""Where a text occurs in the bytes of many lines, with or without case, all at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SAMPLE_BYTES = 16 << 10  # in which the rarest byte of the text is looked for
CASE = 0x20  # by which the cases of an ASCII letter differ


def occurrences(texts: bytes, sought: bytes, *, folds: bool) -> NDArray[np.intp]:
    """First bytes of all places, also overlapping ones, rising. `folds`: ASCII letters match both cases. `sought` is not empty.

    The rarest byte of the text is looked for in all of `texts`; only where it stands the others are compared.
    """
    data = np.frombuffer(texts, np.uint8)
    wanted = np.frombuffer(sought, np.uint8)
    room = len(data) - len(wanted) + 1
    if room <= 0:
        return np.zeros(0, np.intp)
    order = np.argsort(
        [np.count_nonzero(_equals(data[:SAMPLE_BYTES], byte, folds)) for byte in wanted.tolist()], kind="stable"
    )
    first = int(order[0])
    places = np.flatnonzero(_equals(data[first : first + room], int(wanted[first]), folds))
    for at in order[1:].tolist():
        if not len(places):
            break
        places = places[_equals(data[places + at], int(wanted[at]), folds)]
    return places


def lines_of(texts: bytes, places: NDArray[np.intp]) -> NDArray[np.intp]:
    """The lines in which rising places lie, each once."""
    if not len(places):
        return np.zeros(0, np.intp)
    ends = np.flatnonzero(np.frombuffer(texts, np.uint8) == ord("\n"))
    found: NDArray[np.intp] = np.searchsorted(ends, places, "left")
    is_first: NDArray[np.bool_] = np.append(True, found[1:] != found[:-1])
    return found[is_first]


def _equals(data: NDArray[np.uint8], byte: int, folds: bool) -> NDArray[np.bool_]:
    is_letter = ord("a") <= byte | CASE <= ord("z") and byte < 128
    same: NDArray[np.bool_] = (data | CASE) == (byte | CASE) if folds and is_letter else data == byte
    return same
