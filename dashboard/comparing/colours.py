"""The colours of runs, as `assets/data/run_colours.js` gives them: by the name's hash, and of each eight that are shown all differ."""

from __future__ import annotations

from collections.abc import Iterable

COLOURS = 8  # the tokens gpu-0 to gpu-7


def colours_of(names: Iterable[str]) -> dict[str, str]:
    """`["a", "b"] -> {"a": "gpu-3", "b": "gpu-6"}`: tokens of `tokens.css`, in the order in which the runs are shown."""
    found: dict[str, str] = {}
    taken: set[int] = set()
    for name in names:
        if name in found:
            continue
        if len(taken) == COLOURS:
            taken.clear()
        colour = _hash(name) % COLOURS
        while colour in taken:
            colour = (colour + 1) % COLOURS
        taken.add(colour)
        found[name] = f"gpu-{colour}"
    return found


def _hash(text: str) -> int:
    """FNV-1a over UTF-16 units."""
    total = 0x811C9DC5
    units = text.encode("utf-16-le", "surrogatepass")
    for i in range(0, len(units), 2):
        total = ((total ^ int.from_bytes(units[i : i + 2], "little")) * 0x01000193) & 0xFFFFFFFF
    return total ^ (total >> 15)
