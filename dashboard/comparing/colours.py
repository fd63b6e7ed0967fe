"""The colours of runs, as `assets/data/run_colours.js` gives them: by the name's hash, and of each sixteen that are shown all differ."""

from __future__ import annotations

from collections.abc import Iterable

COLOURS = 16  # the tokens run-0 to run-15


def colours_of(names: Iterable[str]) -> dict[str, str]:
    """`["a", "b"] -> {"a": "run-3", "b": "run-14"}`: tokens of `tokens.css`, in the given order.

    Each name prefers the colour of its hash. Of several names that prefer the same, the first by name keeps it, and the others
    take the next that is free once all have chosen: which are shown counts, their order does not.
    """
    given = list(dict.fromkeys(names))
    most = -(-len(given) // COLOURS)  # runs of a colour
    used = [0] * COLOURS
    chosen: dict[str, int] = {}
    ordered = sorted(given, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
    for name in ordered:
        colour = _hash(name) % COLOURS
        if used[colour] < most:
            used[colour] += 1
            chosen[name] = colour
    for name in ordered:
        if name in chosen:
            continue
        colour = _hash(name) % COLOURS
        while used[colour] >= most:
            colour = (colour + 1) % COLOURS
        used[colour] += 1
        chosen[name] = colour
    return {name: f"run-{chosen[name]}" for name in given}


def _hash(text: str) -> int:
    """FNV-1a over UTF-16 units."""
    total = 0x811C9DC5
    units = text.encode("utf-16-le", "surrogatepass")
    for i in range(0, len(units), 2):
        total = ((total ^ int.from_bytes(units[i : i + 2], "little")) * 0x01000193) & 0xFFFFFFFF
    return total ^ (total >> 15)
