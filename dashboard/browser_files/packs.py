"""The modules of a page as one file: a browser asks for six at a time, and each one costs it some milliseconds, also from its cache.

A module `lib/dom.js` with `import { a } from "./b.js"` and `export function el` becomes

    export const m3 = (() => {
    const { a } = m2;
    function el...
    return { el };
    })();

Below `/assets/v<digest>-<page>/` all modules take what the page's pack has from there, so that each module is there once.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from functools import lru_cache
from graphlib import TopologicalSorter
from typing import NamedTuple

from . import assets

PACK, MAIN = "pack.js", "main.js"
VENDOR = "vendor/"  # left alone: minified, and changed once a year
IMPORT = re.compile(r'^import (?:(\w+)|\{([^}]*)\}) from "(\.[^"]+)";$', re.MULTILINE)
EXPORT = re.compile(r"^export (default )?((?:async )?(?:class|function\*?|const)) (\w+)", re.MULTILINE)
LATER = re.compile(r'\bimport\("(\.[^"]+)"\)')  # while the page is used


def imports(name: str) -> set[str]:
    """Paths below assets/ of what a module imports at once."""
    return {_resolved(name, target) for *_, target in IMPORT.findall(_text(name))}


def needed(names: Iterable[str]) -> dict[str, set[str]]:
    """Modules with what they import, from these on, in the order in which they are found."""
    found: dict[str, set[str]] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = set() if name.startswith(VENDOR) else imports(name)
            waiting += sorted(found[name])
    return found


def entry_of(page: str) -> str | None:
    """`flame -> pages/flame/page.js`, the module that draws the page; None: there is no such page."""
    return next(
        (name for name in (f"pages/{page}/page.js", f"pages/{page}.js") if assets.found(name) is not None), None
    )


class Pack(NamedTuple):
    page: str
    entry: str
    numbers: dict[str, int]  # by module, in an order in which each stands behind what it imports
    vendored: list[str]

    def served(self, name: str) -> str | None:
        """The text of a module below the page's path; None: there is none."""
        if name == PACK:
            return self._whole()
        if name in self.numbers:
            return self._stub(name)
        return self._bound(name, _text(name)) if assets.found(name) is not None else None

    def _whole(self) -> str:
        head = [f'import {_vendor_name(name)} from "./{name}";' for name in self.vendored]
        return "\n".join(
            [
                *head,
                *(self._part(name) for name in self.numbers),
                f"export default m{self.numbers[self.entry]}.default;",
                "",
            ]
        )

    def _part(self, name: str) -> str:
        text = _text(name)
        exported = [f"default: {own}" if default else own for default, _, own in EXPORT.findall(text)]
        body = LATER.sub(
            lambda found: f'import("./{_resolved(name, found[1])}")',
            IMPORT.sub(lambda found: self._import(name, found), text),
        )
        body = EXPORT.sub(r"\2 \3", body)
        return f"export const m{self.numbers[name]} = (() => {{ // {name}\n{body}\nreturn {{ {', '.join(exported)} }};\n}})();"

    def _import(self, name: str, found: re.Match[str]) -> str:
        default, names, target = found.groups()
        path = _resolved(name, target)
        if path.startswith(VENDOR):
            return f"const {default} = {_vendor_name(path)};"
        return f"const {{ {_renamed(names)} }} = m{self.numbers[path]};"

    def _stub(self, name: str) -> str:
        number = self.numbers[name]
        names = [own for default, _, own in EXPORT.findall(_text(name)) if not default]
        lines = [f'import {{ m{number} }} from "{_relative(name, PACK)}";', f"export default m{number}.default;"]
        return "\n".join([*lines, f"export const {{ {', '.join(names)} }} = m{number};" if names else "", ""])

    def _bound(self, name: str, text: str) -> str:
        """A module that is not in the pack, with what it imports from there."""

        def bind(found: re.Match[str]) -> str:
            default, names, target = found.groups()
            number = self.numbers.get(_resolved(name, target))
            if default or number is None:
                return found[0]
            return f'import {{ m{number} }} from "{_relative(name, PACK)}"; const {{ {_renamed(names)} }} = m{number};'

        return IMPORT.sub(bind, text)


def pack_of(page: str) -> Pack | None:
    """As the files are now; None: there is no such page."""
    return _pack_of(page, assets.versioned())


@lru_cache(64)
def _pack_of(page: str, version: str) -> Pack | None:
    entry = entry_of(page)
    if entry is None:
        return None
    graph = needed([MAIN, entry])
    order = [name for name in TopologicalSorter(graph).static_order() if name != MAIN and not name.startswith(VENDOR)]
    vendored = sorted(name for name in graph if name.startswith(VENDOR))
    return Pack(page, entry, {name: number for number, name in enumerate(order)}, vendored)


def _text(name: str) -> str:
    return (assets.ASSETS / name).read_text()


def _renamed(names: str) -> str:
    """`a, b as c -> a, b: c`."""
    return re.sub(r" as ", ": ", names.strip().rstrip(","))


def _vendor_name(path: str) -> str:
    return "vendor_" + re.sub(r"\W", "_", posixpath.basename(path))


def _resolved(name: str, target: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), target))


def _relative(name: str, target: str) -> str:
    path = posixpath.relpath(target, posixpath.dirname(name) or ".")
    return path if path.startswith(".") else f"./{path}"
